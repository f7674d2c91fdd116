"""Timeline of one run: a bar for everything that took time, overlapping bars in lanes of their own.

What runs inside of a sub-flow or map lies under its bar. Bars that do not overlap share a lane, so
a long run stays low.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from graphorch.errors import InputError
from graphorch.render.picture.overlay import format_seconds
from graphorch.render.picture.sizes import DETAIL_SIZE, TITLE_SIZE
from graphorch.render.picture.text_width import shorten, to_one_line
from graphorch.render.svg.markup import content, number
from graphorch.render.svg.theme import Palette, Theme

_WIDTH = 960.0
_LEFT, _TOP, _RIGHT = 14.0, 52.0, 14.0
_ROW = 22.0
_BAR = 16.0
_MOST = 400  # lanes; a run with more is shown as far as they go, and says so
_FONT = "Helvetica Neue,Helvetica,Arial,Liberation Sans,Nimbus Sans,sans-serif"
_STATUSES = ("done", "running", "waiting", "failed", "not_reached")


@dataclass(frozen=True, slots=True)
class Bar:
    """Period of a run, in seconds since its start; `parent` is the id of the bar around it.


    `status` is one of an overlay's, and `remark` says more about it in a word or two; `marks` are
    moments on the bar, such as model calls, as (begin, end).
    """

    id: str
    parent: str
    name: str
    begin: float
    end: float
    status: str = "done"
    hint: str = ""
    remark: str = ""
    marks: tuple[tuple[float, float], ...] = ()


@dataclass(slots=True)
class _Placed:
    bar: Bar
    lane: int
    level: int


@dataclass(slots=True)
class _Sheet:
    placed: list[_Placed] = field(default_factory=list[_Placed])
    lanes: int = 0


def timeline(bars: Sequence[Bar], *, name: str, title: str = "", theme: Theme = "auto") -> str:
    """Draw a timeline as SVG. Raise `InputError` for an unknown theme."""
    if theme not in ("auto", "light", "dark"):
        raise InputError(f"There is no theme '{theme}'. Use 'auto', 'light' or 'dark'.")
    sheet = _Sheet()
    inside: dict[str, list[Bar]] = {}
    known = {bar.id for bar in bars}
    for bar in bars:
        parent = bar.parent
        if parent not in known:
            parent = ""
        inside.setdefault(parent, []).append(bar)
    _place_all(sheet, inside)
    total = max((bar.end for bar in bars), default=0.0) or 1.0
    scale = (_WIDTH - _LEFT - _RIGHT) / total
    left_out = sum(1 for item in sheet.placed if item.lane >= _MOST)
    lanes = min(sheet.lanes, _MOST)
    height = _TOP + lanes * _ROW + 26
    last = {item.lane: item for item in sorted(sheet.placed, key=lambda item: item.bar.begin)}
    drawn = "".join(
        _bar(item, scale, is_last=last[item.lane] is item)
        for item in sheet.placed
        if item.lane < _MOST
    )
    note = ""
    if left_out:
        note = f"{left_out:,} bars further down are left out"
    elif not bars:
        note = "nothing has happened yet"
    if title:
        name = f"{name} · {title}"
    head = shorten(name, TITLE_SIZE, _WIDTH - 30, bold=True)
    body = (
        f'<rect class="go_canvas" width="{number(_WIDTH)}" height="{number(height)}" rx="6"/>'
        f'<text class="go_title" x="{number(_LEFT)}" y="22">{content(head)}</text>'
        f"{_axis(total, scale, lanes)}{drawn}"
        f'<text class="go_hint" x="{number(_LEFT)}" y="{number(height - 8)}">{content(note)}</text>'
    )
    root = f"go_time_{theme}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="{root}" role="img" '
        f'aria-label="{content(to_one_line(head))}" width="{number(_WIDTH)}" '
        f'height="{number(height)}" viewBox="0 0 {number(_WIDTH)} {number(height)}" '
        'style="max-width:100%;height:auto">'
        f"<style>{_styles(root, theme)}</style>{body}</svg>\n"
    )


def _place_all(sheet: _Sheet, inside: dict[str, list[Bar]]) -> None:
    """Place bars in lanes.

    Bars without children share lanes. A bar with children gets a lane of its own, with the children
    below it. Levels are on a stack, since there may be more of them than Python may nest calls.
    """
    levels = [iter(_place_level(sheet, inside, "", 0))]
    while levels:
        bar = next(levels[-1], None)
        if bar is None:
            levels.pop()
            continue
        level = len(levels)
        sheet.placed.append(_Placed(bar, sheet.lanes, level - 1))
        sheet.lanes += 1
        levels.append(iter(_place_level(sheet, inside, bar.id, level)))


def _place_level(sheet: _Sheet, inside: dict[str, list[Bar]], parent: str, level: int) -> list[Bar]:
    """Place the bars of a parent that have no children; return those that have, in order."""
    bars = sorted(inside.get(parent, ()), key=lambda bar: (bar.begin, bar.end, bar.name))
    free: list[tuple[float, int]] = []
    for bar in bars:
        if bar.id in inside:
            continue
        if free and free[0][0] <= bar.begin:
            lane = heapq.heapreplace(free, (bar.end, free[0][1]))[1]
        else:
            lane, sheet.lanes = sheet.lanes, sheet.lanes + 1
            heapq.heappush(free, (bar.end, lane))
        sheet.placed.append(_Placed(bar, lane, level))
    return [bar for bar in bars if bar.id in inside]


def _bar(item: _Placed, scale: float, *, is_last: bool) -> str:
    bar = item.bar
    x, y, width = (
        _LEFT + bar.begin * scale,
        _TOP + item.lane * _ROW,
        max(1.5, (bar.end - bar.begin) * scale),
    )
    status = bar.status
    if status not in _STATUSES:
        status = "done"
    took = format_seconds(bar.end - bar.begin)
    hint = "\n".join(part for part in (f"{bar.name} · {took}", bar.hint) if part)
    marks = "".join(
        f'<rect class="go_call" x="{number(_LEFT + begin * scale)}" y="{number(y + _BAR - 3)}" '
        f'width="{number(max(1.0, (min(end, bar.end) - begin) * scale))}" height="3"/>'
        for begin, end in bar.marks
    )
    # The name stands inside of the bar, or behind the last bar of a lane if it does not fit there.
    room, label = width - 8, ""
    if room > 24:
        label = shorten(bar.name, DETAIL_SIZE, room)
    text_x = x + 4
    if not label:
        text_x = x + width + 3
        if is_last and x + width < _WIDTH - 120:
            label = shorten(bar.name, DETAIL_SIZE, 110)
    return (
        f'<g class="go_is_{status}"><title>{content(hint)}</title>'
        f'<rect class="go_shape" x="{number(x)}" y="{number(y)}" '
        f'width="{number(width)}" height="{number(_BAR)}" rx="3"/>{marks}'
        f'<text class="go_hint" x="{number(text_x)}" y="{number(y + 12)}">'
        f"{content(label)}</text></g>"
    )


def _axis(total: float, scale: float, lanes: int) -> str:
    step = _tick(total)
    ticks: list[str] = []
    at = 0.0
    while at <= total * 1.0001:
        x = _LEFT + at * scale
        ticks.append(
            f'<path class="go_rule" d="M{number(x)} {number(_TOP - 8)}'
            f'V{number(_TOP + lanes * _ROW)}"/>'
        )
        if x < _WIDTH - 50:
            label = "0"
            if at:
                label = content(format_seconds(at))
            place = f'x="{number(x + 2)}" y="{number(_TOP - 10)}"'
            ticks.append(f'<text class="go_hint" {place}>{label}</text>')
        at += step
    return "".join(ticks)


def _tick(total: float) -> float:
    """Return a round step that gives four to ten ticks."""
    size = 1.0
    if total >= 1:
        size = 10.0 ** len(str(int(total)))
    while size * 4 > total:
        size /= 10
    return next((size * factor for factor in (1, 2, 5) if total / (size * factor) <= 10), size * 10)


def _styles(root: str, theme: Theme) -> str:
    colour = Palette(theme)
    rules = [
        (".go_canvas", colour("fill", "canvas")),
        ("text", colour("fill", "text") + "white-space:pre;"),
        (".go_title", f"font-size:{TITLE_SIZE}px;font-weight:700;"),
        (".go_hint", f"font-size:{DETAIL_SIZE}px;"),
        (".go_rule", "stroke-width:1;" + colour("stroke", "panel_line")),
        (".go_shape", "stroke-width:1;"),
        (".go_call", colour("fill", "agent_line")),
        *_status_rules(colour),
    ]
    own = "".join(f".{root} {selector}{{{declarations}}}" for selector, declarations in rules)
    return f"{colour.variables(f'.{root}')}.{root}{{font-family:{_FONT};}}{own}"


def _status_rules(colour: Palette) -> Iterable[tuple[str, str]]:
    for status in _STATUSES:
        yield (
            f".go_is_{status} .go_shape",
            colour("fill", f"{status}_fill") + colour("stroke", f"{status}_line"),
        )

"""Legend: a sample and a word for each kind of box, line and group, or status, in the picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import fsum
from typing import get_args

from graphorch.render.picture.model import (
    BOX_WORDS,
    MARK_WORDS,
    BoxKind,
    GroupKind,
    LineKind,
    Picture,
)
from graphorch.render.picture.overlay import Mark, Overlay, Status, Swatch
from graphorch.render.picture.placement import Rect
from graphorch.render.picture.sizes import DETAIL_SIZE, DIAMOND_KINDS, ROUND_KINDS
from graphorch.render.picture.text_width import width
from graphorch.render.svg.icons import badge, icon
from graphorch.render.svg.markup import number, numbers
from graphorch.render.svg.shapes import box_class, outline, text_at
from graphorch.state.marks import MarkName

_LINE_WORDS: dict[LineKind, str] = {
    "always": "always",
    "conditional": "conditional",
    "loop": "loop back",
    "error": "on error",
    "exhausted": "bound reached",
    "undo": "undone by",
}
_GROUP_WORDS: dict[GroupKind, str] = {
    "loop": "loop",
    "sub": "inside a sub-flow",
    "map": "once per item",
}
_STATUS_WORDS: dict[Status, str] = {
    "done": "done",
    "running": "running",
    "waiting": "waiting",
    "failed": "failed",
    "at_bound": "not accepted within its bound",
    "cancelled": "interrupted",
    "not_reached": "not reached",
}
_SAMPLE = 24.0
_SPACE = 7.0  # between a sample and its word
_GAP = 20.0  # between entries
_ROW = 21.0


@dataclass(frozen=True, slots=True)
class _Entry:
    """Sample, drawn from (0, 0) to the right around y = 0, and its word."""

    sample: str
    word: str

    @property
    def width(self) -> float:
        return _SAMPLE + _SPACE + width(self.word, DETAIL_SIZE)


@dataclass(frozen=True, slots=True)
class Legend:
    """Drawn legend, from (0, 0) down, and its size."""

    svg: str
    width: float
    height: float


def legend(picture: Picture, overlay: Overlay | None, room: float) -> Legend:
    """Draw a legend in rows of at most `room` pixels: boxes, then lines and frames."""
    first = list(_boxes(picture))
    if overlay and overlay.swatches:
        first = list(_swatches(overlay.swatches))
    elif overlay:
        first = list(_statuses(picture, overlay))
    second = [*_lines(picture, overlay), *_groups(picture)]
    rows = [[*first, *second]]
    if fsum(entry.width + _GAP for entry in (*first, *second)) > room:
        rows = [*_rows(first, room), *_rows(second, room)]
    widths = [fsum(entry.width for entry in row) + _GAP * (len(row) - 1) for row in rows]
    parts = [_row(row, _ROW * (index + 0.5)) for index, row in enumerate(rows)]
    return Legend(
        f'<g class="go_legend">{"".join(parts)}</g>' if rows else "",
        max(widths, default=0.0),
        _ROW * len(rows),
    )


def _rows(entries: Sequence[_Entry], room: float) -> list[list[_Entry]]:
    """Return as few rows as fit, filled evenly."""
    total = fsum(entry.width + _GAP for entry in entries)
    target = total / max(1, -(-total // room))
    rows: list[list[_Entry]] = []
    used = 0.0
    for entry in entries:
        if not rows or used + entry.width > room or used + entry.width / 2 > target:
            rows.append([])
            used = 0.0
        rows[-1].append(entry)
        used += entry.width + _GAP
    return rows


def _row(entries: Sequence[_Entry], y: float) -> str:
    x = 0.0
    parts: list[str] = []
    for entry in entries:
        word = text_at(entry.word, (_SAMPLE + _SPACE, 3.5), DETAIL_SIZE, "go_hint")
        parts.append(f'<g transform="translate({numbers(x, y)})">{entry.sample}{word}</g>')
        x += entry.width + _GAP
    return "".join(parts)


def _boxes(picture: Picture) -> Iterable[_Entry]:
    present = {box.kind for box in picture.boxes}
    for kind, word in BOX_WORDS.items():
        if kind in present and kind not in ROUND_KINDS:
            yield _Entry(f'<g class="{box_class(kind)}">{_sample_box(kind)}</g>', word)


def _sample_box(kind: BoxKind) -> str:
    if kind in DIAMOND_KINDS:
        return outline(kind, Rect(2, -8, 20, 16))
    if kind == "join":
        return outline(kind, Rect(0, -4, 24, 8))
    shape = outline("node", Rect(1, -8.5, 22, 17))
    return shape + icon(kind, 12, 0)


def _swatches(swatches: Iterable[Swatch]) -> Iterable[_Entry]:
    for swatch in swatches:
        sample = outline("node", Rect(1, -7, 22, 14))
        if swatch.opacity:
            fill = f"fill:rgba({swatch.colour},{swatch.opacity:.3f})"
            sample = sample.replace("<rect", f'<rect style="{fill}"', 1)
        yield _Entry(f'<g class="go_node go_is_done">{sample}</g>', swatch.word)


def _statuses(picture: Picture, overlay: Overlay) -> Iterable[_Entry]:
    present = {overlay.marks.get(box.id, Mark("not_reached")).status for box in picture.boxes}
    for status in get_args(Status):
        if status in present:
            sample = outline("node", Rect(0, -7, 20, 14)) + badge(status, 17, -4)
            yield _Entry(f'<g class="go_node go_is_{status}">{sample}</g>', _STATUS_WORDS[status])


def _lines(picture: Picture, overlay: Overlay | None) -> Iterable[_Entry]:
    present = {line.kind for line in picture.lines}
    for kind, word in _LINE_WORDS.items():
        if kind in present:
            yield _Entry(_sample_line(f"go_{kind}"), word)
    marked = {mark for line in picture.lines for mark in line.marks}
    for mark, word in MARK_WORDS.items():
        if mark in marked:
            yield _Entry(_sample_line("go_always", (mark,)), word)
    if overlay and overlay.taken:
        yield _Entry(_sample_line("go_always go_taken"), "taken")


def draw_rails(marks: Sequence[MarkName], way: str) -> str:
    """Return what runs on both sides of a line that carries marked values, beneath it."""
    if not marks:
        return ""
    rails = [f'<path class="go_rails go_{mark}" d="{way}"/>' for mark in marks]
    if len(marks) > 1:
        outer = f'<path class="go_rails go_{marks[-1]} go_outer" d="{way}"/>'
        gap = f'<path class="go_between go_outer" d="{way}"/>'
        rails = [outer, gap, f'<path class="go_rails go_{marks[0]}" d="{way}"/>']
    return f'{"".join(rails)}<path class="go_between" d="{way}"/>'


def _sample_line(classes: str, marks: Sequence[MarkName] = ()) -> str:
    end = _SAMPLE - 7
    tip = f"M{number(end)}-3.5L{number(_SAMPLE)} 0L{number(end)} 3.5Z"
    rails = draw_rails(marks, f"M0 0H{number(end)}")
    way = f'{rails}<path class="go_way" d="M0 0H{number(end)}"/>'
    return f'<g class="{classes}">{way}<path class="go_tip" d="{tip}"/></g>'


def _groups(picture: Picture) -> Iterable[_Entry]:
    present = {group.kind for group in picture.groups}
    for kind, word in _GROUP_WORDS.items():
        if kind in present:
            yield _Entry(
                f'<rect class="go_frame go_of_{kind}" x="1" y="-7" width="22" height="14" rx="4"/>',
                word,
            )

"""A comparison as a picture: for each figure a strip with its own scale, A above B, a dot with its interval, and what follows from it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable

from graphorch.cli.comparison import Comparison, Figure, Row
from graphorch.cli.comparison_telling import SHOWS
from graphorch.render.picture.text_width import shorten, to_one_line
from graphorch.render.svg.markup import content, number, numbers
from graphorch.render.svg.theme import Palette, Theme

_WIDTH, _MARGIN = 760.0, 24.0
_HEAD, _STRIP, _FOOT = 78.0, 84.0, 34.0
_LEFT, _RIGHT = 150.0, 540.0  # where a scale begins and ends
_VALUES = _RIGHT + 20
_SERIES = (("A", "agent_line"), ("B", "map_line"))


def drawn(comparison: Comparison, *, theme: Theme = "auto") -> str:
    """The SVG, self-contained; the same comparison gives the same bytes."""
    height = _HEAD + _STRIP * len(comparison.rows) + _FOOT
    body = f'<rect class="go_canvas" width="{number(_WIDTH)}" height="{number(height)}" rx="6"/>{_heading(comparison)}'
    body += "".join(_strip(row, _HEAD + at * _STRIP) for at, row in enumerate(comparison.rows))
    note = f"{len(comparison.pairs)} cases, {comparison.answered} answered by both; dot: the figure, line: its 95 % interval"
    body += _text(note, _MARGIN, height - 16, "go_small")
    return _document(comparison, body, height, theme)


def _document(comparison: Comparison, body: str, height: float, theme: Theme) -> str:
    title = f"A: {comparison.titles[0]}, B: {comparison.titles[1]}"
    told = ". ".join(
        f"{row.name}: A {_value(row, row.first)}, B {_value(row, row.second)}, {row.verdict}"
        for row in comparison.rows
    )
    root = f"go_{hashlib.sha256((theme + title + told + body).encode()).hexdigest()[:12]}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="{root}" role="img" aria-labelledby="{root}_t {root}_d" width="{number(_WIDTH)}" '
        f'height="{number(height)}" viewBox="0 0 {numbers(_WIDTH, height)}" style="max-width:100%;height:auto">'
        f'<title id="{root}_t">{content(to_one_line(title))}</title>'
        f'<desc id="{root}_d">{content(told)}</desc><style>{_style(f".{root}", theme)}</style>{body}</svg>\n'
    )


def _style(root: str, theme: Theme) -> str:
    paint = Palette(theme)
    rules = [
        f"{root} text{{font-family:Helvetica,Arial,'Liberation Sans',sans-serif;{paint('fill', 'text')}}}",
        f"{root} .go_canvas{{{paint('fill', 'canvas')}}}",
        f"{root} .go_name{{font-size:13px;font-weight:bold}}",
        f"{root} .go_plain{{font-size:12px}}",
        f"{root} .go_small{{font-size:11px;{paint('fill', 'muted')}}}",
        f"{root} .go_good{{font-size:11px;font-weight:bold}}",
        f"{root} .go_axis{{fill:none;stroke-width:1px;{paint('stroke', 'panel_line')}}}",
    ]
    for letter, token in _SERIES:
        rules.append(
            f"{root} .go_{letter}{{{paint('fill', token)}{paint('stroke', token)}stroke-width:2.5px;stroke-linecap:round}}"
        )
    return paint.variables(root) + "".join(rules)


def _heading(comparison: Comparison) -> str:
    found = ""
    for at, ((letter, _), title) in enumerate(zip(_SERIES, comparison.titles, strict=True)):
        y = 30.0 + 22 * at
        found += (
            f'<circle class="go_{letter}" cx="{number(_MARGIN + 5)}" cy="{number(y - 4)}" r="4"/>'
        )
        found += _text(
            shorten(f"{letter}  {to_one_line(title)}", 12, _WIDTH - 3 * _MARGIN),
            _MARGIN + 18,
            y,
            "go_plain",
        )
    return found


def _strip(row: Row, top: float) -> str:
    """One figure: its name, both flows on one scale, and the verdict."""
    found = f'<path class="go_axis" d="M{numbers(_MARGIN, top)}H{number(_WIDTH - _MARGIN)}"/>'
    found += _text(row.name, _MARGIN, top + 26, "go_name") + _text(
        "more is better" if row.more_is_better else "less is better", _MARGIN, top + 43, "go_small"
    )
    if not (row.first.is_known and row.second.is_known):
        return found + _text(
            "nothing to compare: no case was answered by both", _LEFT, top + 38, "go_small"
        )
    place, low, high = _scale(row)
    found += f'<path class="go_axis" d="M{numbers(_LEFT, top + 58)}H{number(_RIGHT)}M{numbers(_LEFT, top + 55)}v6M{numbers(_RIGHT, top + 55)}v6"/>'
    found += _text(SHOWS[row.name](low, ""), _LEFT, top + 73, "go_small") + _text(
        SHOWS[row.name](high, ""), _RIGHT, top + 73, "go_small", "end"
    )
    for at, ((letter, _), figure) in enumerate(zip(_SERIES, (row.first, row.second), strict=True)):
        y = top + 22 + 20 * at
        found += f'<path class="go_{letter}" d="M{numbers(place(figure.low), y)}H{number(place(figure.high))}"/>'
        found += f'<circle class="go_{letter}" cx="{number(place(figure.value))}" cy="{number(y)}" r="4.5"/>'
        found += _text(f"{letter}  {_value(row, figure)}", _VALUES, y + 4, "go_plain")
    return found + _text(
        row.verdict, _VALUES, top + 66, "go_good" if "better" in row.verdict else "go_small"
    )


def _scale(row: Row) -> tuple[Callable[[float], float], float, float]:
    """From a value to its place, and the values at both ends: from zero, unless all lies far from it."""
    values = [
        value
        for figure in (row.first, row.second)
        for value in (figure.low, figure.value, figure.high)
    ]
    low, high = min(values), max(values)
    low = min(low, 0.0) if low < 0.6 * high or low < 0 else low - 0.25 * (high - low or abs(high))
    high = high if high > low else low + 1
    return lambda value: _LEFT + (_RIGHT - _LEFT) * (value - low) / (high - low), low, high


def _value(row: Row, figure: Figure) -> str:
    return SHOWS[row.name](figure.value, "") if not math.isnan(figure.value) else "unknown"


def _text(text: str, x: float, y: float, style: str, anchor: str = "") -> str:
    at = f' text-anchor="{anchor}"' if anchor else ""
    return f'<text class="{style}" x="{number(x)}" y="{number(y)}"{at}>{content(text)}</text>'

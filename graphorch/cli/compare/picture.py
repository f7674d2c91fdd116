"""Comparison as a picture: a strip for each figure.

A strip has a scale of its own, A above B, a dot with its interval for each, and the verdict.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from graphorch.cli.compare.report import format_value
from graphorch.cli.compare.statistics import Comparison, ComparisonRow, Figure
from graphorch.render.picture.text_width import shorten, to_one_line
from graphorch.render.svg.markup import content, number, numbers
from graphorch.render.svg.theme import Palette, Theme

_WIDTH, _MARGIN = 760.0, 24.0
_HEADING_HEIGHT, _STRIP_HEIGHT, _FOOT_HEIGHT = 78.0, 84.0, 34.0
_SCALE_LEFT, _SCALE_RIGHT = 150.0, 540.0
_VALUES_LEFT = _SCALE_RIGHT + 20
# letter of a flow → colour of the theme
_SERIES = (("A", "agent_line"), ("B", "map_line"))


def draw_comparison(comparison: Comparison, *, theme: Theme = "auto") -> str:
    """Return the SVG, self-contained; equal comparisons give equal bytes."""
    height = _HEADING_HEIGHT + _STRIP_HEIGHT * len(comparison.rows) + _FOOT_HEIGHT
    size = f'width="{number(_WIDTH)}" height="{number(height)}"'
    note = (
        f"{len(comparison.pairs)} cases, {comparison.answered} answered by both; "
        "dot: the figure, line: its 95 % interval"
    )
    parts = [f'<rect class="go_canvas" {size} rx="6"/>', _draw_heading(comparison)]
    for index, row in enumerate(comparison.rows):
        parts.append(_draw_strip(row, _HEADING_HEIGHT + index * _STRIP_HEIGHT))
    parts.append(_draw_text(note, _MARGIN, height - 16, "go_small"))
    return _build_document(comparison, "".join(parts), height, theme)


def _build_document(comparison: Comparison, body: str, height: float, theme: Theme) -> str:
    title = f"A: {comparison.titles[0]}, B: {comparison.titles[1]}"
    sentences = [
        f"{row.name}: A {_format_figure(row, row.first)}, B {_format_figure(row, row.second)}, "
        f"{row.verdict}"
        for row in comparison.rows
    ]
    description = ". ".join(sentences)
    # the class is a hash of all there is: two pictures on one page do not mix their styles
    digest = hashlib.sha256((theme + title + description + body).encode()).hexdigest()
    root = f"go_{digest[:12]}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="{root}" role="img" '
        f'aria-labelledby="{root}_t {root}_d" width="{number(_WIDTH)}" '
        f'height="{number(height)}" viewBox="0 0 {numbers(_WIDTH, height)}" '
        f'style="max-width:100%;height:auto"><title id="{root}_t">{content(to_one_line(title))}'
        f'</title><desc id="{root}_d">{content(description)}</desc>'
        f"<style>{_build_style(f'.{root}', theme)}</style>{body}</svg>\n"
    )


def _build_style(root: str, theme: Theme) -> str:
    paint = Palette(theme)
    fonts = "Helvetica,Arial,'Liberation Sans',sans-serif"
    rules = [
        f"{root} text{{font-family:{fonts};{paint('fill', 'text')}}}",
        f"{root} .go_canvas{{{paint('fill', 'canvas')}}}",
        f"{root} .go_name{{font-size:13px;font-weight:bold}}",
        f"{root} .go_plain{{font-size:12px}}",
        f"{root} .go_small{{font-size:11px;{paint('fill', 'muted')}}}",
        f"{root} .go_good{{font-size:11px;font-weight:bold}}",
        f"{root} .go_axis{{fill:none;stroke-width:1px;{paint('stroke', 'panel_line')}}}",
    ]
    for letter, colour in _SERIES:
        paints = paint("fill", colour) + paint("stroke", colour)
        rules.append(f"{root} .go_{letter}{{{paints}stroke-width:2.5px;stroke-linecap:round}}")
    return paint.variables(root) + "".join(rules)


def _draw_heading(comparison: Comparison) -> str:
    parts: list[str] = []
    for index, ((letter, _), title) in enumerate(zip(_SERIES, comparison.titles, strict=True)):
        y = 30.0 + 22 * index
        x = number(_MARGIN + 5)
        parts.append(f'<circle class="go_{letter}" cx="{x}" cy="{number(y - 4)}" r="4"/>')
        label = shorten(f"{letter}  {to_one_line(title)}", 12, _WIDTH - 3 * _MARGIN)
        parts.append(_draw_text(label, _MARGIN + 18, y, "go_plain"))
    return "".join(parts)


def _draw_strip(row: ComparisonRow, top: float) -> str:
    """Return a figure: its name, both flows on one scale, and the verdict."""
    direction = "more is better" if row.more_is_better else "less is better"
    parts = [
        f'<path class="go_axis" d="M{numbers(_MARGIN, top)}H{number(_WIDTH - _MARGIN)}"/>',
        _draw_text(row.name, _MARGIN, top + 26, "go_name"),
        _draw_text(direction, _MARGIN, top + 43, "go_small"),
    ]
    if not (row.first.is_known and row.second.is_known):
        note = "nothing to compare: no case was answered by both"
        return "".join([*parts, _draw_text(note, _SCALE_LEFT, top + 38, "go_small")])
    to_x, low, high = _build_scale(row)
    parts.append(_draw_axis(row, top, low, high))
    for index, ((letter, _), figure) in enumerate(
        zip(_SERIES, (row.first, row.second), strict=True)
    ):
        parts.append(_draw_figure(row, figure, letter, to_x, top + 22 + 20 * index))
    style = "go_good" if "better" in row.verdict else "go_small"
    return "".join([*parts, _draw_text(row.verdict, _VALUES_LEFT, top + 66, style)])


def _draw_axis(row: ComparisonRow, top: float, low: float, high: float) -> str:
    left, right = numbers(_SCALE_LEFT, top + 55), numbers(_SCALE_RIGHT, top + 55)
    line = f"M{numbers(_SCALE_LEFT, top + 58)}H{number(_SCALE_RIGHT)}M{left}v6M{right}v6"
    return (
        f'<path class="go_axis" d="{line}"/>'
        + _draw_text(format_value(row, low), _SCALE_LEFT, top + 73, "go_small")
        + _draw_text(format_value(row, high), _SCALE_RIGHT, top + 73, "go_small", "end")
    )


def _draw_figure(
    row: ComparisonRow, figure: Figure, letter: str, to_x: Callable[[float], float], y: float
) -> str:
    interval = f"M{numbers(to_x(figure.low), y)}H{number(to_x(figure.high))}"
    centre = f'cx="{number(to_x(figure.value))}" cy="{number(y)}"'
    label = f"{letter}  {_format_figure(row, figure)}"
    return (
        f'<path class="go_{letter}" d="{interval}"/>'
        f'<circle class="go_{letter}" {centre} r="4.5"/>'
        + _draw_text(label, _VALUES_LEFT, y + 4, "go_plain")
    )


def _build_scale(row: ComparisonRow) -> tuple[Callable[[float], float], float, float]:
    """Return the map from a value to its place, and the values at both ends of the scale.

    The scale begins at zero unless all values lie far from it.
    """
    figures = (row.first, row.second)
    values = [value for figure in figures for value in (figure.low, figure.value, figure.high)]
    low, high = min(values), max(values)
    if low < 0.6 * high or low < 0:
        low = min(low, 0.0)
    else:
        low -= 0.25 * (high - low or abs(high))
    if high <= low:
        high = low + 1

    def to_x(value: float) -> float:
        return _SCALE_LEFT + (_SCALE_RIGHT - _SCALE_LEFT) * (value - low) / (high - low)

    return to_x, low, high


def _format_figure(row: ComparisonRow, figure: Figure) -> str:
    return format_value(row, figure.value) if figure.is_known else "unknown"


def _draw_text(text: str, x: float, y: float, style: str, anchor: str = "") -> str:
    anchored = f' text-anchor="{anchor}"' if anchor else ""
    return f'<text class="{style}" x="{number(x)}" y="{number(y)}"{anchored}>{content(text)}</text>'

"""Style sheet of one picture. Every rule begins with the class of its own `<svg>`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

from graphorch.render.picture.overlay import Status
from graphorch.render.picture.sizes import (
    DECISION_SIZE,
    DETAIL_SIZE,
    LABEL_SIZE,
    NAME_SIZE,
    SMALL_SIZE,
    TITLE_SIZE,
)
from graphorch.render.svg.theme import Palette, Theme

FONTS = ("Helvetica Neue", "Helvetica", "Arial", "Liberation Sans", "Nimbus Sans")
_BOXES = (
    *("node", "agent", "map", "sub", "ask", "signal", "timer", "first"),
    *("decision", "terminal", "join"),
)
_DASHES = {"conditional": "6 4", "loop": "6 4", "error": "1.5 4", "exhausted": "9 3 2 3"}
_COLOURED = ("loop", "error", "exhausted", "undo")


def style_sheet(root: str, theme: Theme, *, overlay: bool, marks: bool, undos: bool) -> str:
    """Return the rules for the picture whose `<svg>` has the class `root`.

    `marks` says whether a line of it carries marked values, and `undos` whether one leads to an
    undo.
    """
    colour = Palette(theme)
    rules = [*_text_rules(colour), *_box_rules(colour), *_group_rules(colour), *_line_rules(colour)]
    if marks:
        rules += _mark_rules(colour)
    if undos:
        rules += _way_rules(colour, "undo", "3 4")
    moving = ""
    if overlay:
        rules += _overlay_rules(colour, root)
        moving = _motion(root)
    own = "".join(
        f"{_within(root, selectors)}{{{declarations}}}" for selectors, declarations in rules
    )
    font = f".{root}{{font-family:{','.join(FONTS)},sans-serif;}}"
    return f"{colour.variables(f'.{root}')}{font}{own}{moving}"


def _within(root: str, selectors: str) -> str:
    return ",".join(f".{root} {selector}" for selector in selectors.split(","))


def _text_rules(colour: Palette) -> Iterable[tuple[str, str]]:
    halo = f"paint-order:stroke;stroke-width:4px;stroke-linejoin:round;{colour('stroke', 'canvas')}"
    yield ".go_canvas", colour("fill", "canvas")
    yield "text", colour("fill", "text") + "white-space:pre;"
    yield ".go_name", f"font-size:{NAME_SIZE}px;font-weight:700;"
    yield (
        ".go_detail,.go_label,.go_legend text,.go_hint",
        colour("fill", "muted") + f"font-size:{DETAIL_SIZE}px;",
    )
    yield ".go_question", f"font-size:{DECISION_SIZE}px;"
    yield ".go_small", f"font-size:{SMALL_SIZE}px;"
    yield ".go_title", f"font-size:{TITLE_SIZE}px;font-weight:700;"
    yield ".go_label", f"font-size:{LABEL_SIZE}px;"
    yield ".go_halo", halo
    yield ".go_rule", colour("stroke", "panel_line")


def _box_rules(colour: Palette) -> Iterable[tuple[str, str]]:
    yield ".go_shape", "stroke-width:1.4;"
    yield ".go_icon", "fill:none;stroke-width:1.4;stroke-linecap:round;stroke-linejoin:round;"
    for kind in _BOXES:
        line = colour("stroke", f"{kind}_line")
        yield f".go_{kind} .go_shape", colour("fill", f"{kind}_fill") + line
        yield f".go_{kind} .go_icon", line
        yield f".go_{kind} .go_solid", colour("fill", f"{kind}_line")


def _group_rules(colour: Palette) -> Iterable[tuple[str, str]]:
    yield (
        ".go_frame",
        "stroke-width:1.2;" + colour("fill", "panel_fill") + colour("stroke", "panel_line"),
    )
    yield ".go_frame.go_of_map", colour("stroke", "map_line") + "stroke-opacity:.55;"
    yield ".go_frame.go_of_sub", colour("stroke", "sub_line") + "stroke-opacity:.55;"
    yield ".go_frame.go_of_loop", "fill:none;stroke-dasharray:6 4;" + colour("stroke", "loop")
    yield ".go_title.go_of_loop", colour("fill", "loop")


def _line_rules(colour: Palette) -> Iterable[tuple[str, str]]:
    yield ".go_way", "fill:none;stroke-width:1.3;" + colour("stroke", "edge")
    yield ".go_tip", colour("fill", "edge")
    for kind, dashes in _DASHES.items():
        yield from _way_rules(colour, kind, dashes)


def _way_rules(colour: Palette, kind: str, dashes: str) -> Iterable[tuple[str, str]]:
    """Yield rules for the lines of a kind that are dashed."""
    style = f"stroke-dasharray:{dashes};"
    if kind == "error":
        style += "stroke-linecap:round;"
    if kind in _COLOURED:
        style += colour("stroke", kind)
    yield f".go_{kind} .go_way", style
    if kind in _COLOURED:
        yield f".go_{kind} .go_tip,.go_label.go_of_{kind}", colour("fill", kind)


def _mark_rules(colour: Palette) -> Iterable[tuple[str, str]]:
    """Yield rules for rails on both sides of a line: a wide stroke, and one of the ground on it."""
    yield ".go_rails,.go_between", "fill:none;stroke-linecap:butt;"
    yield ".go_rails.go_untrusted", "stroke-width:7.4;" + colour("stroke", "untrusted")
    yield (
        ".go_rails.go_secret",
        "stroke-width:7.4;stroke-dasharray:3 2.6;" + colour("stroke", "secret"),
    )
    # A line with both marks has the rails of secrets around those of untrusted values.
    yield ".go_rails.go_outer", "stroke-width:12;"
    yield ".go_between", "stroke-width:4.6;" + colour("stroke", "canvas")
    yield ".go_between.go_outer", "stroke-width:9.2;"


def _overlay_rules(colour: Palette, root: str) -> Iterable[tuple[str, str]]:
    for status in get_args(Status):
        line = colour("stroke", f"{status}_line")
        yield f".go_is_{status} .go_shape", colour("fill", f"{status}_fill") + line
        yield f".go_is_{status} .go_icon", line
        yield (
            f".go_is_{status} .go_solid,.go_is_{status} .go_badge circle",
            colour("fill", f"{status}_line"),
        )
    yield ".go_is_not_reached .go_shape", "stroke-dasharray:4 3;"
    yield ".go_detail.go_bound,.go_remark", colour("fill", "text")
    yield ".go_remark", f"font-size:{DETAIL_SIZE}px;"
    yield ".go_is_not_reached text", colour("fill", "muted")
    yield (
        ".go_is_running .go_shape",
        f"stroke-width:2.4;animation:{root}_pulse 1.6s ease-in-out infinite;",
    )
    yield ".go_badge circle", "stroke-width:1.5;" + colour("stroke", "canvas")
    yield (
        ".go_badge path",
        "fill:none;stroke-width:1.7;stroke-linecap:round;stroke-linejoin:round;"
        + colour("stroke", "canvas"),
    )
    yield ".go_is_running .go_badge path", colour("fill", "canvas")
    yield ".go_taken .go_way", "stroke-width:2.6;"
    yield (
        ".go_taken.go_always .go_way,.go_taken.go_conditional .go_way",
        colour("stroke", "terminal_line"),
    )
    yield (
        ".go_taken.go_always .go_tip,.go_taken.go_conditional .go_tip",
        colour("fill", "terminal_line"),
    )


def _motion(root: str) -> str:
    return (
        f"@keyframes {root}_pulse{{50%{{stroke-opacity:.35}}}}"
        "@media(prefers-reduced-motion:reduce)"
        f"{{.{root} .go_is_running .go_shape{{animation:none}}}}"
    )

"""Place a picture, by Graphviz where it is installed and by the builtin layout elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from graphorch.errors import InputError
from graphorch.render.layout.back_edges import ways_back_are_free
from graphorch.render.layout.graphviz import DotFailed, dot_layout, dot_path, install_hint
from graphorch.render.layout.group_titles import titles_crossed
from graphorch.render.layout.layered import builtin_layout
from graphorch.render.layout.layering import back_lines, has_wide_fans
from graphorch.render.layout.measures import Direction, Size, measure
from graphorch.render.picture.model import Picture
from graphorch.render.picture.overlay import Mark, Overlay
from graphorch.render.picture.placement import Curve, Layout, Point, Rect
from graphorch.render.picture.sizes import box_size, mark_title

__all__ = [
    "Curve",
    "Direction",
    "Engine",
    "Layout",
    "Point",
    "Rect",
    "check_direction",
    "layout",
]

Engine = Literal["auto", "dot", "builtin"]

_MOST_FOR_DOT = 1500  # boxes from which on dot takes longer than anyone waits for a picture


def layout(
    picture: Picture,
    engine: Engine = "auto",
    direction: Direction = "TB",
    *,
    overlay: Overlay | None = None,
) -> Layout:
    """Place the boxes, lines and groups of a picture.

    `engine`: `"dot"` is Graphviz; `"builtin"` needs nothing and is equal on every machine. `"auto"`
    takes Graphviz if `dot` is on PATH, but builtin for 1,500 boxes or more, for branches that are
    too many for one row (dot would draw it wider than any page), for loops from left to right, if
    dot takes more than 20 s, and if it would let a line run through the title of a frame or a
    loop's way back behind boxes.

    `direction`: lines lead from top to bottom (`"TB"`) or from left to right (`"LR"`). With an
    `overlay` boxes and titles have room for its figures; without it `draw` drops figures that do
    not fit.

    Raises:
        InputError: `engine="dot"` where `dot` is missing or does not succeed, or an unknown engine
            or direction.
    """
    if engine not in ("auto", "dot", "builtin"):
        raise InputError(f"There is no layout engine '{engine}'. Use 'auto', 'dot' or 'builtin'.")
    check_direction(direction)
    sizes = {box.id: box_size(box, _mark(overlay, box.id)) for box in picture.boxes}
    if overlay is not None:
        picture = replace(
            picture, groups=tuple(mark_title(group, overlay) for group in picture.groups)
        )
    if engine == "dot":
        return _ask_dot(picture, sizes, direction)
    if engine == "auto" and _suits_dot(picture, sizes, direction):
        try:
            placed = dot_layout(picture, sizes, direction)
        except DotFailed:
            return builtin_layout(picture, sizes, direction)
        if ways_back_are_free(picture, placed) and not titles_crossed(picture, placed):
            return placed
    return builtin_layout(picture, sizes, direction)


def check_direction(direction: str) -> None:
    """Raise `InputError` for a direction that there is not."""
    if direction not in ("TB", "LR"):
        raise InputError(
            f"There is no direction '{direction}'. "
            "Use 'TB' (top to bottom) or 'LR' (left to right)."
        )


def _suits_dot(picture: Picture, sizes: Mapping[str, Size], direction: Direction) -> bool:
    """Return whether dot is there and would draw a picture of which people see something."""
    if len(picture.boxes) >= _MOST_FOR_DOT or dot_path() is None:
        return False
    if direction == "LR" and back_lines(picture):
        return False  # dot squeezes them between boxes and the lines that lead forwards
    return not has_wide_fans(picture, measure(picture, sizes, direction))


def _ask_dot(picture: Picture, sizes: Mapping[str, Size], direction: Direction) -> Layout:
    if dot_path() is None:
        raise InputError(
            f"engine='dot' needs Graphviz, but 'dot' is not on PATH. "
            f"Install it ({install_hint()}), or use engine='builtin', which needs nothing."
        )
    try:
        return dot_layout(picture, sizes, direction)
    except DotFailed as error:
        raise InputError(
            f"engine='dot' could not place '{picture.name}': {error}. "
            "Use engine='builtin', which needs nothing."
        ) from error


def _mark(overlay: Overlay | None, box: str) -> Mark | None:
    if overlay is None:
        return None
    return overlay.marks.get(box, Mark("not_reached"))

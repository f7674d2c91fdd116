"""Place a picture, by Graphviz where it is installed and by the builtin layout elsewhere."""

from __future__ import annotations

from typing import Literal

from graphorch.errors import InputError
from graphorch.render.layout.back_edges import ways_back_are_free
from graphorch.render.layout.graphviz import DotFailed, dot_layout, dot_path, install_hint
from graphorch.render.layout.layered import builtin_layout
from graphorch.render.picture.model import Picture
from graphorch.render.picture.overlay import Mark, Overlay
from graphorch.render.picture.placement import Curve, Layout, Point, Rect
from graphorch.render.picture.sizes import box_size

__all__ = ["Curve", "Engine", "Layout", "Point", "Rect", "layout"]

Engine = Literal["auto", "dot", "builtin"]

_MOST_FOR_DOT = 1500  # boxes from which on dot takes longer than anyone waits for a picture


def layout(picture: Picture, engine: Engine = "auto", *, overlay: Overlay | None = None) -> Layout:
    """Place the boxes, lines and groups of a picture.

    `engine`: `"dot"` is Graphviz; `"builtin"` needs nothing and is equal on every machine. `"auto"`
    takes Graphviz if `dot` is on PATH, and builtin if it is not, for 1,500 boxes or more, if it
    takes more than 20 s, or if it would let a loop's way back run behind boxes. With an `overlay`
    boxes are wide enough for its figures; without it `draw` drops figures that do not fit.

    Raises:
        InputError: `engine="dot"` where `dot` is missing or does not succeed, or an unknown engine.
    """
    sizes = {box.id: box_size(box, _mark(overlay, box.id)) for box in picture.boxes}
    if engine == "builtin":
        return builtin_layout(picture, sizes)
    if engine not in ("auto", "dot"):
        raise InputError(f"There is no layout engine '{engine}'. Use 'auto', 'dot' or 'builtin'.")
    if engine == "auto" and (len(picture.boxes) >= _MOST_FOR_DOT or dot_path() is None):
        return builtin_layout(picture, sizes)
    if dot_path() is None:
        raise InputError(
            f"engine='dot' needs Graphviz, but 'dot' is not on PATH. "
            f"Install it ({install_hint()}), or use engine='builtin', which needs nothing."
        )
    try:
        placed = dot_layout(picture, sizes)
        if engine == "dot" or ways_back_are_free(picture, placed):
            return placed
        return builtin_layout(picture, sizes)
    except DotFailed as error:
        if engine == "auto":
            return builtin_layout(picture, sizes)
        raise InputError(
            f"engine='dot' could not place '{picture.name}': {error}. "
            "Use engine='builtin', which needs nothing."
        ) from error


def _mark(overlay: Overlay | None, box: str) -> Mark | None:
    if overlay is None:
        return None
    return overlay.marks.get(box, Mark("not_reached"))

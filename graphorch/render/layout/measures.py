"""What the builtin layout has to fit: sizes of boxes, labels and titles, and the room around them.

That layout knows one direction only: lines lead down. A picture from left to right is laid out on
its side, with the sizes of everything exchanged, and `turn` lays it upright again. Words are never
turned, so the room that titles need is at another side of their frames then. Sizes here are pairs:
*across* the direction of the lines, and *along* it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from graphorch.render.picture.model import Picture
from graphorch.render.picture.placement import Curve, Layout, Rect
from graphorch.render.picture.sizes import TITLE_INDENT, label_size, title_width

Size = tuple[float, float]
Direction = Literal["TB", "LR"]
"""Lines lead from top to bottom, or from left to right."""


@dataclass(frozen=True, slots=True)
class Room:
    """Room within frames, from their sides to what is in them, and between neighbours."""

    head: float  # at the side where lines enter
    foot: float  # at the side where lines leave
    before: float  # at the side of the first cell of a row
    after: float  # at the side of the last cell of a row
    box_gap: float  # between two boxes of a row
    row_gap: float  # between two rows of boxes


# The title of a frame stands at its top: where lines enter, or beside the first cells.
_ROOMS: Mapping[Direction, Room] = {
    "TB": Room(head=30.0, foot=14.0, before=14.0, after=14.0, box_gap=30.0, row_gap=38.0),
    "LR": Room(head=14.0, foot=14.0, before=30.0, after=14.0, box_gap=18.0, row_gap=46.0),
}


@dataclass(frozen=True, slots=True)
class Measures:
    """Sizes by id, across and along; a label without words has none. `titles` are of frames."""

    direction: Direction
    room: Room
    boxes: Mapping[str, Size]
    labels: Mapping[str, Size]
    titles: Mapping[str, Size]


def measure(picture: Picture, boxes: Mapping[str, Size], direction: Direction) -> Measures:
    """Return the measures of a picture whose boxes have these widths and heights."""
    labels = {line.id: label_size(line) for line in picture.lines}
    titles = {group.id: (title_width(group) + 2 * TITLE_INDENT, 0.0) for group in picture.groups}
    sizes = (boxes, labels, titles)
    if direction == "LR":
        sizes = tuple({id_: (y, x) for id_, (x, y) in each.items()} for each in sizes)
    return Measures(direction, _ROOMS[direction], *sizes)


def turn(placed: Layout) -> Layout:
    """Exchange x and y of everything."""
    return replace(
        placed,
        width=placed.height,
        height=placed.width,
        boxes={id_: _turn_rect(rect) for id_, rect in placed.boxes.items()},
        groups={id_: _turn_rect(rect) for id_, rect in placed.groups.items()},
        lines={id_: _turn_curve(curve) for id_, curve in placed.lines.items()},
    )


def _turn_rect(rect: Rect) -> Rect:
    return Rect(rect.y, rect.x, rect.height, rect.width)


def _turn_curve(curve: Curve) -> Curve:
    label = curve.label and _turn_rect(curve.label)
    return Curve(tuple((y, x) for x, y in curve.points), (curve.tip[1], curve.tip[0]), label)

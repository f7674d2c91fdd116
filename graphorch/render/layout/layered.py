"""Builtin layout: needs no program, is equal on every machine, and is fast.

It takes well under a second for 200 boxes.

Six steps after Sugiyama, Tagawa and Toda (1981): `layering.py` takes out cycles, assigns rows and
fills them with cells, `ordering.py` sorts the rows, `coordinates.py` gives every cell an x,
`edge_routing.py` gives rows their y and lines their curves. Then the groups get frames, and the
frames titles.
"""

from __future__ import annotations

from collections.abc import Mapping

from graphorch.render.layout.coordinates import GROUP_PAD, place_columns
from graphorch.render.layout.edge_routing import GROUP_FOOT, GROUP_HEAD, route_lines, row_bounds
from graphorch.render.layout.group_titles import place_titles
from graphorch.render.layout.layering import Grid, Size, build_grid
from graphorch.render.layout.ordering import order_rows
from graphorch.render.picture.model import Picture
from graphorch.render.picture.placement import Curve, Layout, Point, Rect
from graphorch.render.picture.sizes import TITLE_INDENT, title_width


def builtin_layout(picture: Picture, sizes: Mapping[str, Size]) -> Layout:
    """Place a picture whose boxes have these sizes (width, height)."""
    grid = build_grid(picture, sizes)
    order_rows(grid.rows)
    titles = {group.id: title_width(group) + 2 * TITLE_INDENT for group in picture.groups}
    sides = place_columns(grid, titles)
    boxes = _place_boxes(grid, sizes)
    lines = route_lines(picture, grid, boxes)
    groups = _place_groups(picture, grid, boxes, sides)
    return place_titles(picture, _normalize("builtin", boxes, lines, groups))


def _place_boxes(grid: Grid, sizes: Mapping[str, Size]) -> dict[str, Rect]:
    bounds = row_bounds(grid)
    rects: dict[str, Rect] = {}
    for id_, cell in grid.boxes.items():
        width, height = sizes[id_]
        top, bottom = bounds[cell.row]
        rects[id_] = Rect(cell.x - width / 2, (top + bottom - height) / 2, width, height)
    return rects


def _place_groups(
    picture: Picture,
    grid: Grid,
    boxes: Mapping[str, Rect],
    sides: Mapping[str, tuple[float, float]],
) -> dict[str, Rect]:
    """Return frames as tight as their content and title allow."""
    content: dict[str, list[Rect]] = {}
    bounds = row_bounds(grid)
    for row in grid.rows:
        for cell in row:
            if cell.groups:
                top, bottom = bounds[cell.row]
                if cell.role == "box":
                    rect = boxes[cell.owner]
                else:
                    rect = Rect(cell.x - cell.left, top, cell.left + cell.right, bottom - top)
                content.setdefault(cell.groups[-1], []).append(rect)
    parents = {group.id: group.parent for group in picture.groups}
    depths = {
        group: len(cell.groups[: cell.groups.index(group)])
        for cell in grid.boxes.values()
        for group in cell.groups
    }
    titles = {group.id: title_width(group) + 2 * TITLE_INDENT for group in picture.groups}
    frames: dict[str, Rect] = {}
    # The inner frames first: they are content of the outer ones.
    for group in sorted(depths, key=lambda id_: (-depths[id_], id_)):
        frames[group] = _frame(content[group], titles[group], sides[group])
        parent = parents[group]
        if parent is not None:
            content.setdefault(parent, []).append(frames[group])
    return frames


def _frame(content: list[Rect], title: float, sides: tuple[float, float]) -> Rect:
    left = min(rect.x for rect in content) - GROUP_PAD
    right = max(rect.right for rect in content) + GROUP_PAD
    missing = max(0.0, title - (right - left))
    left = max(sides[0], left - missing / 2)
    right = max(right, left + title)
    top = min(rect.y for rect in content) - GROUP_HEAD
    return Rect(left, top, right - left, max(rect.bottom for rect in content) + GROUP_FOOT - top)


def _normalize(
    engine: str, boxes: Mapping[str, Rect], lines: Mapping[str, Curve], groups: Mapping[str, Rect]
) -> Layout:
    """Return the layout, moved so that its upper left corner is (0, 0)."""
    rects = [
        *boxes.values(),
        *groups.values(),
        *(curve.label for curve in lines.values() if curve.label),
    ]
    points = [point for curve in lines.values() for point in curve.points]
    left = min([rect.x for rect in rects] + [x for x, _ in points], default=0.0)
    top = min([rect.y for rect in rects] + [y for _, y in points], default=0.0)
    right = max([rect.right for rect in rects] + [x for x, _ in points], default=0.0)
    bottom = max([rect.bottom for rect in rects] + [y for _, y in points], default=0.0)

    def move(rect: Rect) -> Rect:
        return Rect(rect.x - left, rect.y - top, rect.width, rect.height)

    def move_point(point: Point) -> Point:
        return point[0] - left, point[1] - top

    curves = {
        id_: Curve(
            tuple(move_point(point) for point in curve.points),
            move_point(curve.tip),
            move(curve.label) if curve.label else None,
        )
        for id_, curve in lines.items()
    }
    places = (
        {id_: move(rect) for id_, rect in boxes.items()},
        {id_: move(rect) for id_, rect in groups.items()},
    )
    return Layout(engine, right - left, bottom - top, places[0], curves, places[1], {})

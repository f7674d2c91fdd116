"""Builtin layout: needs no program, is equal on every machine, and is fast.

It takes well under a second for 200 boxes.

Six steps after Sugiyama, Tagawa and Toda (1981): `layering.py` takes out cycles, assigns rows and
fills them with cells, `ordering.py` sorts the rows, `coordinates.py` gives every cell an x,
`edge_routing.py` gives rows their y and lines their curves. Then the groups get frames, and the
frames titles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphorch.render.layout.coordinates import place_columns
from graphorch.render.layout.edge_routing import Band, entry_distances, route_lines, row_bands
from graphorch.render.layout.group_titles import place_titles, titles_crossed
from graphorch.render.layout.layering import Cell, Grid, build_grid
from graphorch.render.layout.measures import Direction, Measures, Size, measure, turn
from graphorch.render.layout.ordering import order_rows
from graphorch.render.picture.model import Picture
from graphorch.render.picture.placement import Curve, Layout, Point, Rect


def builtin_layout(
    picture: Picture, sizes: Mapping[str, Size], direction: Direction = "TB"
) -> Layout:
    """Place a picture whose boxes have these sizes (width, height)."""
    measures = measure(picture, sizes, direction)
    grid = build_grid(picture, measures)
    order_rows(grid.rows)
    placed = _place(picture, grid, {})
    crossed = titles_crossed(picture, placed)
    if crossed:
        # Their frames become so wide that the title stands left of all lines that enter.
        placed = _place(picture, grid, entry_distances(picture, grid, crossed))
    return placed


def _place(picture: Picture, grid: Grid, entries: Mapping[Cell, Mapping[str, float]]) -> Layout:
    """Place a picture whose rows are in order; `entries` keep lines away from titles."""
    sides = place_columns(grid, entries)
    bands = row_bands(grid)
    boxes = _place_boxes(grid, bands)
    lines = route_lines(picture, grid, bands, boxes)
    groups = _place_groups(picture, grid, bands, boxes, sides, entries)
    placed = _normalize("builtin", boxes, lines, groups)
    if grid.measures.direction == "LR":
        placed = turn(placed)
    return place_titles(picture, placed)


def _place_boxes(grid: Grid, bands: Sequence[Band]) -> dict[str, Rect]:
    rects: dict[str, Rect] = {}
    for id_, cell in grid.boxes.items():
        across, along = grid.measures.boxes[id_]
        band = bands[cell.row]
        middle = (band.top + band.bottom) / 2
        rects[id_] = Rect(cell.x - across / 2, middle - along / 2, across, along)
    return rects


def _place_groups(
    picture: Picture,
    grid: Grid,
    bands: Sequence[Band],
    boxes: Mapping[str, Rect],
    sides: Mapping[str, tuple[float, float]],
    entries: Mapping[Cell, Mapping[str, float]],
) -> dict[str, Rect]:
    """Return frames as tight as their content and title allow."""
    content: dict[str, list[Rect]] = {}
    for row in grid.rows:
        for cell in row:
            if cell.groups:
                band = bands[cell.row]
                rect = Rect(
                    cell.x - cell.left, band.top, cell.left + cell.right, band.bottom - band.top
                )
                if cell.role == "box":
                    rect = boxes[cell.owner]
                content.setdefault(cell.groups[-1], []).append(rect)
    parents = {group.id: group.parent for group in picture.groups}
    depths = {
        group: len(cell.groups[: cell.groups.index(group)])
        for cell in grid.boxes.values()
        for group in cell.groups
    }
    starts = {
        group: cell.x - distance
        for cell, distances in entries.items()
        for group, distance in distances.items()
    }
    frames: dict[str, Rect] = {}
    # The inner frames first: they are content of the outer ones.
    for group in sorted(depths, key=lambda id_: (-depths[id_], id_)):
        frame = _frame(content[group], group, grid.measures, sides[group])
        start = min(frame.x, starts.get(group, frame.x))
        frames[group] = Rect(start, frame.y, frame.right - start, frame.height)
        parent = parents[group]
        if parent is not None:
            content.setdefault(parent, []).append(frames[group])
    return frames


def _frame(content: list[Rect], group: str, measures: Measures, sides: tuple[float, float]) -> Rect:
    room, (across, along) = measures.room, measures.titles[group]
    left = min(rect.x for rect in content) - room.before
    right = max(rect.right for rect in content) + room.after
    missing = max(0.0, across - (right - left))
    left = max(sides[0], left - missing / 2)
    right = max(right, left + across)
    top = min(rect.y for rect in content) - room.head
    bottom = max(rect.bottom for rect in content) + room.foot
    return Rect(left, top, right - left, max(bottom - top, along))


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

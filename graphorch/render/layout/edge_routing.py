"""Step 6 of the builtin layout, edge routing: a y for every row, and lines as smooth curves."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from graphorch.render.layout.layering import Cell, Grid
from graphorch.render.layout.measures import Size
from graphorch.render.picture.model import Box, Picture
from graphorch.render.picture.placement import Curve, Point, Rect
from graphorch.render.picture.sizes import DIAMOND_KINDS

ARROW = 7.0  # length of an arrow head
_LABEL_GAP = 17.0  # above and below a row of labels
_PORT_GAP = 9.0
# How far from its middle lines may meet a box, as a share of half its width.
_PORT_SHARE = {"decision": 0.5, "first": 0.5, "start": 0.4, "end": 0.4, "join": 0.8}
_PORT_SHARE_OF_CARDS = 0.5


@dataclass(frozen=True, slots=True)
class Band:
    """Upper and lower side of a row; the frames that begin and end there lie within `outer`."""

    top: float
    bottom: float
    outer_top: float
    outer_bottom: float


def row_bands(grid: Grid) -> list[Band]:
    """Return the place of each row. Wide fans get more height: no flat lines."""
    room = grid.measures.room
    bands: list[Band] = []
    lanes = _lanes_by_last_row(grid)
    groups = _groups_by_last_row(grid)
    outer_top = 0.0
    for index, row in enumerate(grid.rows):
        height = max((cell.height for cell in row), default=0.0)
        top = outer_top + room.head * _nesting(grid, index, first=True)
        for lane in lanes.get(index, ()):
            top = max(top, _top_below_label(grid, lane, bands) - height / 2)
        bottom = top + height
        outer_bottom = bottom + room.foot * _nesting(grid, index, first=False)
        for group in groups.get(index, ()):
            first = grid.spans[group][0]
            begin = bands[first].top if first < index else top
            outer_bottom = max(outer_bottom, begin + grid.measures.titles[group][1])
        bands.append(Band(top, bottom, outer_top, outer_bottom))
        between_labels = index in grid.label_rows or index + 1 in grid.label_rows
        slope = max((abs(cell.x - lower.x) for cell in row for lower in cell.downs), default=0.0)
        gap = _LABEL_GAP if between_labels else room.row_gap
        outer_top = outer_bottom + gap + min(40.0, max(0.0, slope - 120) * 0.09)
    return bands


def _lanes_by_last_row(grid: Grid) -> dict[int, list[str]]:
    """Return the ways back with words that pass several rows, by the row that they come from."""
    lanes: dict[int, list[str]] = {}
    for line, lane in grid.lanes.items():
        if len(lane) > 1 and grid.measures.labels[line][0]:
            lanes.setdefault(lane[-1].row, []).append(line)
    return lanes


def _groups_by_last_row(grid: Grid) -> dict[int, list[str]]:
    groups: dict[int, list[str]] = {}
    for group, (_, last) in grid.spans.items():
        groups.setdefault(last, []).append(group)
    return groups


def _top_below_label(grid: Grid, line: str, bands: Sequence[Band]) -> float:
    """Return how far down the middle of a way back's source must be for its label to fit."""
    first, source = grid.lanes[line][0], grid.lanes[line][-1].anchor
    above = bands[first.row]
    assert source is not None, "a way back ends at a box"
    middle, half = (above.top + above.bottom) / 2, (above.bottom - above.top) / 2
    return middle + grid.measures.labels[line][1] - 2 * min(half, source.height / 2)


def _nesting(grid: Grid, row: int, *, first: bool) -> int:
    """Return the largest number of groups around one cell that begin (or end) at a row."""
    which = 0 if first else 1
    return max(
        (sum(grid.spans[group][which] == row for group in cell.groups) for cell in grid.rows[row]),
        default=0,
    )


def route_lines(
    picture: Picture, grid: Grid, bands: Sequence[Band], rects: Mapping[str, Rect]
) -> dict[str, Curve]:
    """Return the curve of every line. Boxes and rows must have their places."""
    boxes = {box.id: box for box in picture.boxes}
    outs, ins = _ports(grid, boxes)
    leaving = Counter(id(lane[-1].anchor) for lane in grid.lanes.values())
    curves: dict[str, Curve] = {}
    for line in picture.lines:
        if line.id in grid.chains:
            chain = grid.chains[line.id]
            start = _edge_point(boxes[line.source], rects[line.source], outs[line.id], lower=True)
            end = _edge_point(boxes[line.target], rects[line.target], ins[line.id], lower=False)
            size = grid.measures.labels[line.id]
            curves[line.id] = _route_down(chain, start, end, bands, size)
        else:
            lane = grid.lanes[line.id]
            ends = (
                (boxes[line.source], rects[line.source]),
                (boxes[line.target], rects[line.target]),
            )
            # Whether another way back leaves the box that this one enters, in the same point.
            others = leaving[id(lane[0].anchor)] - (line.source == line.target)
            size = grid.measures.labels[line.id]
            curves[line.id] = draw_way_back(*ends, lane[0].x, size, lower=others > 0)
    return curves


def entry_distances(
    picture: Picture, grid: Grid, groups: Iterable[str]
) -> dict[Cell, dict[str, float]]:
    """Return how far right of a group's left side its first line in must be, to pass its title."""
    kinds = {box.id: box.kind for box in picture.boxes}
    distances: dict[Cell, dict[str, float]] = {}
    for group in groups:
        entered = [
            cell
            for cell in grid.rows[grid.spans[group][0]]
            if group in cell.groups and any(group not in upper.groups for upper in cell.ups)
        ]
        if entered:
            first = entered[0]
            reach = 0.0
            if first.role == "box":
                reach = first.left * _PORT_SHARE.get(kinds[first.owner], _PORT_SHARE_OF_CARDS)
            title = grid.measures.titles[group][0]
            distances.setdefault(first, {})[group] = title + reach
    return distances


def _ports(grid: Grid, boxes: Mapping[str, Box]) -> tuple[dict[str, float], dict[str, float]]:
    """Return the x at which each line leaves its source, and at which it enters its target.

    Lines of one box stand side by side, in the order of where they go.
    """
    leaving: dict[Cell, dict[tuple[float, str], list[str]]] = {}
    entering: dict[Cell, dict[tuple[float, str], list[str]]] = {}
    for line, chain in grid.chains.items():
        for ends, end, beside in ((leaving, chain[0], chain[1]), (entering, chain[-1], chain[-2])):
            # Lines through one gutter meet the box in one point.
            which = beside.owner if beside.role == "gutter" else line
            ends.setdefault(end, {}).setdefault((beside.x, which), []).append(line)
    outs: dict[str, float] = {}
    ins: dict[str, float] = {}
    for cell, ends in leaving.items():
        outs.update(_spread(cell, boxes[cell.owner], ends))
    for cell, ends in entering.items():
        ins.update(_spread(cell, boxes[cell.owner], ends))
    return outs, ins


def _spread(
    cell: Cell, box: Box, lines: Mapping[tuple[float, str], Sequence[str]]
) -> list[tuple[str, float]]:
    """Return an x on a box for each line: near where it goes, but apart from its neighbours.

    Keys of `lines` begin with the x where they go.
    """
    ends = sorted(lines)
    room = cell.left * _PORT_SHARE.get(box.kind, _PORT_SHARE_OF_CARDS)
    gap = min(_PORT_GAP, 2 * room / max(1, len(ends) - 1))
    wanted = [min(max((cell.x + x) / 2, cell.x - room), cell.x + room) for x, _ in ends]
    # Push right where two are too close, then left again as far as they exceed the room.
    for index in range(1, len(wanted)):
        wanted[index] = max(wanted[index], wanted[index - 1] + gap)
    over = max(0.0, wanted[-1] - (cell.x + room))
    placed: list[tuple[str, float]] = []
    ceiling = wanted[-1] - over + gap
    for x, end in zip(reversed(wanted), reversed(ends), strict=True):
        ceiling = min(x, ceiling - gap)
        placed += [(line, ceiling) for line in lines[end]]
    return placed


def _edge_point(box: Box, rect: Rect, x: float, *, lower: bool) -> Point:
    """Return the point of a box's outline at an x, on its lower or upper side."""
    center_x, center_y = rect.center
    rise = _reach(box, abs(x - center_x), rect.width / 2, rect.height / 2)
    return x, center_y + (rise if lower else -rise)


def _reach(box: Box, at: float, half: float, other_half: float) -> float:
    """Return how far a box's outline is from its middle line, at a distance along that line.

    `half` is half of the box's length along the line, and `other_half` half of its other length.
    """
    if box.kind in DIAMOND_KINDS:
        return other_half * (1 - min(1.0, at / half))
    if box.kind in ("start", "end"):
        radius = min(half, other_half)
        round_at = min(radius, max(0.0, at - (half - radius)))
        return other_half - radius + math.sqrt(radius**2 - round_at**2)
    return other_half


def _route_down(
    chain: Sequence[Cell], start: Point, tip: Point, bands: Sequence[Band], label_size: Size
) -> Curve:
    """Draw a line through the cells of its chain: straight within rows, an S from row to row.

    A line is straight beside smaller boxes of a row too, and where frames begin and end: an S would
    lead through larger boxes, and through the titles of frames.
    """
    source, *passes, target = chain
    points: list[Point] = [start]
    label: Rect | None = None
    _straight_to(points, (start[0], bands[source.row].outer_bottom))
    for cell in passes:
        band = bands[cell.row]
        _curve_to(points, (cell.x, band.outer_top))
        _straight_to(points, (cell.x, band.outer_bottom))
        if cell.role == "label":
            across, along = label_size
            middle = (band.top + band.bottom) / 2
            label = Rect(cell.x - across / 2, middle - along / 2, across, along)
    end = tip[0], tip[1] - ARROW
    _curve_to(points, (tip[0], min(end[1], bands[target.row].outer_top)))
    _straight_to(points, end)
    return Curve(tuple(points), tip, label)


def _curve_to(points: list[Point], to: Point) -> None:
    x, y = points[-1]
    if abs(x - to[0]) < 0.75:
        _straight_to(points, to)
        return
    middle = (y + to[1]) / 2
    points += [(x, middle), (to[0], middle), to]


def _straight_to(points: list[Point], to: Point) -> None:
    x, y = points[-1]
    if abs(x - to[0]) + abs(y - to[1]) < 0.01:
        return
    points += [
        (x + (to[0] - x) / 3, y + (to[1] - y) / 3),
        (x + (to[0] - x) * 2 / 3, y + (to[1] - y) * 2 / 3),
        to,
    ]


def draw_way_back(
    source: tuple[Box, Rect], header: tuple[Box, Rect], x: float, label_size: Size, *, lower: bool
) -> Curve:
    """Draw a line from the right of its source up a lane at `x` and into the right of its header.

    Its label stands right of the lane. With `lower` it enters a little below the middle, where
    another way back leaves the box.
    """
    from_y, to_y = source[1].center[1], header[1].center[1]
    if source[0] is header[0]:
        from_y, to_y = from_y + source[1].height / 4, to_y - source[1].height / 4
    elif lower and header[0].kind not in DIAMOND_KINDS:
        to_y += 5
    start = (_right_at(*source, from_y), from_y)
    tip = (_right_at(*header, to_y), to_y)
    turn = min(26.0, (from_y - to_y) / 2)
    points: list[Point] = [
        start,
        (start[0] + (x - start[0]) * 0.6, from_y),
        (x, from_y),
        (x, from_y - turn),
    ]
    if from_y - to_y > 2 * turn:
        _straight_to(points, (x, to_y + turn))
    foot = (tip[0] + ARROW, to_y)
    points += [(x, to_y), (foot[0] + (x - foot[0]) * 0.6, to_y), foot]
    label = None
    across, along = label_size
    if across:
        label = Rect(x + 2, (from_y + to_y) / 2 - along / 2, across, along)
    return Curve(tuple(points), tip, label)


def _right_at(box: Box, rect: Rect, y: float) -> float:
    """Return the x of a box's outline on its right side at a y."""
    center_x, center_y = rect.center
    return center_x + _reach(box, abs(y - center_y), rect.height / 2, rect.width / 2)

"""Step 6 of the builtin layout, edge routing: a y for every row, and lines as smooth curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from graphorch.render.layout.layering import Cell, Grid
from graphorch.render.picture.model import Box, Line, Picture
from graphorch.render.picture.placement import Curve, Point, Rect
from graphorch.render.picture.sizes import LABEL_HEIGHT, label_size

ARROW = 7.0  # length of an arrow head
GROUP_HEAD = 30.0  # from the upper side of a group to its first box: its title fits in between
GROUP_FOOT = 14.0
_BOX_GAP = 38.0  # between rows of boxes
_LABEL_GAP = 17.0  # above and below a row of labels
_PORT_GAP = 9.0
# How far from its middle lines may meet a box, as a share of half its width.
_PORT_SHARE = {"decision": 0.5, "start": 0.4, "end": 0.4, "join": 0.8}


def row_bounds(grid: Grid) -> list[tuple[float, float]]:
    """Return the upper and lower side of each row. Wide fans get more height: no flat lines."""
    bounds: list[tuple[float, float]] = []
    y = GROUP_HEAD * _nesting(grid, 0, first=True)
    for index, row in enumerate(grid.rows):
        height = max((cell.height for cell in row), default=0.0)
        bounds.append((y, y + height))
        if index + 1 == len(grid.rows):
            break
        between_labels = index in grid.label_rows or index + 1 in grid.label_rows
        slope = max((abs(cell.x - lower.x) for cell in row for lower in cell.downs), default=0.0)
        gap = _LABEL_GAP if between_labels else _BOX_GAP
        air = gap + min(40.0, max(0.0, slope - 120) * 0.09)
        y += (
            height
            + air
            + GROUP_FOOT * _nesting(grid, index, first=False)
            + GROUP_HEAD * _nesting(grid, index + 1, first=True)
        )
    return bounds


def _nesting(grid: Grid, row: int, *, first: bool) -> int:
    """Return the largest number of groups around one cell that begin (or end) at a row."""
    if not grid.rows:
        return 0
    which = 0 if first else 1
    return max(
        (sum(grid.spans[group][which] == row for group in cell.groups) for cell in grid.rows[row]),
        default=0,
    )


def route_lines(picture: Picture, grid: Grid, rects: Mapping[str, Rect]) -> dict[str, Curve]:
    """Return the curve of every line. Boxes and rows must have their places."""
    bounds = row_bounds(grid)
    boxes = {box.id: box for box in picture.boxes}
    outs, ins = _ports(grid, boxes)
    curves: dict[str, Curve] = {}
    for line in picture.lines:
        if line.id in grid.chains:
            chain = grid.chains[line.id]
            start = _edge_point(boxes[line.source], rects[line.source], outs[line.id], lower=True)
            end = _edge_point(boxes[line.target], rects[line.target], ins[line.id], lower=False)
            curves[line.id] = _route_down(line, start, end, chain[1:-1], bounds)
        else:
            curves[line.id] = _route_back(line, rects[line.source], rects[line.target], grid, boxes)
    return curves


def _ports(grid: Grid, boxes: Mapping[str, Box]) -> tuple[dict[str, float], dict[str, float]]:
    """Return the x at which each line leaves its source, and at which it enters its target.

    Lines of one box stand side by side, in the order of where they go.
    """
    leaving: dict[Cell, list[tuple[float, str]]] = {}
    entering: dict[Cell, list[tuple[float, str]]] = {}
    for line, chain in grid.chains.items():
        leaving.setdefault(chain[0], []).append((chain[1].x, line))
        entering.setdefault(chain[-1], []).append((chain[-2].x, line))
    outs: dict[str, float] = {}
    ins: dict[str, float] = {}
    for cell, ends in leaving.items():
        outs.update(_spread(cell, boxes[cell.owner], ends))
    for cell, ends in entering.items():
        ins.update(_spread(cell, boxes[cell.owner], ends))
    return outs, ins


def _spread(cell: Cell, box: Box, ends: list[tuple[float, str]]) -> list[tuple[str, float]]:
    """Return an x on a box for each line: near where it goes, but apart from its neighbours."""
    ends.sort()
    room = cell.left * _PORT_SHARE.get(box.kind, 0.5)
    gap = min(_PORT_GAP, 2 * room / max(1, len(ends) - 1))
    wanted = [min(max((cell.x + x) / 2, cell.x - room), cell.x + room) for x, _ in ends]
    # Push right where two are too close, then left again as far as they exceed the room.
    for index in range(1, len(wanted)):
        wanted[index] = max(wanted[index], wanted[index - 1] + gap)
    over = max(0.0, wanted[-1] - (cell.x + room))
    placed: list[tuple[str, float]] = []
    ceiling = wanted[-1] - over + gap
    for x, (_, line) in zip(reversed(wanted), reversed(ends), strict=True):
        ceiling = min(x, ceiling - gap)
        placed.append((line, ceiling))
    return placed


def _edge_point(box: Box, rect: Rect, x: float, *, lower: bool) -> Point:
    """Return the point of a box's outline at an x, on its lower or upper side."""
    center_x, center_y = rect.center
    share = min(1.0, abs(x - center_x) / (rect.width / 2))
    if box.kind == "decision":
        rise = rect.height / 2 * (1 - share)
    elif box.kind in ("start", "end"):
        radius, flat = rect.height / 2, rect.width / 2 - rect.height / 2
        rise = math.sqrt(radius**2 - max(0.0, abs(x - center_x) - flat) ** 2)
    else:
        rise = rect.height / 2
    return x, center_y + (rise if lower else -rise)


def _route_down(
    line: Line,
    start: Point,
    tip: Point,
    passes: Sequence[Cell],
    bounds: Sequence[tuple[float, float]],
) -> Curve:
    """Draw a line through its passes: straight within rows, an S from row to row."""
    end = (tip[0], tip[1] - ARROW)
    points: list[Point] = [start]
    label: Rect | None = None
    for cell in passes:
        top, bottom = bounds[cell.row]
        _curve_to(points, (cell.x, top))
        if bottom > top:
            _straight_to(points, (cell.x, bottom))
        if cell.role == "label":
            width, height = label_size(line)
            label = Rect(cell.x - width / 2, (top + bottom) / 2 - height / 2, width, height)
    _curve_to(points, end)
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
    points += [
        (x + (to[0] - x) / 3, y + (to[1] - y) / 3),
        (x + (to[0] - x) * 2 / 3, y + (to[1] - y) * 2 / 3),
        to,
    ]


def _route_back(
    line: Line, source: Rect, header: Rect, grid: Grid, boxes: Mapping[str, Box]
) -> Curve:
    lane = grid.lanes[line.id]
    return draw_way_back(
        line,
        (boxes[line.source], source),
        (boxes[line.target], header),
        lane[0].x,
        lower=_has_lane_below(line, grid),
    )


def draw_way_back(
    line: Line, source: tuple[Box, Rect], header: tuple[Box, Rect], x: float, *, lower: bool
) -> Curve:
    """Draw a line from the right of its source up a lane at `x` and into the right of its header.

    With `lower` it enters a little below the middle, where another way back leaves the box.
    """
    from_y, to_y = source[1].center[1], header[1].center[1]
    if line.source == line.target:
        from_y, to_y = from_y + source[1].height / 4, to_y - source[1].height / 4
    elif lower and header[0].kind != "decision":
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
    width, _ = label_size(line)
    label = None
    if width:
        label = Rect(x + 2, (from_y + to_y) / 2 - LABEL_HEIGHT / 2, width, LABEL_HEIGHT)
    return Curve(tuple(points), tip, label)


def _has_lane_below(line: Line, grid: Grid) -> bool:
    """Return whether another way back leaves the box that this one enters, in the same point."""
    header = grid.lanes[line.id][0].anchor
    return any(lane[-1].anchor is header and id_ != line.id for id_, lane in grid.lanes.items())


def _right_at(box: Box, rect: Rect, y: float) -> float:
    """Return the x of a box's outline on its right side at a y."""
    share = min(1.0, abs(y - rect.center[1]) / (rect.height / 2))
    if box.kind == "decision":
        return rect.center[0] + rect.width / 2 * (1 - share)
    if box.kind in ("start", "end"):
        return rect.right - rect.height / 2 * (1 - math.sqrt(1 - share**2))
    return rect.right

"""Steps 1 to 3 of the builtin layout: take out the cycles, assign rows, fill the rows with cells.

The layout follows K. Sugiyama, S. Tagawa and M. Toda, "Methods for visual understanding of
hierarchical system structures" (1981):

1. Cycle removal: lines that lead back are set apart (`back_lines`); the others form a graph without
   cycles.
2. Layer assignment: boxes get ranks so that lines point down (`rank`). Below a rank whose lines
   carry labels follows a row for the labels, so that a label never meets a box.
3. Dummy vertices: everything that needs room of its own becomes a *cell* in a row: a box, a label,
   the pass of a long line through a row, a *lane* (the way back of a loop, at the right of its
   boxes), and a hold that keeps a group together in a row where it has nothing else.
4. Crossing reduction orders the cells in each row (`ordering.py`).
5. Coordinate assignment gives them an x (`coordinates.py`).
6. Edge routing gives rows their y and lines their curves (`edge_routing.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from graphorch.render.picture.model import Box, Line, Picture, group_chains
from graphorch.render.picture.sizes import LABEL_HEIGHT, label_size

Size = tuple[float, float]
Role = Literal["box", "pass", "label", "lane", "hold"]

_LANE_LEFT = 14.0  # from a box to the way back beside it
_LANE_RIGHT = 6.0
_PASS_SIDE = 5.0


@dataclass(slots=True, eq=False)
class Cell:
    """Room in a row. `left` and `right` are its extents from its x.

    `groups` lie around it, outermost first. The end of a lane has an `anchor`: it stands directly
    right of that cell. Mutable: step 4 sets `place`, step 5 sets `x`.
    """

    role: Role
    owner: str  # the id of its box, line or group
    row: int
    left: float
    right: float
    height: float
    groups: tuple[str, ...]
    anchor: Cell | None = None
    ups: list[Cell] = field(default_factory=list["Cell"])
    downs: list[Cell] = field(default_factory=list["Cell"])
    place: int = 0
    x: float = 0.0


@dataclass(slots=True)
class Grid:
    """Cells of a picture by row.

    `chains` holds the cells of each line that points down, from source to target; `lanes` those of
    each line that leads back, from header to source.
    """

    rows: list[list[Cell]]
    boxes: dict[str, Cell]
    chains: dict[str, list[Cell]]
    lanes: dict[str, list[Cell]]
    spans: dict[str, tuple[int, int]]  # of groups: first and last row
    label_rows: frozenset[int]


def build_grid(picture: Picture, sizes: Mapping[str, Size]) -> Grid:
    """Return the cells of a picture, in a first order that follows its lines.

    `sizes` are the widths and heights of the boxes.
    """
    # Steps 1 and 2: cycle removal and layer assignment.
    back = back_lines(picture)
    forward = [line for line in picture.lines if line.id not in back]
    ranks = rank(picture.boxes, forward)
    row_of, label_row_of = _assign_rows(ranks, forward)
    around = group_chains(picture)
    grid = Grid(
        [[] for _ in range(1 + max(row_of.values(), default=-1))],
        {},
        {},
        {},
        {},
        frozenset(label_row_of.values()),
    )
    for box in _depth_first(picture, forward):
        width, height = sizes[box.id]
        cell = Cell(
            "box", box.id, row_of[ranks[box.id]], width / 2, width / 2, height, around[box.group]
        )
        grid.boxes[box.id] = cell
        grid.rows[cell.row].append(cell)
    grid.spans = _find_spans(grid.boxes.values())
    # Step 3: dummy vertices for long lines, labels, ways back and groups.
    for line in forward:
        _add_chain(grid, line, label_row_of.get(ranks[line.source]))
    # Short ways back first, so that they run nearest to their boxes.
    backward = [line for line in picture.lines if line.id in back]
    for line in sorted(backward, key=lambda line: _count_rows(grid, line)):
        _add_lane(grid, line)
    _add_holds(grid)
    return grid


def back_lines(picture: Picture) -> frozenset[str]:
    """Return the ids of lines that lead back: they close a cycle in a depth-first walk.

    For loops with one entry these are exactly the loop lines, in whatever order the walk goes.
    """
    out: dict[str, list[Line]] = {box.id: [] for box in picture.boxes}
    entered = {line.target for line in picture.lines}
    for line in picture.lines:
        out[line.source].append(line)
    first = sorted(picture.boxes, key=lambda box: (box.kind != "start", box.id in entered))
    back: set[str] = set()
    open_: set[str] = set()  # boxes on the path from the root to where the walk is
    seen: set[str] = set()
    for root in first:
        if root.id in seen:
            continue
        stack = [(root.id, iter(out[root.id]))]
        seen.add(root.id)
        open_.add(root.id)
        while stack:
            at, lines = stack[-1]
            following = next(lines, None)
            if following is None:
                open_.discard(at)
                stack.pop()
            elif following.target in open_:
                back.add(following.id)
            elif following.target not in seen:
                seen.add(following.target)
                open_.add(following.target)
                stack.append((following.target, iter(out[following.target])))
    return frozenset(back)


def rank(boxes: Sequence[Box], forward: Sequence[Line]) -> dict[str, int]:
    """Return a rank for each box, 0 at the top, so that every line points down. O(boxes + lines).

    `forward` must not contain a cycle.
    """
    # Kahn's algorithm: boxes in topological order.
    into: dict[str, list[str]] = {box.id: [] for box in boxes}
    out: dict[str, list[str]] = {box.id: [] for box in boxes}
    for line in forward:
        out[line.source].append(line.target)
        into[line.target].append(line.source)
    waiting = {id_: len(sources) for id_, sources in into.items()}
    order = [box.id for box in boxes if not waiting[box.id]]
    for id_ in order:  # grows while it is walked
        for target in out[id_]:
            waiting[target] -= 1
            if not waiting[target]:
                order.append(target)
    # Longest path from a source: the fewest rows.
    ranks: dict[str, int] = {}
    for id_ in order:
        ranks[id_] = 1 + max((ranks[source] for source in into[id_]), default=-1)
    # A box with more lines out than in moves down towards its nearest target: shorter lines.
    for id_ in reversed(order):
        if len(out[id_]) > len(into[id_]) and (not into[id_] or len(out[id_]) > 1):
            ranks[id_] = max(ranks[id_], min(ranks[target] for target in out[id_]) - 1)
    return ranks


def _assign_rows(
    ranks: Mapping[str, int], forward: Iterable[Line]
) -> tuple[dict[int, int], dict[int, int]]:
    """Return the row of each rank, and of the labels below each rank that has some."""
    labelled = {ranks[line.source] for line in forward if line.label.strip()}
    rows: dict[int, int] = {}
    label_rows: dict[int, int] = {}
    at = 0
    for value in range(1 + max(ranks.values(), default=-1)):
        rows[value] = at
        at += 1
        if value in labelled:
            label_rows[value] = at
            at += 1
    return rows, label_rows


def _depth_first(picture: Picture, forward: Sequence[Line]) -> list[Box]:
    """Return the boxes in depth-first order: related boxes start out side by side."""
    by_id = {box.id: box for box in picture.boxes}
    out: dict[str, list[str]] = {box.id: [] for box in picture.boxes}
    entered: set[str] = set()
    for line in forward:
        out[line.source].append(line.target)
        entered.add(line.target)
    stack = [box.id for box in reversed(picture.boxes) if box.id not in entered]
    walked: dict[str, Box] = {}
    while stack:
        id_ = stack.pop()
        if id_ not in walked:
            walked[id_] = by_id[id_]
            stack.extend(reversed(out[id_]))
    return list(walked.values())


def _find_spans(cells: Iterable[Cell]) -> dict[str, tuple[int, int]]:
    """Return the first and last row of each group."""
    spans: dict[str, tuple[int, int]] = {}
    for cell in cells:
        for group in cell.groups:
            first, last = spans.get(group, (cell.row, cell.row))
            spans[group] = min(first, cell.row), max(last, cell.row)
    return spans


def _add_chain(grid: Grid, line: Line, label_row: int | None) -> None:
    """Add a cell for a line in every row that it passes, and link them from source to target."""
    source, target = grid.boxes[line.source], grid.boxes[line.target]
    width, _ = label_size(line)
    chain = [source]
    for row in range(source.row + 1, target.row):
        groups = _groups_of_pass(source, target, row, grid.spans)
        if width and row == label_row:
            cell = Cell("label", line.id, row, width / 2, width / 2, LABEL_HEIGHT, groups)
        else:
            cell = Cell("pass", line.id, row, _PASS_SIDE, _PASS_SIDE, 0.0, groups)
        grid.rows[row].append(cell)
        chain.append(cell)
    chain.append(target)
    grid.chains[line.id] = chain
    for upper, lower in pairwise(chain):
        upper.downs.append(lower)
        lower.ups.append(upper)


def _groups_of_pass(
    source: Cell, target: Cell, row: int, spans: Mapping[str, tuple[int, int]]
) -> tuple[str, ...]:
    """Return the groups around a line in a row.

    A line leaves a group through its bottom, and enters one through its top.
    """
    common = _count_common(source.groups, target.groups)
    left = [group for group in source.groups[common:] if row <= spans[group][1]]
    if left:
        return source.groups[: common + len(left)]
    entered = [group for group in target.groups[common:] if row >= spans[group][0]]
    return target.groups[: common + len(entered)]


def _count_rows(grid: Grid, line: Line) -> int:
    """Return over how many rows a line leads."""
    return abs(grid.boxes[line.source].row - grid.boxes[line.target].row)


def _add_lane(grid: Grid, line: Line) -> None:
    """Add room for a way back at the right of its boxes, from the header's row to the source's."""
    source, header = grid.boxes[line.source], grid.boxes[line.target]
    groups = source.groups[: _count_common(source.groups, header.groups)]
    width, _ = label_size(line)
    lane: list[Cell] = []
    for row in range(header.row, source.row + 1):
        right = _LANE_RIGHT
        # The label stands in the middle of the lane.
        if width and row == (header.row + source.row + 1) // 2:
            right = width + 4
        cell = Cell("lane", line.id, row, _LANE_LEFT, right, 0.0, groups)
        grid.rows[row].append(cell)
        if lane:
            lane[-1].downs.append(cell)
            cell.ups.append(lane[-1])
        lane.append(cell)
    lane[-1].anchor = source
    lane[0].anchor = header
    grid.lanes[line.id] = lane


def _add_holds(grid: Grid) -> None:
    """Add an empty cell for every group in each row of its span that has nothing else of it."""
    present = {(group, cell.row) for row in grid.rows for cell in row for group in cell.groups}
    around = {
        group: cell.groups[: cell.groups.index(group) + 1]
        for cell in grid.boxes.values()
        for group in cell.groups
    }
    for group, (first, last) in grid.spans.items():
        for row in range(first, last + 1):
            if (group, row) not in present:
                grid.rows[row].append(Cell("hold", group, row, 0.0, 0.0, 0.0, around[group]))
                present.update((outer, row) for outer in around[group])


def _count_common(sequence: Sequence[str], other: Sequence[str]) -> int:
    """Count the groups around both, from the outermost inwards."""
    count = 0
    for mine, theirs in zip(sequence, other, strict=False):
        if mine != theirs:
            break
        count += 1
    return count

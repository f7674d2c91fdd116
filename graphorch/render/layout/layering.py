"""Steps 1 to 3 of the builtin layout: take out the cycles, assign rows, fill the rows with cells.

The layout follows K. Sugiyama, S. Tagawa and M. Toda, "Methods for visual understanding of
hierarchical system structures" (1981):

1. Cycle removal: lines that lead back are set apart (`back_lines`); the others form a graph without
   cycles.
2. Layer assignment: boxes get ranks so that lines point down (`rank`). Below a rank whose lines
   carry labels follows a row for the labels, so that a label never meets a box. Branches that are
   too wide for one row go into several (`fans.py`).
3. Dummy vertices: everything that needs room of its own becomes a *cell* in a row: a box, a label,
   the pass of a long line through a row, a *gutter* (the pass of several lines), a *lane* (the way
   back of a loop, at the right of its boxes), and a hold that keeps a group together in a row where
   it has nothing else.
4. Crossing reduction orders the cells in each row (`ordering.py`).
5. Coordinate assignment gives them an x (`coordinates.py`).
6. Edge routing gives rows their y and lines their curves (`edge_routing.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from graphorch.render.layout.fans import Fan, find_fans
from graphorch.render.layout.measures import Measures
from graphorch.render.picture.model import Box, Line, Picture, group_chains

Role = Literal["box", "pass", "gutter", "label", "lane", "hold"]

_LANE_LEFT = 14.0  # from a box to the way back beside it
_LANE_RIGHT = 6.0
_PASS_SIDE = 5.0

_Shared = tuple[tuple[int, int, int], str, int, tuple[str, ...]]
"""What cells are shared by: column of a fan, the end that lines have in common, row, and groups."""


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
    """Cells of a picture by row, and the measures that they were made with.

    `chains` holds the cells of each line that points down, from source to target; `lanes` those of
    each line that leads back, from header to source. `stacks` are pairs of boxes in neighbouring
    rows of which the second should stand exactly below the first.
    """

    rows: list[list[Cell]]
    boxes: dict[str, Cell]
    chains: dict[str, list[Cell]]
    lanes: dict[str, list[Cell]]
    spans: dict[str, tuple[int, int]]  # of groups: first and last row
    label_rows: frozenset[int]
    measures: Measures
    stacks: list[tuple[Cell, Cell]] = field(default_factory=list[tuple["Cell", "Cell"]])


def build_grid(picture: Picture, measures: Measures) -> Grid:
    """Return the cells of a picture, in a first order that follows its lines."""
    # Steps 1 and 2: cycle removal and layer assignment.
    back = back_lines(picture)
    forward = [line for line in picture.lines if line.id not in back]
    ranks = rank(picture.boxes, forward)
    fans = find_fans(picture, forward, ranks, measures)
    if fans:
        ranks = rank(picture.boxes, [*forward, *_list_orders(fans)])
    label_ranks = _rank_labels(forward, ranks, fans)
    row_of, label_row_of = _assign_rows(ranks, label_ranks.values())
    around = group_chains(picture)
    grid = Grid(
        [[] for _ in range(1 + max(row_of.values(), default=-1))],
        {},
        {},
        {},
        {},
        frozenset(label_row_of.values()),
        measures,
    )
    for box in _depth_first(picture, forward):
        width, height = measures.boxes[box.id]
        cell = Cell(
            "box", box.id, row_of[ranks[box.id]], width / 2, width / 2, height, around[box.group]
        )
        grid.boxes[box.id] = cell
        grid.rows[cell.row].append(cell)
    grid.spans = _find_spans(grid.boxes.values())
    # Step 3: dummy vertices for long lines, labels, ways back and groups.
    shared: dict[_Shared, Cell] = {}
    columns = {
        id_: (number, *at) for number, fan in enumerate(fans) for id_, at in fan.lines.items()
    }
    for line in forward:
        label_row = label_row_of.get(label_ranks[line.id]) if line.id in label_ranks else None
        _add_chain(grid, line, label_row, columns.get(line.id), shared)
    for fan in fans:
        _sort_columns(grid, fan)
        pairs = [(grid.boxes[upper], grid.boxes[lower]) for upper, lower in fan.after]
        grid.stacks += [(item, other) for item, other in pairs if item.row + 1 == other.row]
    # Short ways back first, so that they run nearest to their boxes.
    backward = [line for line in picture.lines if line.id in back]
    for line in sorted(backward, key=lambda line: _count_rows(grid, line)):
        _add_lane(grid, line)
    _add_holds(grid)
    return grid


def has_wide_fans(picture: Picture, measures: Measures) -> bool:
    """Return whether branches of a picture are too wide for one row."""
    back = back_lines(picture)
    forward = [line for line in picture.lines if line.id not in back]
    return bool(find_fans(picture, forward, rank(picture.boxes, forward), measures))


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


def _list_orders(fans: Iterable[Fan]) -> list[Line]:
    """Return a line for each pair of boxes of which the second must stand below the first."""
    return [
        Line(f"{upper}//{lower}", upper, lower, "always")
        for fan in fans
        for upper, lower in fan.after
    ]


def _rank_labels(
    forward: Iterable[Line], ranks: Mapping[str, int], fans: Iterable[Fan]
) -> dict[str, int]:
    """Return the rank that each label stands below: its source, or the band above its target."""
    late = {id_ for fan in fans for id_, (_, side) in fan.lines.items() if side == 0}
    return {
        line.id: ranks[line.target] - 1 if line.id in late else ranks[line.source]
        for line in forward
        if line.label.strip()
    }


def _assign_rows(
    ranks: Mapping[str, int], label_ranks: Iterable[int]
) -> tuple[dict[int, int], dict[int, int]]:
    """Return the row of each rank, and of the labels below each rank that has some."""
    labelled = frozenset(label_ranks)
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


def _add_chain(
    grid: Grid,
    line: Line,
    label_row: int | None,
    column: tuple[int, int, int] | None,
    shared: dict[_Shared, Cell],
) -> None:
    """Add a cell for a line in every row that it passes, and link them from source to target.

    Lines at the same side of a fan's column share the cells that they pass.
    """
    source, target = grid.boxes[line.source], grid.boxes[line.target]
    across, along = grid.measures.labels[line.id]
    chain = [source]
    for row in range(source.row + 1, target.row):
        groups = _groups_of_pass(source, target, row, grid.spans)
        if across and row == label_row:
            cell = Cell("label", line.id, row, across / 2, across / 2, along, groups)
            grid.rows[row].append(cell)
        elif column is None or column[-1] == 1:
            cell = Cell("pass", line.id, row, _PASS_SIDE, _PASS_SIDE, 0.0, groups)
            grid.rows[row].append(cell)
        else:
            end = line.source if column[-1] == 0 else line.target
            key = column, end, row, groups
            if key not in shared:
                shared[key] = Cell("gutter", line.id, row, _PASS_SIDE, _PASS_SIDE, 0.0, groups)
                grid.rows[row].append(shared[key])
            cell = shared[key]
        chain.append(cell)
    chain.append(target)
    grid.chains[line.id] = chain
    for upper, lower in pairwise(chain):
        if upper.role != "gutter" or lower not in upper.downs:
            upper.downs.append(lower)
            lower.ups.append(upper)


def _sort_columns(grid: Grid, fan: Fan) -> None:
    """Sort the cells of a fan by column, in the places that they hold in their rows."""
    at = {grid.boxes[id_]: (column, 1) for id_, column in fan.boxes.items()}
    for id_, (column, side) in fan.lines.items():
        for cell in grid.chains[id_][1:-1]:
            at[cell] = column, 1 if cell.role == "label" else side
    for row in grid.rows:
        places = [place for place, cell in enumerate(row) if cell in at]
        cells = sorted((row[place] for place in places), key=at.__getitem__)
        for place, cell in zip(places, cells, strict=True):
            row[place] = cell


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
    across, along = grid.measures.labels[line.id]
    middle = (header.row + source.row + 1) // 2
    lane: list[Cell] = []
    for row in range(header.row, source.row + 1):
        right, height = _LANE_RIGHT, 0.0
        # The label stands in the middle of the lane. Where it lies along it, it may pass all rows.
        if across and (row == middle or grid.measures.direction == "LR"):
            right = across + 4
        if header is source:
            height = along
        cell = Cell("lane", line.id, row, _LANE_LEFT, right, height, groups)
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

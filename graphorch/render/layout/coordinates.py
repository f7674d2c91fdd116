"""Step 5 of the builtin layout, coordinate assignment: an x for every cell, sides of groups.

Cells that should stand exactly below one another (the passes of a long line, a chain of boxes)
share one *column* variable; a group has two variables. Every demand is of the form "b at least
`sep` right of a", and the demands form a directed graph without cycles. Wishes (to stand below the
mean of the neighbours) are met as far as the demands allow by two walks over that graph: one only
pushes right, the other only pushes left. Both obey all demands, hence so does their mean. Repeating
it settles quickly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import fsum

from graphorch.render.layout.layering import Cell, Grid
from graphorch.render.layout.measures import Room

_GAP = 14.0  # where a line, a label or a lane is one of the two
_GROUP_GAP = 20.0
_ROUNDS = 40
_NO_WISH = 9


@dataclass(slots=True)
class _Demands:
    """Demands between numbered variables; `before[b]` maps a to sep for each demand on b."""

    before: list[dict[int, float]] = field(default_factory=list[dict[int, float]])

    def add_variable(self) -> int:
        self.before.append({})
        return len(self.before) - 1

    def demand(self, left: int, right: int, sep: float) -> None:
        """Demand right - left ≥ sep; the strictest demand on a pair holds."""
        if self.before[right].get(left, -1.0) < sep:
            self.before[right][left] = sep

    def sort_variables(self) -> list[int] | None:
        """Return the variables from left to right, or None if the demands form a cycle."""
        after: list[list[int]] = [[] for _ in self.before]
        waiting = [len(lefts) for lefts in self.before]
        for right, lefts in enumerate(self.before):
            for left in lefts:
                after[left].append(right)
        sequence = [variable for variable, count in enumerate(waiting) if not count]
        for variable in sequence:  # grows while it is walked
            for right in after[variable]:
                waiting[right] -= 1
                if not waiting[right]:
                    sequence.append(right)
        if len(sequence) < len(self.before):
            return None
        return sequence


@dataclass(slots=True)
class _Model:
    """Variables of one grid: of cells, and of the left and right sides of groups."""

    demands: _Demands
    cells: dict[Cell, int]
    lefts: dict[str, int]
    rights: dict[str, int]
    sequence: list[int]


def place_columns(
    grid: Grid, entries: Mapping[Cell, Mapping[str, float]]
) -> dict[str, tuple[float, float]]:
    """Set the x of every cell; return the left and right side of every group.

    `entries` are the least distances from the left sides of groups to cells.
    """
    model = _build_model(grid, entries, straight=True)
    if model is None:
        # Columns and groups contradict each other. Without columns each cell lies in one row, and
        # groups are in one order, so the demands cannot form a cycle.
        model = _build_model(grid, entries, straight=False)
    if model is None:
        raise AssertionError("the order of cells contradicts itself")
    values = _settle(model, grid)
    for cell, variable in model.cells.items():
        cell.x = values[variable]
    return {
        group: (values[model.lefts[group]], values[model.rights[group]]) for group in grid.spans
    }


def _build_model(
    grid: Grid, entries: Mapping[Cell, Mapping[str, float]], *, straight: bool
) -> _Model | None:
    """Return the variables and demands of a grid, or None if the demands form a cycle."""
    demands = _Demands()
    cells: dict[Cell, int] = {}
    below: dict[Cell, Cell] = {}
    if straight:
        below = _straight_runs(grid)
    for row in grid.rows:
        for cell in row:
            if cell not in cells:
                cells[cell] = demands.add_variable()
            if cell in below:
                cells[below[cell]] = cells[cell]
    lefts = {group: demands.add_variable() for group in grid.spans}
    rights = {group: demands.add_variable() for group in grid.spans}
    for group in grid.spans:
        demands.demand(lefts[group], rights[group], grid.measures.titles[group][0])
    for cell, distances in entries.items():
        for group, distance in distances.items():
            demands.demand(lefts[group], cells[cell], distance)
    for row in grid.rows:
        _demand_row(row, grid.measures.room, demands, cells, lefts, rights)
    sequence = demands.sort_variables()
    if sequence is None:
        return None
    return _Model(demands, cells, lefts, rights, sequence)


def _demand_row(
    row: Sequence[Cell],
    room: Room,
    demands: _Demands,
    cells: dict[Cell, int],
    lefts: dict[str, int],
    rights: dict[str, int],
) -> None:
    """Add the demands between neighbours in a row, and on the sides of the groups between them."""
    for cell in row:
        for outer, inner in pairwise(cell.groups):
            demands.demand(lefts[outer], lefts[inner], room.before)
            demands.demand(rights[inner], rights[outer], room.after)
        if cell.groups:
            demands.demand(lefts[cell.groups[-1]], cells[cell], cell.left + room.before)
            demands.demand(cells[cell], rights[cell.groups[-1]], cell.right + room.after)
    for item, other in pairwise(row):
        common = sum(1 for _ in _shared(item.groups, other.groups))
        closes, opens = len(item.groups) > common, len(other.groups) > common
        left, reach = cells[item], item.right
        if closes:
            left, reach = rights[item.groups[common]], 0.0
        right, start = cells[other], other.left
        if opens:
            right, start = lefts[other.groups[common]], 0.0
        gap = _gap(item, other, room, grouped=closes or opens)
        demands.demand(left, right, reach + start + gap)


def _gap(cell: Cell, other: Cell, room: Room, *, grouped: bool) -> float:
    if other.anchor is not None:
        return 0.0  # the extents of a lane include its distance from its box
    if grouped and "box" in (cell.role, other.role):
        return _GROUP_GAP
    if grouped:
        return _GAP
    return room.box_gap if cell.role == other.role == "box" else _GAP


def _shared(sequence: Sequence[str], other: Sequence[str]) -> Iterable[str]:
    for mine, theirs in zip(sequence, other, strict=False):
        if mine != theirs:
            return
        yield mine


def _straight_runs(grid: Grid) -> dict[Cell, Cell]:
    """Return the cells that share a column with the one below, as upper -> lower.

    Such pairs must not cross each other, nor change sides with a group that lies in both rows: the
    demands would form a cycle. Ways back come first, then long lines, then columns of fans and
    chains of boxes.
    """
    below: dict[Cell, Cell] = {}
    stacks: dict[int, list[tuple[Cell, Cell]]] = {}
    for item, other in grid.stacks:
        stacks.setdefault(item.row, []).append((item, other))
    for upper, lower in pairwise(grid.rows):
        sides = _group_sides(upper), _group_sides(lower)
        pairs = [
            (cell, down)
            for cell in upper
            for down in cell.downs
            if _rank_wish(cell, down) < _NO_WISH
        ]
        pairs += stacks.get(upper[0].row, ()) if upper else ()
        taken: list[tuple[int, int]] = []
        for item, other in sorted(pairs, key=lambda pair: _rank_wish(*pair)):
            free = all((item.place - mine) * (other.place - theirs) > 0 for mine, theirs in taken)
            if free and _same_sides(item, other, *sides):
                below[item] = other
                taken.append((item.place, other.place))
    return below


def _rank_wish(cell: Cell, other: Cell) -> int:
    """Return the precedence of a pair for a column, the lowest first, or `_NO_WISH`."""
    if cell.role == "lane":
        return 0
    if cell.role != "box" and other.role != "box":
        return 1
    if "gutter" in (cell.role, other.role):
        return _NO_WISH  # a gutter runs beside the boxes of its column
    if len(cell.downs) == 1 and len(other.ups) == 1:
        return 2 if cell.role == other.role else 3
    return _NO_WISH


def _group_sides(row: Sequence[Cell]) -> dict[str, tuple[int, int]]:
    """Return the first and last place of each group in a row."""
    sides: dict[str, tuple[int, int]] = {}
    for cell in row:
        for group in cell.groups:
            sides[group] = sides.get(group, (cell.place, cell.place))[0], cell.place
    return sides


def _same_sides(
    cell: Cell, other: Cell, upper: dict[str, tuple[int, int]], lower: dict[str, tuple[int, int]]
) -> bool:
    return all(
        _side(cell.place, upper[group]) == _side(other.place, lower[group])
        for group in upper.keys() & lower.keys()
    )


def _side(place: int, span: tuple[int, int]) -> int:
    return (place > span[1]) - (place < span[0])


def _settle(model: _Model, grid: Grid) -> list[float]:
    """Return a value for each variable: wishes, then demands, over and over."""
    values = _push_right([0.0] * len(model.demands.before), model)
    wishes = _collect_wishes(model, grid)
    for _ in range(_ROUNDS):
        wanted = list(values)
        for variable, neighbours in wishes.items():
            total = fsum(weight for _, _, weight in neighbours)
            pull = fsum((values[other] + offset) * weight for other, offset, weight in neighbours)
            mean = pull / total
            # Half of the way: all of it, and two rows would change places for ever.
            wanted[variable] = (values[variable] + mean) / 2
        _wish_group_sides(model, grid.measures.room, wanted)
        right, left = _push_right(wanted, model), _push_left(wanted, model)
        values = [(number + other) / 2 for number, other in zip(right, left, strict=True)]
    return values


def _collect_wishes(model: _Model, grid: Grid) -> dict[int, list[tuple[int, float, float]]]:
    """Return for each variable what it wants to be near: (other variable, offset, weight)."""
    wishes: dict[int, list[tuple[int, float, float]]] = {}
    for row in grid.rows:
        for cell in row:
            mine = model.cells[cell]
            for lower in cell.downs:
                theirs = model.cells[lower]
                if mine != theirs:
                    weight = 1.0 if cell.role == lower.role == "box" else 2.0
                    wishes.setdefault(mine, []).append((theirs, 0.0, weight))
                    wishes.setdefault(theirs, []).append((mine, 0.0, weight))
            if cell.anchor is not None:
                wishes.setdefault(mine, []).append(
                    (model.cells[cell.anchor], cell.anchor.right + cell.left, 4.0)
                )
    return wishes


def _wish_group_sides(model: _Model, room: Room, wanted: list[float]) -> None:
    """Wish the sides of groups close to their content."""
    for group in model.lefts:
        wanted[model.lefts[group]], wanted[model.rights[group]] = float("inf"), float("-inf")
    for cell, variable in model.cells.items():
        for group in cell.groups:
            left, right = model.lefts[group], model.rights[group]
            wanted[left] = min(wanted[left], wanted[variable] - cell.left - room.before)
            wanted[right] = max(wanted[right], wanted[variable] + cell.right + room.after)


def _push_right(wanted: Sequence[float], model: _Model) -> list[float]:
    """Return the wanted values, moved right where a demand needs it."""
    values = list(wanted)
    for variable in model.sequence:
        for left, sep in model.demands.before[variable].items():
            if values[left] + sep > values[variable]:
                values[variable] = values[left] + sep
    return values


def _push_left(wanted: Sequence[float], model: _Model) -> list[float]:
    """Return the wanted values, moved left where a demand needs it."""
    values = list(wanted)
    for variable in reversed(model.sequence):
        reach = values[variable]
        for left, sep in model.demands.before[variable].items():
            if reach - sep < values[left]:
                values[left] = reach - sep
    return values

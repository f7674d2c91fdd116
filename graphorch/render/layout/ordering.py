"""Step 4 of the builtin layout, crossing reduction: the order of the cells in each row.

Sweeps down and up sort each row by the median of its cells' neighbours in the row before, then
neighbours that cross less the other way round are swapped; the best order seen wins (E. R. Gansner
et al., "A technique for drawing directed graphs", 1993). A median keeps the number of crossings
within three times the least possible for two rows, and is cheap.

Step 5 relies on these rules, so no order may break them:

Rule 1: the cells of a group stand together in every row.
Rule 2: two groups side by side keep one order in all rows.
Rule 3: the end of a lane stands directly right of its anchor.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum

from graphorch.render.layout.layering import Cell

_SWEEPS = 10
_GOOD_ENOUGH_SWEEPS = 4  # without a better order for so long, stop

Rows = list[list[Cell]]


def order_rows(rows: Rows) -> None:
    """Reorder the rows in place. About O(sweeps · lines · log lines)."""
    groups = _group_order(rows)
    for row in rows:
        # Only to make the rules hold: the first order stays where it may.
        _arrange_row(row, {cell: float(index) for index, cell in enumerate(row)}, groups)
    best, fewest, stale = [list(row) for row in rows], count_crossings(rows), 0
    for sweep in range(_SWEEPS):
        if not fewest or stale >= _GOOD_ENOUGH_SWEEPS:
            break
        _sweep(rows, down=sweep % 2 == 0)
        _swap_neighbours(rows)
        count = count_crossings(rows)
        stale += 1
        if count < fewest:
            best, fewest, stale = [list(row) for row in rows], count, 0
    for row, kept in zip(rows, best, strict=True):
        row[:] = kept
        _number(row)


def count_crossings(rows: Rows) -> int:
    """Count how often lines cross between neighbouring rows."""
    total = 0
    for upper in rows[:-1]:
        # Lower ends of the lines so far, sorted: a line crosses those that end right of it.
        ends: list[int] = []
        for cell in upper:
            for end in sorted(lower.place for lower in cell.downs):
                total += len(ends) - bisect_right(ends, end)
                # the ends of the cell itself do not cross each other: they come sorted
                insort(ends, end)
    return total


def _sweep(rows: Rows, *, down: bool) -> None:
    """Sort each row by the medians of its neighbours in the row before, downwards or upwards."""
    groups = _group_order(rows)
    for row in rows if down else reversed(rows):
        keys = {cell: _median(cell.ups if down else cell.downs, cell.place) for cell in row}
        _arrange_row(row, keys, groups)


def _median(neighbours: Sequence[Cell], fallback: float) -> float:
    """Return the median place of neighbours; between two middle ones, nearer to the denser side."""
    places = sorted(cell.place for cell in neighbours)
    if not places:
        return fallback
    middle = len(places) // 2
    if len(places) % 2:
        return places[middle]
    if len(places) == 2:
        return (places[0] + places[1]) / 2
    left, right = places[middle - 1] - places[0], places[-1] - places[middle]
    if not left + right:
        return places[middle]
    return (places[middle - 1] * right + places[middle] * left) / (left + right)


def _group_order(rows: Rows) -> dict[str, float]:
    """Return the average place of each group, by which groups side by side are sorted (rule 2)."""
    sums: dict[str, tuple[float, int]] = {}
    for row in rows:
        for index, cell in enumerate(row):
            for group in cell.groups:
                total, count = sums.get(group, (0.0, 0))
                sums[group] = total + (index + 0.5) / len(row), count + 1
    return {group: total / count for group, (total, count) in sums.items()}


def _arrange_row(row: list[Cell], keys: Mapping[Cell, float], groups: Mapping[str, float]) -> None:
    row[:] = _arrange(row, 0, keys, groups)
    _number(row)


def _number(row: list[Cell]) -> None:
    for index, cell in enumerate(row):
        cell.place = index


@dataclass(slots=True)
class _Item:
    """Unit that is sorted at one level of nesting: a cell, or all cells of a group (rule 1)."""

    key: float
    group: str | None
    cells: list[Cell]


def _arrange(
    cells: Sequence[Cell], level: int, keys: Mapping[Cell, float], groups: Mapping[str, float]
) -> list[Cell]:
    """Return the cells of one level of nesting by their keys, as far as the rules allow."""
    items: list[_Item] = []
    lanes: list[Cell] = []
    inner: dict[str, list[Cell]] = {}
    for cell in cells:
        if len(cell.groups) > level:
            inner.setdefault(cell.groups[level], []).append(cell)
        elif cell.anchor is not None:
            lanes.append(cell)
        else:
            items.append(_Item(keys[cell], None, [cell]))
    for group, members in inner.items():
        weighty = [cell for cell in members if cell.role != "lane"] or members
        key = fsum(keys[cell] for cell in weighty) / len(weighty)
        items.append(_Item(key, group, _arrange(members, level + 1, keys, groups)))
    items.sort(key=lambda item: (item.key, item.group is None and item.cells[0].role == "lane"))
    if len(inner) > 1:
        _settle_groups(items, groups)
    return _with_lanes(items, lanes)


def _settle_groups(items: list[_Item], groups: Mapping[str, float]) -> None:
    """Hand out the places that groups hold in the one order of the groups (rule 2)."""
    places = [index for index, item in enumerate(items) if item.group is not None]
    ranked = sorted(
        (items[index] for index in places), key=lambda item: (groups[item.group or ""], item.group)
    )
    for index, item in zip(places, ranked, strict=True):
        items[index] = item


def _with_lanes(items: list[_Item], lanes: Sequence[Cell]) -> list[Cell]:
    """Return the items in order, each lane right of the item with its anchor, short lanes first."""
    after: dict[int, list[Cell]] = {}
    for lane in lanes:
        at = next(index for index, item in enumerate(items) if lane.anchor in item.cells)
        after.setdefault(at, []).append(lane)
    placed: list[Cell] = []
    for index, item in enumerate(items):
        placed.extend(item.cells)
        placed.extend(after.get(index, ()))
    return placed


def _swap_neighbours(rows: Rows) -> None:
    """Swap cells side by side in one group where that removes crossings.

    Two rounds remove nearly as many as repeating it until nothing changes.
    """
    for _ in range(2):
        swapped = False
        for row in rows:
            for index in range(len(row) - 1):
                cell, other = row[index], row[index + 1]
                if not _may_swap(row, index):
                    continue
                if _count_gain(cell, other) > 0:
                    row[index], row[index + 1] = other, cell
                    cell.place, other.place = index + 1, index
                    swapped = True
        if not swapped:
            return


def _may_swap(row: Sequence[Cell], index: int) -> bool:
    cell, other = row[index], row[index + 1]
    if cell.groups != other.groups or cell.anchor is not None or other.anchor is not None:
        return False
    return index + 2 >= len(row) or row[index + 2].anchor is None


def _count_gain(cell: Cell, other: Cell) -> int:
    """Count the crossings that go away if `other` comes before `cell`."""
    return _compare_pairs(cell.ups, other.ups) + _compare_pairs(cell.downs, other.downs)


def _compare_pairs(mine: Sequence[Cell], theirs: Sequence[Cell]) -> int:
    gain = 0
    for cell in mine:
        for other in theirs:
            gain += (cell.place > other.place) - (cell.place < other.place)
    return gain

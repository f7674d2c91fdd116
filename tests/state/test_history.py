"""Histories of reducer fields: united in canonical order, at the cost of what they differ in."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Sequence
from functools import reduce
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphorch.errors import InternalError
from graphorch.state.history import History, Write, unite_branches, unite_histories
from graphorch.state.version import WIDTH, Version, unite
from tests.state.orders import order_of

WRITES = [Write(order_of(depth, node), None, "n") for depth in range(6) for node in (0, 1, 7)]


def history_of(writes: Sequence[Write]) -> History:
    """A history in which each write has seen those before it."""
    history: History | None = None
    for write in sorted(writes, key=lambda write: write.order):
        history = History(history, write)
    assert history is not None
    return history


def sets() -> st.SearchStrategy[list[Write]]:
    return st.lists(st.sampled_from(WRITES), min_size=1, unique_by=id)


def ordered(writes: set[Write]) -> list[Write]:
    return sorted(writes, key=lambda write: write.order)


# ---- laws ----------------------------------------------------------------------------------------
@given(st.lists(sets(), min_size=1, max_size=4), st.integers(0, 9))
def test_united_history_is_ordered_union(drawn: list[list[Write]], count: int) -> None:
    """A united history holds each write once in canonical order, however it came about."""
    united = reduce(unite_histories, map(history_of, drawn))
    expected = ordered({write for writes in drawn for write in writes})
    assert united.list_after(0) == expected
    assert united.list_after(count) == expected[count:]
    assert (united.size, united.last_order) == (len(expected), expected[-1].order)


@given(sets(), sets())
def test_history_with_all_writes_is_returned(left: list[Write], right: list[Write]) -> None:
    """Uniting with a part returns the whole itself, so that its fold is found again."""
    whole = unite_histories(history_of(left), history_of(right))
    for part in (history_of(left), history_of(right)):
        assert unite_histories(whole, part) is whole
        if part.size < whole.size:
            assert unite_histories(part, whole) is whole


@given(sets(), sets())
def test_beginning_is_recognised(left: list[Write], right: list[Write]) -> None:
    """A history begins with another one if that holds just its first writes."""
    part = history_of(left)
    whole = unite_histories(part, history_of(right))
    assert whole.begins_with(part) == (whole.list_after(0)[: part.size] == part.list_after(0))


@given(sets(), st.lists(sets(), min_size=2, max_size=4))
def test_linked_branches_equal_trees(root: list[Write], drawn: list[list[Write]]) -> None:
    """The fast path for branches of one fork gives the history that trees give, or none."""
    base = history_of(root)
    branches: list[History] = []
    for writes in drawn:
        branch = base
        for write in ordered({*writes}):
            if write.order > branch.last_order:
                branch = History(branch, write)
        branches.append(branch)
    linked = unite_branches(base, branches)
    slow = reduce(unite_histories, branches)
    if linked is not None:
        assert linked.list_after(0) == slow.list_after(0)


def test_writes_of_one_order_are_refused() -> None:
    """Two writes cannot have the same place in canonical order."""
    left, right = (History(None, Write(order_of(1, 1), None, "n")) for _ in range(2))
    with pytest.raises(InternalError):
        unite_histories(left, right)


# ---- cost ----------------------------------------------------------------------------------------
class Lane:
    """A token of a run: its version, and the depth of the node that emitted it."""

    def __init__(self, version: Version, depth: int) -> None:
        self.version = version
        self.depth = depth


def run_node(number: int, lanes: Sequence[Lane], followers: int) -> list[Lane]:
    """Consume tokens, write one item, and emit a token for each follower."""
    version = unite([lane.version for lane in lanes])
    depth = 1 + max(lane.depth for lane in lanes)
    version.take({0: [number]}, frozenset({0}), depth * WIDTH + number, "n")
    return [Lane(branch, depth) for branch in version.split(followers)]


def run_graph(sources: Sequence[Sequence[int]]) -> Lane:
    """Run nodes in order, each after its sources, and return what reaches the last one."""
    followers = [0] * len(sources)
    for node in sources:
        for source in node:
            followers[source] += 1
    lanes: list[list[Lane]] = []
    for number, node in enumerate(sources):
        given = [lanes[source].pop() for source in node] or [Lane(Version({}, {}), 0)]
        lanes.append(run_node(number, given, max(1, followers[number])))
    return lanes[-1][0]


def count_calls(sources: Sequence[Sequence[int]]) -> int:
    """Count the function calls of a run, a measure that a busy machine cannot move."""
    count = 0

    def note(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        run_graph(sources)
    finally:
        sys.setprofile(before)
    return count


def skip(size: int) -> list[list[int]]:
    """A chain in which every step also has an edge from the first one."""
    return [[], [0], *([index - 1, 0] for index in range(2, size))]


def ladder(size: int) -> list[list[int]]:
    """Two lanes that hand over to each other at every step."""
    return [[], [], *([index - 2 - index % 2, index - 1 - index % 2] for index in range(2, size))]


def comb(size: int) -> list[list[int]]:
    """A chain that a short branch joins at every step, with a write from the very beginning."""
    sides = [[0]] * (size // 2)
    chain = [[len(sides) + index, index + 1] for index in range(size // 2 - 1)]
    return [[], *sides, *chain]


def far(size: int) -> list[list[int]]:
    """A chain with long edges at random."""
    chance = random.Random(1)
    sources = [[], *([index - 1] for index in range(1, size))]
    for _ in range(2 * size):
        first, second = sorted(chance.sample(range(size), 2))
        if first not in sources[second]:
            sources[second].append(first)
    return sources


@pytest.mark.parametrize("shape", [skip, ladder, comb, far])
def test_joins_cost_what_they_add(shape: Callable[[int], list[list[int]]]) -> None:
    """Four times the nodes take little more than four times the calls, although nobody reads."""
    assert count_calls(shape(1600)) <= 5.5 * count_calls(shape(400))


def test_wide_layers_cost_what_they_add() -> None:
    """A node of a layer that sees some of the layer before costs what these differ in."""

    def wide(layers: int) -> list[list[int]]:
        chance, width = random.Random(2), 10
        sources: list[list[int]] = [[] for _ in range(width)]
        for layer in range(1, layers):
            first = (layer - 1) * width
            before = range(first, first + width)
            sources += [sorted(chance.sample(before, 3)) for _ in range(width)]
        return sources

    assert count_calls(wide(160)) <= 5.5 * count_calls(wide(40))


def test_early_write_is_folded_in_its_place() -> None:
    """A write of a low depth that arrives late stands where canonical order puts it."""
    lane = run_graph(comb(8))
    entry = lane.version.get(0)
    assert entry is not None
    assert not isinstance(entry, tuple)
    value = entry.read(list, lambda old, new: [*old, *new])
    assert value == [0, 1, 2, 3, 4, 5, 6, 7]

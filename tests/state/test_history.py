"""Histories of reducer fields: united in canonical order, at the cost of what they differ in."""

from __future__ import annotations

import itertools
import random
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphorch.errors import InternalError
from graphorch.state.history import History, Write, WriteLog, unite_branches, unite_histories
from graphorch.state.version import WIDTH, FoldedField, Version, unite
from tests.state.orders import order_of

WRITES = [Write(order_of(depth, node), None, "n") for depth in range(6) for node in (0, 1, 7)]
LATE = Write(order_of(9, 0), None, "late")


def history_of(writes: Sequence[Write]) -> History:
    """A history in which each write has seen those before it."""
    history: History | None = None
    for write in sorted(writes, key=lambda write: write.order):
        history = History(history, write)
    assert history is not None
    return history


def sets() -> st.SearchStrategy[list[Write]]:
    return st.lists(st.sampled_from(WRITES), min_size=1, unique_by=id)


def new_log() -> WriteLog:
    """A log that has seen none of the writes."""
    for write in (*WRITES, LATE):
        write.number = -1
    return WriteLog()


def ordered(writes: set[Write]) -> list[Write]:
    return sorted(writes, key=lambda write: write.order)


# ---- laws ----------------------------------------------------------------------------------------
@given(st.lists(sets(), min_size=1, max_size=4))
def test_united_history_is_ordered_union(drawn: list[list[Write]]) -> None:
    """A united history holds each write once in canonical order, however it came about."""
    log = new_log()
    union = [write for write in WRITES if any(write in writes for writes in drawn)]
    for histories in itertools.permutations(map(history_of, drawn)):
        united = unite_histories(log, histories)
        assert united.list_writes() == union
        assert (united.last_order, united.write) == (union[-1].order, union[-1])
        linked = History(united, LATE)
        assert unite_histories(log, [linked, united]).list_writes() == [*union, LATE]


@given(sets(), sets())
def test_history_with_all_writes_is_returned(left: list[Write], right: list[Write]) -> None:
    """Uniting with a part returns the whole itself, so that its fold is found again."""
    log = new_log()
    whole = unite_histories(log, [history_of(left), history_of(right)])
    for part in (history_of(left), history_of(right)):
        assert unite_histories(log, [whole, part]) is whole
        if len(part.list_writes()) < len(whole.list_writes()):
            assert unite_histories(log, [part, whole]) is whole


@given(sets(), sets())
def test_beginning_is_never_missed(left: list[Write], right: list[Write]) -> None:
    """The quick look accepts every history that holds just the first writes."""
    log = new_log()
    part = history_of(left)
    whole = unite_histories(log, [part, history_of(right)])
    if whole.list_writes()[: len(left)] == part.list_writes():
        assert whole.may_begin_with(part, log)


@given(st.lists(sets(), min_size=1, max_size=4))
def test_fold_starts_at_nearest_beginning(drawn: list[list[Write]]) -> None:
    """A reader continues from the nearest earlier fold that begins its history, if there is one."""
    log = new_log()
    chain: list[FoldedField] = []
    for count in range(1, len(drawn) + 1):
        writes = ordered({write for more in drawn[:count] for write in more})
        mask = history_of(writes).mask(log)
        history = History.of_mask(log, mask, writes[-1])
        chain.append(FoldedField(history, chain[-1] if chain else None))
    fold = chain.pop()
    writes = fold.history.list_writes()
    begins = [
        earlier
        for earlier in chain
        if (begin := earlier.history.list_writes()) == writes[: len(begin)]
    ]
    start, behind = fold.find_start()
    assert start is (begins[-1] if begins else None)
    assert [*(start.history.list_writes() if start is not None else []), *behind] == writes


@given(st.lists(st.integers(0, 4200), min_size=1, unique=True), st.integers(0, 4200))
def test_mask_keeps_every_number(numbers: list[int], cut: int) -> None:
    """Writes keep their numbers in whatever chunk they are, and a mask leaves out another one."""
    log, writes = new_log(), [Write(order_of(1, number), None, "n") for number in range(4201)]
    for write in writes:
        log.number(write)
    chosen = history_of([writes[number] for number in numbers])
    early = history_of(writes[: cut + 1])
    assert log.list_writes(chosen.mask(log)) == [writes[number] for number in sorted(numbers)]
    outside = log.list_writes(chosen.mask(log), without=early.mask(log))
    assert outside == [writes[number] for number in sorted(numbers) if number > cut]


@given(sets(), st.lists(sets(), min_size=2, max_size=4))
def test_linked_branches_equal_masks(root: list[Write], drawn: list[list[Write]]) -> None:
    """The fast path for branches of one fork gives the history that masks give, or none."""
    base = history_of(root)
    branches: list[History] = []
    for writes in drawn:
        branch = base
        for write in ordered({*writes}):
            if write.order > branch.last_order:
                branch = History(branch, write)
        branches.append(branch)
    linked = unite_branches(base, branches)
    slow = unite_histories(new_log(), branches)
    if linked is not None:
        assert linked.list_writes() == slow.list_writes()


def test_writes_of_one_order_are_refused() -> None:
    """Two writes cannot have the same place in canonical order."""
    left, right = (History(None, Write(order_of(1, 1), None, "n")) for _ in range(2))
    united = unite_histories(WriteLog(), [left, right])
    with pytest.raises(InternalError, match="by 'n' have one place in canonical order"):
        united.list_writes()


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
    roots = Version({}, {}).split(len(sources))
    for number, node in enumerate(sources):
        given = [lanes[source].pop() for source in node] or [Lane(roots[number], 0)]
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


def grid(size: int) -> list[list[int]]:
    """A square in which each node waits for the one above and the one to its left."""
    width = int(size**0.5)
    return [
        [*([number - width] if number >= width else []), *([number - 1] if number % width else [])]
        for number in range(width * width)
    ]


def wide(size: int) -> list[list[int]]:
    """Ten layers; each node waits for three of the layer before."""
    chance, width = random.Random(2), size // 10
    layers = [range(first, first + width) for first in range(0, size - width, width)]
    return [
        *([] for _ in range(width)),
        *(sorted(chance.sample(layer, 3)) for layer in layers for _ in layer),
    ]


def tall(size: int) -> list[list[int]]:
    """Layers of ten; each node waits for three of the layer before."""
    chance = random.Random(2)
    layers = [range(first, first + 10) for first in range(0, size - 10, 10)]
    return [
        *([] for _ in range(10)),
        *(sorted(chance.sample(layer, 3)) for layer in layers for _ in layer),
    ]


@pytest.mark.parametrize("shape", [skip, ladder, comb, far, grid, wide, tall])
def test_joins_cost_what_they_add(shape: Callable[[int], list[list[int]]]) -> None:
    """Four times the nodes take little more than four times the calls, although nobody reads."""
    assert count_calls(shape(1600)) <= 4.4 * count_calls(shape(400))


def test_early_write_is_folded_in_its_place() -> None:
    """A write of a low depth that arrives late stands where canonical order puts it."""
    lane = run_graph(comb(8))
    entry = lane.version.get(0)
    assert entry is not None
    assert not isinstance(entry, tuple)
    value = entry.read(list, lambda old, new: [*old, *new])
    assert value == [0, 1, 2, 3, 4, 5, 6, 7]

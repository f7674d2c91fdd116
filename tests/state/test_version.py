"""Causal versions against a naive reference: sets of writes, each with those that it saw."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphorch.errors import WriteConflict
from graphorch.state.version import UNSET, FoldedField, Order, Version, unite
from tests.state.orders import order_of

PLAIN, FOLDED = (0, 1), (2, 3)
SEEDS: dict[int, Any] = {2: UNSET, 3: ["seed"]}


def joined(old: list[str], new: list[str]) -> list[str]:
    return [*old, *new]


def value_of(version: Version, number: int) -> Any:
    """What a reader would see of a field."""
    entry = version.get(number)
    if isinstance(entry, FoldedField):
        return entry.read(lambda: SEEDS[number], joined)
    return UNSET if entry is None else entry[1]


def values_of(version: Version) -> list[Any]:
    return [value_of(version, number) for number in (*PLAIN, *FOLDED)]


# ---- the reference -----------------------------------------------------------------------------
@dataclass(frozen=True)
class Naive:
    """One write, and all earlier writes of that field that its author had seen."""

    number: int
    order: Order
    value: Any
    by: str
    seen: frozenset[Naive] = field(repr=False)


def naive_value(history: frozenset[Naive], number: int) -> Any:
    writes = sorted(
        (naive for naive in history if naive.number == number), key=lambda naive: naive.order
    )
    if number in PLAIN:
        return writes[-1].value if writes else UNSET
    if not writes:
        return UNSET
    folded = SEEDS[number]
    for write in writes:
        folded = (
            list(write.value)
            if folded is UNSET or write.order < order_of(1, 0)
            else joined(folded, list(write.value))
        )
    return folded


def naive_conflicts(history: frozenset[Naive]) -> set[int]:
    """Fields of which the last write has not seen all others."""
    found: set[int] = set()
    for number in PLAIN:
        writes = [naive for naive in history if naive.number == number]
        latest = max(writes, key=lambda naive: naive.order, default=None)
        if latest is not None and any(
            naive is not latest and naive not in latest.seen for naive in writes
        ):
            found.add(number)
    return found


# ---- random graphs -----------------------------------------------------------------------------
@dataclass(frozen=True)
class Drawn:
    """Activation: its sources, its writes, whether it is read in between, and its declaration."""

    sources: tuple[int, ...]
    writes: tuple[int, ...]
    reads: bool
    declared: int


@st.composite
def graphs(draw: st.DrawFn) -> list[Drawn]:
    size = draw(st.integers(2, 9))
    declared = draw(st.permutations(range(size)))
    made: list[Drawn] = []
    for index in range(size):
        sources = (
            draw(st.sets(st.integers(0, index - 1), min_size=1, max_size=3))
            if index
            else set[int]()
        )
        writes = draw(st.sets(st.sampled_from([*PLAIN, *FOLDED, *FOLDED])))
        made.append(
            Drawn(
                tuple(sorted(sources)), tuple(sorted(writes)), draw(st.booleans()), declared[index]
            )
        )
    return made


@dataclass
class Ran:
    """What became of one activation, in the engine and in the reference."""

    version: Version
    history: frozenset[Naive]
    depth: int
    tokens: list[Version]


def begun(writes: tuple[int, ...]) -> tuple[Version, frozenset[Naive]]:
    """The input of a run: writes of depth 0."""
    version, history = Version({}, {}), set[Naive]()
    for number in writes:
        value = ["input"] if number in FOLDED else "input"
        version.take({number: value}, frozenset(FOLDED), order_of(0, 0), "START")
        history.add(
            Naive(
                number,
                order_of(0, 0),
                tuple(value) if number in FOLDED else value,
                "START",
                frozenset(),
            )
        )
    return version, frozenset(history)


def run(graph: list[Drawn], inputs: tuple[int, ...]) -> None:
    """Run a graph in both, and compare after every activation; nothing follows a conflict."""
    followers = [sum(index in other.sources for other in graph) for index in range(len(graph))]
    ran: dict[int, Ran] = {}
    for index, drawn in enumerate(graph):
        if any(source not in ran for source in drawn.sources):
            continue
        if drawn.sources:
            history = frozenset[Naive]().union(*(ran[source].history for source in drawn.sources))
            tokens = [ran[source].tokens.pop() for source in drawn.sources]
            if naive_conflicts(history):
                with pytest.raises(WriteConflict):
                    unite(tokens)
                continue
            version, depth = unite(tokens), 1 + max(ran[source].depth for source in drawn.sources)
        else:
            version, history = begun(inputs)
            depth = 1
        assert values_of(version) == [naive_value(history, number) for number in (*PLAIN, *FOLDED)]
        history = written(version, history, drawn, order_of(depth, drawn.declared), f"n{index}")
        if drawn.reads:
            assert values_of(version) == [
                naive_value(history, number) for number in (*PLAIN, *FOLDED)
            ]
        ran[index] = Ran(version, history, depth, version.split(followers[index]))


def written(
    version: Version, history: frozenset[Naive], drawn: Drawn, order: Order, name: str
) -> frozenset[Naive]:
    made: set[Naive] = set()
    for number in drawn.writes:
        value: Any = [name] if number in FOLDED else name
        version.take({number: value}, frozenset(FOLDED), order, name)
        seen = frozenset(naive for naive in history if naive.number == number)
        made.add(Naive(number, order, tuple(value) if number in FOLDED else value, name, seen))
    return history | made


@given(graphs(), st.sets(st.sampled_from([*PLAIN, *FOLDED])))
def test_version_folds_causal_ancestors(graph: list[Drawn], inputs: set[int]) -> None:
    """Every activation reads the fold over its causal ancestors, and nothing else."""
    run(graph, tuple(sorted(inputs)))


@given(graphs())
def test_reads_before_join_change_nothing(
    graph: list[Drawn],
) -> None:
    """Nothing that was read before a join changes what is read after it."""
    for reads in (True, False):
        run(
            [Drawn(drawn.sources, drawn.writes, reads, drawn.declared) for drawn in graph],
            PLAIN + FOLDED,
        )


# ---- laws of uniting ---------------------------------------------------------------------------
@st.composite
def branches(draw: st.DrawFn) -> list[Version]:
    """Return three branches of a fork, or of a fork in one; each writes fields of its own."""
    root = Version({}, {})
    if draw(st.booleans()):
        root.take({0: "root", 2: ["root"]}, frozenset(FOLDED), order_of(1, 0), "root")
    first, second = root.split(2)
    nested = first.split(2) if draw(st.booleans()) else [first, second.split(1)[0]]
    made = [*nested, *second.split(1)]
    for index, version in enumerate(made):
        for depth in range(2, 2 + draw(st.integers(0, 3))):
            version.fold(
                draw(st.sampled_from(FOLDED)), [f"{index}.{depth}"], order_of(depth, index), "n"
            )
            if draw(st.booleans()):
                value_of(version, 2)
    if draw(st.booleans()):
        made[0].take({1: "mine"}, frozenset(), order_of(5, 0), "0")
    return made


@given(branches())
def test_unite_is_commutative(made: list[Version]) -> None:
    """Uniting is commutative."""
    assert len({repr(values_of(unite(order))) for order in itertools.permutations(made)}) == 1


@given(branches())
def test_unite_is_associative_and_idempotent(made: list[Version]) -> None:
    """Uniting is associative and idempotent."""
    first, second, third = made
    whole = values_of(unite(made))
    assert values_of(unite([unite([first, second]), third])) == whole
    assert values_of(unite([first, unite([second, third])])) == whole
    united = unite(made)
    assert values_of(unite([united, *made])) == whole


@given(branches())
def test_unite_keeps_its_arguments(made: list[Version]) -> None:
    """Uniting changes none of the versions that it is given."""
    before = [values_of(version) for version in made]
    united = unite(made)
    united.take(
        {0: "later", 2: ["later"], 3: ["later"]}, frozenset(FOLDED), order_of(9, 9), "later"
    )
    assert [values_of(version) for version in made] == before


# ---- single cases ------------------------------------------------------------------------------
def test_fork_isolates_branches() -> None:
    """A branch of a fork does not see what another one writes."""
    root = Version({}, {})
    root.take({0: "root"}, frozenset(), order_of(1, 0), "root")
    left, right = root.split(2)
    left.take({0: "left"}, frozenset(), order_of(2, 1), "left")
    left.fold(2, ["left"], order_of(2, 1), "n")
    assert (value_of(left, 0), value_of(right, 0)) == ("left", "root")
    assert value_of(right, 2) is UNSET


def test_fork_without_writes_copies_nothing() -> None:
    """A fork of a version without writes of its own copies nothing."""
    base: Any = {0: (None, "x", order_of(1, 0), "a", 0, None)}
    assert all(branch.base is base for branch in Version(base, {}).split(3))


def test_unite_returns_sole_version() -> None:
    """The only version is returned itself."""
    version = Version({}, {})
    assert unite([version]) is version


def test_unite_names_conflicting_writers() -> None:
    """Two writes that did not see each other name both writers."""
    left, right = Version({}, {}).split(2)
    left.take({0: 1}, frozenset(), order_of(2, 0), "left")
    right.take({0: 2}, frozenset(), order_of(2, 1), "right")
    with pytest.raises(
        WriteConflict,
        match=r"'right' and 'left' both wrote the field at once, and neither saw the other. "
        r"Give the field a reducer",
    ):
        unite([left, right])


@given(st.lists(st.integers(1, 300), min_size=1, unique=True), st.integers(1, 299))
def test_last_write_is_found_by_jumps(seen: list[int], stranger: int) -> None:
    """Of one long chain the last write wins over any earlier ones, but not over one beside it."""
    version = Version({}, {})
    chain: dict[int, Version] = {}
    for depth in range(1, 302):
        version.take({0: depth}, frozenset(), order_of(depth, 0), "chain")
        chain[depth] = Version({}, dict(version.own))
    assert value_of(unite([version, *(chain[depth] for depth in seen)]), 0) == 301
    beside = Version({}, dict(chain[stranger].own))
    beside.take({0: "beside"}, frozenset(), order_of(stranger + 1, 1), "beside")
    with pytest.raises(WriteConflict, match="'chain' and 'beside' both wrote"):
        unite([version, beside, *(chain[depth] for depth in seen)])


def test_unite_ignores_depth() -> None:
    """Depth is no proof of order: only a chain of writes is."""
    left, right = Version({}, {}).split(2)
    left.take({0: 1}, frozenset(), order_of(2, 0), "left")
    for depth in (2, 3, 4):
        right.take({0: depth}, frozenset(), order_of(depth, 1), "right")
    with pytest.raises(WriteConflict):
        unite([left, right])


def test_unite_takes_over_sole_write() -> None:
    """A branch that wrote nothing takes over what the other wrote."""
    root = Version({}, {})
    root.take({0: "old"}, frozenset(), order_of(1, 0), "root")
    left, right = root.split(2)
    left.take({0: "new"}, frozenset(), order_of(2, 1), "left")
    assert value_of(unite([right, left]), 0) == "new"


def test_unite_counts_shared_history_once() -> None:
    """A shared beginning of a history counts once."""
    root = Version({}, {})
    root.fold(2, ["root"], order_of(1, 0), "n")
    left, right = root.split(2)
    left.fold(2, ["left"], order_of(2, 1), "n")
    right.fold(2, ["right"], order_of(2, 0), "n")
    assert value_of(unite([left, right]), 2) == ["root", "right", "left"]


def test_input_replaces_default() -> None:
    """The input replaces the default of a reducer field and later writes are added."""
    version = Version({}, {})
    version.fold(3, ["input"], order_of(0, 0), "n")
    version.fold(3, ["more"], order_of(1, 0), "n")
    assert value_of(version, 3) == ["input", "more"]
    other = Version({}, {})
    other.fold(3, ["more"], order_of(1, 0), "n")
    assert value_of(other, 3) == ["seed", "more"]


def test_fold_is_continued() -> None:
    """The second reader folds only what came after the first."""
    calls = 0

    def counting(old: list[str], new: list[str]) -> list[str]:
        nonlocal calls
        calls += 1
        return [*old, *new]

    version = Version({}, {})
    for depth in range(1, 101):
        version.fold(2, [str(depth)], order_of(depth, 0), "n")
        entry = version.get(2)
        assert isinstance(entry, FoldedField)
        assert len(entry.read(lambda: UNSET, counting)) == depth
    assert calls == 99


def test_long_history_folds_without_recursion() -> None:
    """Branches that were never read fold a long history without recursion."""
    version = Version({}, {})
    for depth in range(1, 2001):
        version.fold(2, [""], order_of(depth, 0), "n")
    assert len(value_of(version, 2)) == 2000

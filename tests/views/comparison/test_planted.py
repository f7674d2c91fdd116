"""Differences that are planted in random runs: all of them are found, and none is invented."""

from __future__ import annotations

import random
from typing import Any

import pytest

from graphorch.journal.memory import MemoryStore
from graphorch.testing import run_virtual
from graphorch.views.comparison.comparison import Aspect, ComparedActivation, Comparison
from graphorch.views.comparison.run_comparison import WantedActivations, compare_runs, open_pair
from graphorch.views.reading.journal_reader import JournalReader
from tests.views.comparison.planted import Ledger, Spot, keep_run

ALL = WantedActivations(limit=1_000)
WORDS = ("tides", "winds", "sands", "reefs", "dunes")


async def compare(store: MemoryStore, left: str = "a", right: str = "b") -> Comparison:
    async with open_pair(JournalReader(store), left, right) as pair:
        return compare_runs(pair, ALL)


def expect(left: Ledger, right: Ledger, spot: Spot) -> tuple[str, set[Aspect]]:
    """Return where a visit is, and in what it differs, by what the nodes wrote down themselves."""
    if spot not in left.spots:
        return "right", set()
    if spot not in right.spots:
        return "left", set()
    aspects: set[Aspect] = set()
    if _output(left, spot) != _output(right, spot):
        aspects.add("output")
    if left.said.get(spot) != right.said.get(spot):
        aspects.add("calls")
    if left.failed.get(spot) != right.failed.get(spot):
        aspects |= {"error", "attempts"}
    return "both", aspects


def _output(ledger: Ledger, spot: Spot) -> str:
    return ledger.done.get(spot) or ledger.said[spot][-1][1]


def check(left: Ledger, right: Ledger, found: Comparison) -> int:
    """Compare with what the nodes wrote down; return how many visits differ."""
    rows = {Spot(row.path, row.round): row for row in found.activations}
    spots = left.spots | right.spots
    assert spots <= set(rows)
    for spot in spots:
        presence, aspects = expect(left, right, spot)
        row = rows[spot]
        # What a node led to is not written down; only where the graph goes on may it differ.
        assert (row.presence, set(row.differs) - {"route"}) == (presence, aspects), spot
        if "route" in row.differs:
            assert "output" in aspects
            assert spot.path == "judge"
    for spot in rows.keys() - spots:  # maps and sub-flows, which have items and results only
        assert set(rows[spot].differs) <= {"input", "output"}, spot
    return sum(row.presence != "both" or bool(row.differs) for row in rows.values())


async def plant(seed: int) -> tuple[Ledger, Ledger, MemoryStore]:
    """Keep two runs of a random flow; one of them does something else at random visits."""
    rng = random.Random(seed)
    task = " ".join(rng.choices(WORDS, k=rng.randint(1, 5)))
    store, left, right = MemoryStore(), Ledger(), Ledger()
    await keep_run(store, "a", left, seed, task)
    known = sorted(left.spots)
    for spot in rng.sample(known, min(len(known), rng.randint(1, 3))):
        right.other_words[spot] = f"other {rng.randrange(1000)}"
    functions = sorted(left.done)
    right.fails_once = {rng.choice(functions)} if rng.random() < 0.5 else set()
    right.fails_once -= {spot for spot in functions if spot.path in ("file", "drop")}
    if rng.random() < 0.3:
        task = f"{task} {rng.choice(WORDS)}"
    await keep_run(store, "b", right, seed, task)
    return left, right, store


@pytest.mark.parametrize("seed", range(20))
def test_planted_differences_are_found(seed: int) -> None:
    """Every planted difference, and whatever follows from it, is found; nothing else is."""

    async def main() -> None:
        left, right, store = await plant(seed)
        found = await compare(store)
        assert check(left, right, found) > 0
        back = await compare(store, "b", "a")
        assert check(right, left, back) > 0
        assert (found.counts.only_left, found.counts.only_right) == (
            back.counts.only_right,
            back.counts.only_left,
        )
        assert (found.counts.same, found.counts.different) == (
            back.counts.same,
            back.counts.different,
        )

    run_virtual(main())


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20, 400))
def test_many_planted_differences_are_found(seed: int) -> None:
    test_planted_differences_are_found(seed)


@pytest.mark.parametrize("seed", range(6))
def test_equal_runs_do_not_differ(seed: int) -> None:
    """Two runs that did the same differ in nothing, whatever they cost and however long it took."""

    async def main() -> None:
        task = " ".join(random.Random(seed).choices(WORDS, k=4))
        store, left, right = MemoryStore(), Ledger(), Ledger()
        await keep_run(store, "a", left, seed, task)
        await keep_run(store, "b", right, seed, task)
        found = await compare(store)
        assert check(left, right, found) == 0
        assert found.counts.same == len(found.activations) > 5
        assert (found.inputs, found.is_same_graph) == ([], True)
        assert found.left.usage.usd != found.right.usage.usd

    run_virtual(main())


def list_differing(found: Comparison) -> list[ComparedActivation]:
    return [row for row in found.activations if row.presence != "both" or row.differs]


def test_only_differences_are_paged() -> None:
    """Pages of differences together are all of them, in the order of the left run."""

    async def main() -> None:
        _, _, store = await plant(3)
        everything = await compare(store)
        seen: list[Any] = []
        after: int | None = 0
        while after is not None:
            async with open_pair(JournalReader(store), "a", "b") as pair:
                page = compare_runs(pair, WantedActivations(after, 2, only_differences=True))
            assert page.counts == everything.counts
            seen += page.activations
            after = page.next
        assert seen == list_differing(everything)

    run_virtual(main())

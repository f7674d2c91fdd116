"""Lookup of a run: by its id, the beginning of an id, or `last`."""

from __future__ import annotations

import asyncio

import pytest

from graphorch.errors import InputError
from graphorch.journal.memory import MemoryStore
from graphorch.journal.records import NewRun
from graphorch.trace.analysis.run_lookup import find_run


def find(wanted: str, *run_ids: str) -> str:
    """Return the id of the run that is found in a store with these runs, the newest last."""
    times = iter(range(1, 10_000))

    async def main() -> str:
        store = MemoryStore(clock=lambda: float(next(times)))
        for run_id in run_ids:
            await store.create(NewRun(run_id, "flow", "print", 2))
        return (await find_run(store, wanted)).run_id

    return asyncio.run(main())


def test_run_by_id_or_beginning() -> None:
    assert find("abc", "abc", "xyz") == "abc"
    assert find("ab", "abc", "xyz") == "abc"


def test_whole_id_wins_over_beginning() -> None:
    """An id that begins other ids is still that of its own run."""
    assert find("ab", "abc", "ab", "abd") == "ab"


def test_last_is_the_newest() -> None:
    assert find("last", "c", "a", "b") == "b"


def test_beginning_is_searched_in_all_pages() -> None:
    """The oldest of more runs than a page holds is found."""
    assert find("old", "old-one", *(f"r{number}" for number in range(501))) == "old-one"


@pytest.mark.parametrize(
    ("wanted", "run_ids", "expected"),
    [
        ("a", ["ab", "ac"], "'a' begins the ids of 2 runs: ac, ab. Give more of it."),
        ("abd", ["abc"], "no run 'abd'. Did you mean 'abc'?"),
        ("../x", ["abc"], "no run '../x'"),
        ("", ["abc"], "no run ''"),
        ("x", [], "It holds no run at all"),
        ("last", [], "The journal holds no run yet"),
    ],
)
def test_missing_run_is_explained(wanted: str, run_ids: list[str], expected: str) -> None:
    """An error names the runs that may be meant."""
    with pytest.raises(InputError) as caught:
        find(wanted, *run_ids)
    assert expected in str(caught.value)

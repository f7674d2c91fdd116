"""Repeating a failed call of a store ends in an equal journal, whichever call failed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from graphorch.journal.errors import StoreUnavailable
from graphorch.journal.memory import MemoryStore
from graphorch.journal.records import Record, RunLog, Snapshot
from graphorch.journal.sqlite.store import SqliteStore
from graphorch.journal.store import Store
from tests.contracts.faulty_store import Fault, FaultyStore
from tests.contracts.store_contract import NEW, FakeClock, entries

T = TypeVar("T")
CALLS = 11


async def repeat(call: Callable[[], Awaitable[T]]) -> T:
    """Repeat a call with equal values until it succeeds, as a careful caller does."""
    while True:
        try:
            return await call()
        except (StoreUnavailable, TimeoutError):
            continue


async def whole_life(store: Store) -> tuple[RunLog, Snapshot | None]:
    """Make all calls of a run, and return what the store holds before its deletion."""
    await repeat(lambda: store.create(NEW))
    lease = await repeat(lambda: store.claim("run-1", "me", ttl=60))
    await repeat(lambda: store.append(lease, entries("a", "b"), expected_last_seq=0))
    await repeat(
        lambda: store.append(lease, entries(after=2), expected_last_seq=2, status="waiting")
    )
    renewed = await repeat(lambda: store.renew(lease, ttl=90))
    await repeat(
        lambda: store.append(
            renewed, [Record(3, "ended", {})], expected_last_seq=2, status="succeeded"
        )
    )
    await repeat(lambda: store.save_snapshot(renewed, Snapshot(3, "all")))
    await repeat(lambda: store.release(renewed))
    log = await repeat(lambda: store.load("run-1"))
    snapshot = await repeat(lambda: store.load_snapshot("run-1"))
    await repeat(lambda: store.erase("run-1"))
    return log, snapshot


async def memory(path: Path) -> Store:
    return MemoryStore(clock=FakeClock())


async def sqlite(path: Path) -> Store:
    return await SqliteStore.open(path / "runs.db", clock=FakeClock(), sync="normal")


@pytest.mark.parametrize("make", [memory, sqlite])
@pytest.mark.parametrize("fault", ["fails", "times out", "loses the reply"])
@pytest.mark.parametrize("n", range(CALLS + 1))
def test_nth_faulty_call_keeps_journal_equal(
    tmp_path: Path, make: Callable[[Path], Awaitable[Store]], fault: Fault, n: int
) -> None:
    """The journal is equal, whichever call fails."""

    async def lived() -> None:
        store = await make(tmp_path)
        faulty = FaultyStore(store, fault, n)
        log, snapshot = await whole_life(faulty)
        assert faulty.calls == CALLS + (n > 0)
        assert log.records == (*entries("a", "b"), Record(3, "ended", {}))
        assert log.head.status == "succeeded"
        assert (log.head.last_seq, log.head.lease, snapshot) == (3, None, Snapshot(3, "all"))
        after = await store.load("run-1")
        assert (len(after.records), after.head.is_erased) == (3, True)
        await store.close()

    asyncio.run(lived())

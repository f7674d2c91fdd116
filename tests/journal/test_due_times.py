"""When runs at rest have to go on, by their last records, in every kind of store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from graphorch.journal.due_times import DueRuns, find_due_runs, read_due
from graphorch.journal.memory import MemoryStore
from graphorch.journal.records import NewRun, Record
from graphorch.journal.sqlite.store import SqliteStore
from graphorch.journal.store import Store


async def write(store: Store, run_id: str, status: str, due: float | None, flow: str = "f") -> None:
    """Write a run at rest, which has one record."""
    head = await store.create(NewRun(run_id, flow, "print", 6))
    lease = await store.claim(head.run_id, "owner", ttl=30)
    body: dict[str, Any] = {"at": 1.0, "status": status, "reason": status}
    if due is not None:
        body["due"] = due
    await store.append(lease, [Record(1, "ended", body)], expected_last_seq=0, status=status)
    await store.release(lease)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_due_runs_are_those_whose_time_has_come(kind: str, tmp_path: Path) -> None:
    """Only waiting runs of the flow are found, the earliest first, with the next time of others."""

    async def check() -> DueRuns:
        store = MemoryStore() if kind == "memory" else await SqliteStore.open(tmp_path / "j")
        await write(store, "second", "waiting", 20.0)
        await write(store, "first", "waiting", 10.0)
        await write(store, "next", "waiting", 40.0)
        await write(store, "never", "waiting", None)
        await write(store, "over", "succeeded", 10.0)
        await write(store, "other", "waiting", 10.0, flow="g")
        await write(store, "erased", "waiting", 10.0)
        await store.erase("erased")
        found = await find_due_runs(store, "f", 30.0)
        head = (await store.load("next")).head
        assert await read_due(store, head) == 40.0
        await store.close()
        return found

    due = asyncio.run(check())
    assert [head.run_id for head in due.runs] == ["first", "second"]
    assert (due.next, dict(due.unreadable)) == (40.0, {})


def test_many_waiting_runs_need_one_record_each() -> None:
    """However long a run is, only its last record is read."""
    reads: list[int] = []

    async def check() -> None:
        store = CountingStore(reads.append)
        for number in range(3):
            await write(store, f"r{number}", "waiting", 10.0)
        await find_due_runs(store, "f", 30.0)

    asyncio.run(check())
    assert reads == [1, 1, 1]


class CountingStore(MemoryStore):
    """A store that tells how many records each `load` returned."""

    def __init__(self, tell: Callable[[int], None]) -> None:
        super().__init__()
        self._tell = tell

    async def load(self, run_id: str, *, after_seq: int = 0) -> Any:
        """Return a run, and tell how many records of it."""
        loading: Awaitable[Any] = super().load(run_id, after_seq=after_seq)
        log = await loading
        self._tell(len(log.records))
        return log

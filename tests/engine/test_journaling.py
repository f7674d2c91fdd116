"""A run's way into its store: one append at a time, none after one that failed, and watchers hear of what is durable only."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from graphorch import Committed, JournalError
from graphorch.core.events import GraceOver
from graphorch.engine.journaling import RunJournal
from graphorch.journal.memory import MemoryStore
from graphorch.journal.records import Lease, NewRun
from graphorch.testing import FailNth, Schedule, around_nodes, run_virtual
from tests.scenarios.flows import FLOWS, Ledger, State


class SlowStore(MemoryStore):
    """Takes a second for each append, and fails the n-th; remembers the first numbers of those that were under way at once."""

    def __init__(self, fail_at: int = 0) -> None:
        super().__init__(clock=lambda: 0.0)
        self.appends = 0
        self.running: set[int] = set()
        self.most = 0
        self._fail_at = fail_at

    async def append(self, lease: Lease, records: Any, *, expected_last_seq: int, status: str | None = None) -> None:
        self.appends += 1
        number = self.appends
        self.running.add(number)
        self.most = max(self.most, len(self.running))
        try:
            await asyncio.sleep(1)
            if number == self._fail_at:
                raise JournalError("the disk is full")
            await super().append(lease, records, expected_last_seq=expected_last_seq, status=status)
        finally:
            self.running.discard(number)


async def journal_in(store: MemoryStore) -> RunJournal:
    await store.create(NewRun("r", "chain", "f", 1))
    lease = await store.claim("r", "me", ttl=60)
    return RunJournal(store, lease, 0, FLOWS["chain"]().plan)


def test_a_cancelled_flush_ends_when_its_append_has_and_the_next_one_goes_on_from_there() -> None:
    async def main() -> None:
        store = SlowStore()
        journal = await journal_in(store)
        journal.note(GraceOver(1.0))
        first = asyncio.create_task(journal.flush())
        await asyncio.sleep(0.5)
        first.cancel()
        journal.note(GraceOver(2.0))
        await journal.flush()
        assert first.cancelled()
        assert store.most == 1
        assert [record.seq for record in (await store.load("r")).records] == [1, 2]
        assert (journal.durable, journal.noted) == (2, 2)

    run_virtual(main())


def test_nothing_is_written_after_an_append_that_failed() -> None:
    async def main() -> None:
        store = SlowStore(fail_at=1)
        journal = await journal_in(store)
        journal.note(GraceOver(1.0))
        with pytest.raises(JournalError, match="the disk is full"):
            await journal.flush()
        journal.note(GraceOver(2.0))
        with pytest.raises(JournalError, match="the disk is full"):
            await journal.flush()
        assert store.appends == 1
        assert journal.durable == 0

    run_virtual(main())


def test_an_append_that_fails_while_its_flush_is_cancelled_is_told_to_the_next() -> None:
    async def main() -> None:
        journal = await journal_in(SlowStore(fail_at=1))
        journal.note(GraceOver(1.0))
        first = asyncio.create_task(journal.flush())
        await asyncio.sleep(0.5)
        first.cancel()
        await asyncio.wait([first])
        assert first.cancelled()
        journal.note(GraceOver(2.0))
        with pytest.raises(JournalError, match="the disk is full"):
            await journal.flush()

    run_virtual(main())


@pytest.mark.parametrize("n", range(2, 12))
def test_a_watcher_never_hears_of_a_commit_that_is_not_durable(n: int) -> None:
    told: list[str] = []

    async def main(seed: int) -> list[str]:
        """Appends take as long as nodes do, so that one branch commits while what another one wrote is on its way."""
        store, flow = SlowStore(fail_at=n), around_nodes(FLOWS["mapped_flows"](), Schedule(seed, longest=3.0).around)
        watch: Any = (lambda event: told.append(event.path) if isinstance(event, Committed) else None,)
        with contextlib.suppress(JournalError):
            await flow.run(State(), run_id="r", durable=store, resources=Ledger(), watch=watch)
        return [record.body["path"] for record in (await store.load("r")).records if record.kind == "commit"]

    for seed in range(8):
        told.clear()
        durable = run_virtual(main(seed), seed=seed)
        assert set(told) <= set(durable)


def test_a_run_that_was_created_and_never_begun_says_so_and_can_be_begun() -> None:
    async def main() -> Any:
        flow, store = FLOWS["chain"](), MemoryStore(clock=lambda: asyncio.get_running_loop().time())
        with pytest.raises(JournalError):
            await flow.run(State(), run_id="r", durable=FailNth(2).store(store), resources=Ledger())
        await asyncio.sleep(60)
        with pytest.raises(Exception, match=r"Run r was created, but its input was never written down. Begin it with run\("):
            await flow.resume("r", durable=store, resources=Ledger())
        return await flow.run(State(), run_id="r", durable=store, resources=Ledger())

    assert run_virtual(main()).state.n == 3

"""Follow a run that this process, another one or none drives, by the records that are added to it.

Theory of operation. A `RunFollower` keeps the number of the last record that it has read, and reads
those after it again and again. Each record gives its events exactly once, whichever process wrote
it: what an owner that died had not written has not happened, and what it wrote is not written again
by the next owner. It looks when the store says that records came, and every two seconds besides.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from typing import Any, Final

from graphorch.engine.events import RunEvent
from graphorch.engine.recorded_events import EventReader
from graphorch.engine.scheduler import Scheduler
from graphorch.engine.settings import RunSettings
from graphorch.errors import InputError
from graphorch.graph.plan import Plan
from graphorch.journal.records import RunHead
from graphorch.journal.store import Store
from graphorch.runs.clients import ReplayClient
from graphorch.runs.durable import check_head, check_outcome
from graphorch.runs.left_runs import Abandonment, NewsOfRun, find_left_run
from graphorch.runs.migration import MigrationReader
from graphorch.runs.result import Result, build_result
from graphorch.runs.stores import Durable, open_store
from graphorch.statuses import FINAL_STATUSES

_RECORDS_PER_TURN: Final = 50  # are read before other tasks get a turn


class RunFollower:
    """Reads the events of one run as its records come; `head` is the run as it was last seen.

    A run that `is_left` to workers is continued by them for each letter.
    """

    def __init__(self, store: Store, plan: Plan, run_id: str, *, is_left: bool = False) -> None:
        self._store = store
        self._is_left = is_left
        self._plan = plan
        self._run_id = run_id
        self._reader = EventReader(plan, run_id)
        self._migration: MigrationReader | None = None
        self._seq = 0
        self._is_idle = False  # the last look found nothing, so the next one is at the head only
        self._news = NewsOfRun(store, run_id)
        self._abandonment = Abandonment(is_left=is_left)
        self.head: RunHead | None = None

    async def follow(
        self, *, after: int = 0, through_waits: bool = False
    ) -> AsyncGenerator[RunEvent]:
        """Yield the events of all records after a number, until the run is at rest.

        With `through_waits` it also goes on while the run waits. Raises `JournalError` as `load`
        does, `ReplayDiverged`, and `RunAbandoned` if its process ended and none will continue it.
        """
        while True:
            events = await self.look()
            for event in events:
                if getattr(event, "seq", 0) > after:
                    yield event
            if await self.is_at_rest(through_waits=through_waits):
                return
            await self.wait()

    async def look(self) -> list[RunEvent]:
        """Return the events of the records that came since the last look, if any."""
        if self._is_idle and not self._news.has_come:
            self.head = await self._store.read_head(self._run_id)
            check_head(self.head)
            if self.head.last_seq == self._seq:
                return []
        self._news.take()
        log = await self._store.load(self._run_id, after_seq=self._seq)
        self.head = log.head
        check_head(log.head)
        if self._migration is None:
            self._migration = MigrationReader(log.head, self._plan)
        events: list[RunEvent] = []
        for number, record in enumerate(log.records, 1):
            changed = self._migration.read(record)
            if changed is not None:
                is_adopted = self._migration.adopted == record.seq
                events += self._reader.read(changed, is_adopted=is_adopted)
            self._seq = record.seq
            if not number % _RECORDS_PER_TURN:
                await asyncio.sleep(0)
        self._migration.require_readable()
        self._is_idle = True
        return events

    async def is_at_rest(self, *, through_waits: bool = False) -> bool:
        """Return whether nothing more comes until a process resumes the run.

        With `through_waits` a run that waits is not at rest. Raises `JournalDamaged` if its records
        lead to another end than its head says, and `RunAbandoned` if no process will continue it.
        """
        assert self.head is not None
        self._abandonment.check(self.head)
        status = self.head.status
        if status in FINAL_STATUSES:
            check_outcome(self.head, self._reader.replayed)
            return True
        if status == "running" or (through_waits and status == "waiting"):
            return False
        # Its owner looks for letters before it leaves, and a worker comes for each of them.
        return not self.head.is_under_way and not (self._is_left and await self._has_mail())

    async def _has_mail(self) -> bool:
        letters = await self._store.list_letters(self._run_id)
        return any(letter.outcome is None for letter in letters)

    def build_result(self) -> Result[Any, Any]:
        """Return the result of the run as its records left it. Raises `RunFailed`."""
        replayed = self._reader.replayed
        settings = RunSettings(client=ReplayClient(), run_id=self._run_id)
        return build_result(Scheduler.from_records(self._plan, settings, replayed, None))

    async def wait(self) -> None:
        """Wait until there are new records, or it is time to look all the same."""
        await self._news.wait()

    def close(self) -> None:
        """Hear of the run no more."""
        self._news.close()


@asynccontextmanager
async def open_follower(durable: Durable, plan: Plan, run_id: str) -> AsyncGenerator[RunFollower]:
    """Yield a follower of a run, whose journal stays open meanwhile. Raises `JournalError`."""
    async with find_left_run(durable, run_id) as left:
        is_left = left is not None
    async with open_store(durable) as store:
        with closing(RunFollower(store, plan, run_id, is_left=is_left)) as follower:
            yield follower


def check_after(after: object) -> None:
    """Raise `InputError` unless a value can be the number of a record, or 0."""
    if not isinstance(after, int) or isinstance(after, bool) or after < 0:
        raise InputError(
            f"after={after!r:.80} is not the number of a record. Give the `seq` of the last event "
            "that you have seen, or 0 for all events."
        )

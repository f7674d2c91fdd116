"""Runs that are left to workers, from the outside: letters to them, and waiting for them.

No owner is needed for a letter. It is stored, and a job has a worker look at the run, now or once
there is one. So what waits here waits for as long as it takes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from graphorch.journal.records import Letter, NewLetter, RunHead
from graphorch.journal.store import Store
from graphorch.runs.mailbox import read_outcome
from graphorch.runs.stores import open_store
from graphorch.runs.work_queues import find_database, open_queue

if TYPE_CHECKING:
    from graphorch.distributed.placed_runs import PlacedRun
    from graphorch.distributed.work_queue import WorkQueue
    from graphorch.runs.stores import Durable

_FIRST_PAUSE: Final = 0.02  # seconds between two looks, which grow
_LONGEST_PAUSE: Final = 0.5


class LeftRun:
    """A run that workers drive, and its journal."""

    def __init__(self, store: Store, queue: WorkQueue, placed: PlacedRun) -> None:
        self.store = store
        self.run_id = placed.run_id
        self._queue = queue
        self._placed = placed

    async def post(self, letter: NewLetter) -> Letter:
        """Store a letter, and have a worker look at the run."""
        posted = await self.store.post(letter)
        await self._queue.announce(self._placed, f"letter {posted.number}")
        return posted

    async def is_under_way(self) -> bool:
        """Return whether the run goes on, if only once a worker takes it."""
        head = await self.store.read_head(self.run_id)
        return head.status == "running" or head.is_under_way

    async def settle(self, letter: Letter, *, wait: bool) -> None:
        """Return once a worker has taken a letter in, or without `wait` at once.

        Raises the error that it was refused with.
        """
        pauses = _Pauses()
        while wait and not await read_outcome(self.store, letter):
            await pauses.wait()


@asynccontextmanager
async def find_left_run(durable: Durable, run_id: str) -> AsyncGenerator[LeftRun | None]:
    """Yield a run that is left to workers; None for any other run. Raises `JournalError`."""
    if not find_database(durable):
        yield None
        return
    async with open_store(durable) as store:
        queue = await open_queue(store)
        placed = await queue.placed_runs.find(run_id)
        yield None if placed is None else LeftRun(store, queue, placed)


async def wait_for_rest(store: Store, run_id: str) -> RunHead:
    """Return the head of a run once it is over, or waits, or was stopped, with all mail read."""
    pauses = _Pauses()
    while True:
        head = await store.read_head(run_id)
        if head.status != "running" and not head.is_under_way:
            letters = await store.list_letters(run_id)
            if all(letter.outcome is not None for letter in letters):
                return head
        await pauses.wait()


class _Pauses:
    """Pauses between looks at a run, each longer than the one before."""

    def __init__(self) -> None:
        self._next = _FIRST_PAUSE

    async def wait(self) -> None:
        await asyncio.sleep(self._next)
        self._next = min(_LONGEST_PAUSE, 1.3 * self._next)

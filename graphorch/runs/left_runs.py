"""Runs that are left to workers, from the outside: letters to them, and waiting for them.

No owner is needed for a letter. It is stored, and a job has a worker look at the run, now or once
there is one. So what waits here waits for as long as it takes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING, Final

from graphorch.journal.errors import RunAbandoned
from graphorch.journal.records import Letter, NewLetter, RunHead
from graphorch.journal.store import Store
from graphorch.runs.mailbox import read_outcome
from graphorch.runs.stores import open_store
from graphorch.runs.work_queues import find_database, open_queue

if TYPE_CHECKING:
    from graphorch.distributed.placed_runs import PlacedRun
    from graphorch.distributed.work_queue import WorkQueue
    from graphorch.runs.stores import Durable

_FIRST_PAUSE: Final = 0.02  # seconds between two looks at a letter, which grow
_SHORTEST_PAUSE: Final = 0.1  # between two looks at a run, however often records come
_LONGEST_PAUSE: Final = 0.5

_FIRST: Final = 0.02  # seconds between two looks at a run after news, whose lease may end then
_GROWTH: Final = 2.0  # of that, with each look that finds nothing
_LONGEST: Final = 2.0  # an announcement may be lost
_ABANDONED_SECONDS: Final = 5.0  # after the end of a lease


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


async def wait_for_rest(store: Store, run_id: str, *, is_left: bool = True) -> RunHead:
    """Return the head of a run once it is over, or waits, or was stopped, with all mail read.

    Raises `RunAbandoned` if its process ended and none will continue it: that is so for a run that
    is not one that `is_left` to workers. Its mail is read by whoever resumes it.
    """
    abandonment = Abandonment(is_left=is_left)
    with closing(NewsOfRun(store, run_id, shortest=_SHORTEST_PAUSE)) as news:
        while True:
            news.take()
            head = await store.read_head(run_id)
            abandonment.check(head)
            if head.status != "running" and not head.is_under_way:
                if not is_left:
                    return head
                letters = await store.list_letters(run_id)
                if all(letter.outcome is not None for letter in letters):
                    return head
            await news.wait()


class NewsOfRun:
    """Waits for new records of a run, but at least `shortest` seconds between two looks."""

    def __init__(self, store: Store, run_id: str, *, shortest: float = 0.02) -> None:
        self._shortest = shortest
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._end = store.watch_records(run_id, self._news.set)
        self._looked = self._loop.time()
        self._pause = _FIRST

    @property
    def has_come(self) -> bool:
        """Whether records were announced since `take` was called."""
        return self._news.is_set()

    def take(self) -> None:
        """Note that what was announced is about to be read."""
        self._news.clear()

    async def wait(self) -> None:
        """Wait for news, but look now and then all the same."""
        try:
            async with asyncio.timeout(self._pause):
                await self._news.wait()
            self._pause = _FIRST
        except TimeoutError:
            self._pause = min(self._pause * _GROWTH, _LONGEST)
        rest = self._looked + self._shortest - self._loop.time()
        if rest > 0:
            await asyncio.sleep(rest)
        self._looked = self._loop.time()

    def close(self) -> None:
        """Hear of the run no more."""
        self._end()


class Abandonment:
    """Notices that the process of a run has ended, and that none will continue it.

    That is so if its lease ended some seconds ago, and it is not one that `is_left` to workers.
    """

    def __init__(self, *, is_left: bool) -> None:
        self._is_left = is_left
        self._since: float | None = None

    def check(self, head: RunHead) -> None:
        """Raise `RunAbandoned` if a run under way has had no process for some seconds."""
        if self._is_left or head.status != "running" or head.is_under_way:
            self._since = None
            return
        now = asyncio.get_running_loop().time()
        if self._since is None:
            self._since = now
        elif now >= self._since + _ABANDONED_SECONDS:
            raise RunAbandoned(
                f"No process drives run '{head.run_id}' any more: the one that did has ended after "
                f"record {head.last_seq}, and the run is not left to workers. Continue it, for "
                f"example with `graphorch resume FLOW {head.run_id}`, and follow it or wait for it "
                "again."
            )


class _Pauses:
    """Pauses between looks at a run, each longer than the one before."""

    def __init__(self) -> None:
        self._next = _FIRST_PAUSE

    async def wait(self) -> None:
        await asyncio.sleep(self._next)
        self._next = min(_LONGEST_PAUSE, 1.3 * self._next)

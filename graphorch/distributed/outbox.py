"""Jobs of nodes on their way out of a worker, for all runs that it drives.

Rules of this file:

1. Jobs that become ready together go out together.
2. A job that the engine does not know any more, and that has no result, is put again.
3. A job whose result is here is taken out of the queue soon: the worker that has it may be dead or
   stopped, and another one would do it again.
4. What is not wanted any more is withdrawn: a job that waits is deleted, and a worker that has it
   is asked to end it.
5. While another worker may have taken over the runs, nothing is put: it would be done twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

from graphorch.distributed.certainty import Certainty, always_certain, wait_until
from graphorch.distributed.engine import Engine, Job
from graphorch.distributed.errors import EngineUnavailable
from graphorch.distributed.node_messages import CANCEL, CallKey
from graphorch.distributed.results import Note, Results, Take
from graphorch.journal.errors import StoreUnavailable

T = TypeVar("T")

_LOG = logging.getLogger(__name__)
LOOK_SECONDS: Final = 3.0  # between two looks at what is out
_TIDY_SECONDS: Final = 0.5  # between two looks at what is done: no engine repeats a job so soon
_PAUSES: Final = (0.1, 0.3, 1.0)  # seconds before a server is tried again; the last repeats
_FAREWELL: Final = 5.0  # seconds for the last calls


@dataclass(slots=True)
class _Out:
    """A job that has no result yet; `missed` says that the last look did not find it."""

    job: Job
    missed: bool = False


class Outbox:
    """Puts the jobs of nodes, watches over them, and withdraws them."""

    def __init__(
        self, engine: Engine, results: Results, may_begin: Certainty = always_certain
    ) -> None:
        self._may_begin = may_begin
        self.engine = engine
        self.results = results
        self._out: dict[str, _Out] = {}
        self._to_put: list[Job] = []
        self._to_withdraw: list[CallKey] = []
        self._to_forget: list[str] = []
        self._to_drop: dict[str, list[str]] = {}
        self._has_work = asyncio.Event()

    @asynccontextmanager
    async def work(self) -> AsyncGenerator[None]:
        """Put and watch jobs for as long as the block lasts."""
        async with asyncio.TaskGroup() as group:
            works = (self._send(), self._tidy(), self._look())
            tasks = [group.create_task(work) for work in works]
            try:
                yield
                # All of it is hints: a server that is away does not hold the worker back.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_FAREWELL):
                        await self._send_all()
                        await self._forget_all()
            finally:
                for task in tasks:
                    task.cancel()

    def put(self, job: Job) -> None:
        """Put a job soon, and again whenever it is lost, until it is settled."""
        self._out[job.key] = _Out(job)
        self._to_put.append(job)
        self._has_work.set()

    def settle(self, key: CallKey) -> None:
        """Forget a job whose result is here."""
        self._out.pop(key.job, None)

    def forget(self, key: CallKey) -> None:
        """Take a job whose result is here out of the queue soon."""
        self._to_forget.append(key.job)

    def withdraw(self, key: CallKey) -> None:
        """Take a job back, and ask a worker that has it to end it."""
        self._out.pop(key.job, None)
        self._to_withdraw.append(key)
        self._has_work.set()

    def drop_later(self, run: str, keys: Collection[str]) -> None:
        """Delete notes to the owner of a run, with the next look."""
        self._to_drop.setdefault(run, []).extend(keys)

    def count_out(self) -> Mapping[str, int]:
        """Return how many jobs of each kind have no result yet."""
        return Counter(out.job.kind for out in self._out.values())

    # ---- at the servers, however long they are away ----------------------------------------------
    async def list_alive(self, keys: Collection[str]) -> frozenset[str]:
        """Return those of some keys that have a job which waits or is handled."""
        return await _repeat(lambda: self.engine.list_alive(keys))

    async def ask_alive(self, keys: Collection[str]) -> frozenset[str] | None:
        """Return what `list_alive` does; None if the engine does not answer."""
        try:
            return await self.engine.list_alive(keys)
        except EngineUnavailable as error:
            _LOG.warning("%s", error)
            return None

    async def watch(self, topic: str, take: Take) -> None:
        """Give the notes of a topic to a function, those that are there first."""
        await _repeat(lambda: self.results.watch(topic, take))

    async def post(self, note: Note) -> bool:
        """Store a note."""
        return await _repeat(lambda: self.results.post(note))

    async def drop(self, run: str) -> None:
        """Delete the notes of a run, and the jobs that are done; what is cancelled hears of it."""
        await self._forget_all()
        self._to_drop.pop(run, None)
        await _repeat(lambda: self.results.drop(run))

    # ---- in the background -----------------------------------------------------------------------
    async def _send(self) -> None:
        while True:
            await self._has_work.wait()
            self._has_work.clear()
            await self._send_all()

    async def _send_all(self) -> None:
        await wait_until(self._may_begin)
        jobs, self._to_put = self._to_put, []
        jobs = [job for job in jobs if job.key in self._out]  # others were withdrawn meanwhile
        if jobs:
            await _repeat(lambda: self.engine.put(jobs))
        keys, self._to_withdraw = self._to_withdraw, []
        if keys:
            await _repeat(lambda: self.engine.cancel([key.job for key in keys]))
            notes = [Note(key.run, key.job, CANCEL, b"") for key in keys]
            await asyncio.gather(*map(self.post, notes))

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(_TIDY_SECONDS)
            await self._forget_all()

    async def _forget_all(self) -> None:
        keys, self._to_forget = self._to_forget, []
        if keys:
            await _repeat(lambda: self.engine.forget(keys))

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            # What does not succeed now does with a later look.
            with contextlib.suppress(EngineUnavailable, StoreUnavailable):
                await self._put_lost()
                while self._to_drop:
                    run, keys = self._to_drop.popitem()
                    await self.results.drop(run, keys)

    async def _put_lost(self) -> None:
        """Put the jobs again that two looks have not found: a result takes a moment to arrive."""
        watched = dict(self._out)
        if not watched:
            return
        alive = await self.engine.list_alive(list(watched))
        lost: list[Job] = []
        for key, out in watched.items():
            if key in alive or self._out.get(key) is not out:
                out.missed = False
            elif not out.missed:
                out.missed = True
            else:
                lost.append(out.job)
        if lost and self._may_begin():
            _LOG.warning("%d jobs of nodes were lost, and are put again", len(lost))
            await self.engine.put(lost)


async def _repeat(work: Callable[[], Awaitable[T]]) -> T:
    """Do something at a server until it answers, and return what it said."""
    failures = 0
    while True:
        try:
            return await work()
        except (EngineUnavailable, StoreUnavailable) as error:
            pause = _PAUSES[min(failures, len(_PAUSES) - 1)]
            failures += 1
            _LOG.warning("%s Trying again in %g s.", error, pause)
            await asyncio.sleep(pause)

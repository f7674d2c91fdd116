"""Claims jobs, keeps them while they are handled, and ends them: all of it on the engine's loop.

Theory of operation. One connection sends the statements of all services, another one listens. These
tasks begin with the first service and end with the last:

    claim    takes jobs for services with free slots: after a notification of new jobs, when a slot
             becomes free while more jobs wait, and at the moment at which a delayed job may begin
             or the heartbeat of a job is too old. An idle process asks once a second for the next
             such moment.
    beat     renews the heartbeats of the jobs that are held, three times per `timeout`.
    settle   deletes jobs that have ended, and gives back those that are not handled here.
    listen   waits for notifications.
    prune    deletes old lines of PgQueuer's log.

PgQueuer's own loop would do the first three, but dies with its connection, sends four statements
per look at an idle queue, and beats on the loop of the handlers.

Rules:

1. A statement that fails because the server is away is sent again until it is back. What is held
   goes on meanwhile.
2. When a server is back, all heartbeats are old and do not say who lives. So no process takes jobs
   of others before each had a `timeout` to renew its own.
3. Only the manager that claimed a job last ends it or gives it back (see `statements`), so a
   process that was taken for dead cannot delete the job of its successor. It goes on with its own
   work, however: the epoch of the run and the table of results decide which of both counts, and a
   process that they refuse exits. What the queue lost is put again by the workers' reconciler.
4. A job is certainly held for almost `timeout` after its last heartbeat was sent. A process that
   was stopped for longer asks before it begins a job.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

from graphorch.distributed.errors import EngineError, EngineNotReady
from graphorch.distributed.pgqueuer import statements
from graphorch.distributed.pgqueuer.connection import Connection
from graphorch.distributed.pgqueuer.listener import Listener
from graphorch.distributed.pgqueuer.queries import Queries, read_claim
from graphorch.distributed.pgqueuer.service import GIVEN_BACK, Service

_LOG = logging.getLogger("graphorch.distributed")

_POLL = 1.0  # seconds between two looks at an idle queue
_PAUSE = 0.25  # seconds until a server that is away is asked again
_BREATH = 0.05  # seconds until a job is asked for again that another process locks
_REST = 0.25  # seconds between two questions for the next moment of a service that is busy
_BATCH = 100  # jobs that one statement claims
_FAREWELL = 5.0  # seconds in which the ends of the last jobs have to arrive
_PRUNED = 60.0  # seconds between two prunings of the log
_NEVER = timedelta(days=36_500)
_CERTAIN = 0.9  # the part of `timeout` for which a job is held: clocks differ in their speed


class Dispatcher:
    """Serves the services of one process."""

    def __init__(self, connection: Connection, queries: Queries, timeout: float) -> None:
        self._connection = connection
        self._queries = queries
        self._timeout = timeout
        self._listener = Listener(connection.server, self._hint)
        self._services: list[Service] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._membership = asyncio.Lock()
        self._taking = asyncio.Lock()
        self._ending = asyncio.Lock()
        self._hinted = asyncio.Event()  # there may be jobs to claim
        self._ended = asyncio.Event()  # there are jobs to end
        self._generation = 0  # of the connection whose heartbeats were renewed first
        self._quiet_until = 0.0  # the loop's time until which old heartbeats say nothing
        self._is_away = False
        # in the loop's time: when the next moments were asked for last, and will be
        self._asked, self._next_question = -math.inf, 0.0

    # ---------------------------------------------------------------- services

    async def add(self, service: Service) -> None:
        """Begin to serve. Raises `EngineError` if the queue or its notifications do not work."""
        async with self._membership:
            await self._connection.fetch(statements.FIND_DUE, service.kinds, self._patience())
            if not self._tasks:
                self._begin()
            try:
                await self._listener.check(self._connection)
            except EngineError:
                await self._end_if_idle()
                raise
            service.is_claiming = True
            self._services.append(service)
            self._hint()

    def stop(self, service: Service) -> None:
        """Claim no more jobs for a service."""
        service.is_claiming = False

    async def remove(self, service: Service) -> None:
        """Send the ends of the last jobs of a service that claims no more, and forget it."""
        async with self._membership:
            with suppress(TimeoutError):
                async with asyncio.timeout(_FAREWELL):
                    await self._finish(service)
            self._forget(service)
            await self._end_if_idle()

    def settle(self, service: Service, ended: Sequence[tuple[int, str]]) -> None:
        """Take the numbers of jobs that ended and how, which frees their slots."""
        for number, _ in ended:
            service.renewed.pop(service.running.pop(number, ""), None)
        service.ended.extend(ended)
        self._ended.set()
        if service.is_backlogged:
            self._hint()

    def is_held(self, key: str) -> bool:
        """Return whether a job is certainly that of this process; any thread may ask."""
        seconds = self._timeout * _CERTAIN
        return any(service.is_held(key, seconds) for service in tuple(self._services))

    async def keep(self, key: str) -> bool:
        """Renew the heartbeat of a job, and return whether this process still holds it."""
        for service in self._services:
            numbers = [number for number, other in service.running.items() if other == key]
            if numbers and await self._renew_jobs(service, numbers):
                return True
        return False

    async def close(self) -> None:
        """End all tasks."""
        self._services.clear()
        await self._end_if_idle()

    async def _finish(self, service: Service) -> None:
        async with self._taking:  # a claim under way, whose jobs have to go back as well
            pass
        while service.running or service.ended:
            await self._settle(service)
            await asyncio.sleep(0.005)  # until the loop of the service reports the last ones
        async with self._ending:  # a statement under way
            pass

    def _begin(self) -> None:
        works = (self._claim(), self._beat(), self._settle_all(), self._listener.run())
        self._tasks = [asyncio.create_task(work) for work in (*works, self._prune())]

    async def _end_if_idle(self) -> None:
        if not self._services:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._tasks = []

    def _forget(self, service: Service) -> None:
        if service in self._services:
            self._services.remove(service)

    def _fail(self, error: EngineError) -> None:
        for service in list(self._services):
            service.is_claiming = False
            service.post(service.fail, error)

    def _hint(self) -> None:
        self._hinted.set()

    # ---------------------------------------------------------------- claim

    async def _claim(self) -> None:
        due: Iterable[Service] = ()
        moments: dict[Service, float] = {}
        loop = asyncio.get_running_loop()
        while True:
            is_hinted, began = await self._wait(moments), loop.time()
            due = self._services if is_hinted else [s for s in moments if moments[s] <= began]
            try:
                await self._renew_first()
                for service in list(due):
                    async with self._taking:
                        await self._take(service)
                moments = await self._find_moments(moments)
                self._is_away = False
            except EngineNotReady as error:
                self._fail(error)
                return
            except EngineError as error:
                self._warn(error)
                await asyncio.sleep(_PAUSE)
                self._hint()

    async def _wait(self, moments: dict[Service, float]) -> bool:
        """Wait for a hint or the first moment; return whether there was a hint."""
        now = asyncio.get_running_loop().time()
        wait = max(min([self._next_question, *moments.values()]) - now, _BREATH)
        with suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._hinted.wait()
        is_hinted = self._hinted.is_set()
        self._hinted.clear()
        return is_hinted

    async def _renew_first(self) -> None:
        """On a new connection, renew the heartbeats before anything else."""
        generation = await self._connection.open()
        if generation == self._generation:
            return
        now = asyncio.get_running_loop().time()
        # The first connection of this process may be one to a server that has just begun.
        left = self._timeout - (self._connection.server_age if self._generation == 0 else 0.0)
        self._quiet_until = max(self._quiet_until, now + left)
        self._generation = generation
        await self._renew()

    def _patience(self) -> timedelta:
        """Return how old a heartbeat is at least if its process is taken for dead."""
        is_quiet = asyncio.get_running_loop().time() < self._quiet_until
        return _NEVER if is_quiet else timedelta(seconds=self._timeout)

    async def _take(self, service: Service) -> None:
        while service.is_claiming:
            free = service.slots - len(service.running)
            # First half of the slots: a burst of jobs is shared by the workers that it wakes.
            size = min(free if service.is_backlogged else (free + 1) // 2, _BATCH)
            service.is_backlogged = True
            if size <= 0:
                return
            query = self._queries.claim(service.kinds, size, service.manager, self._patience())
            sent = time.monotonic()
            # Once only: on a new connection, heartbeats are renewed before.
            rows = await self._connection.fetch_once(query[0], *query[1])
            # Late heartbeats let a process take its own jobs once more.
            claims = [read_claim(row) for row in rows if row["id"] not in service.claimed]
            service.claimed.update(claim.id for claim in claims)
            service.running |= {claim.id: claim.job.key for claim in claims}
            service.renewed |= {claim.job.key: sent for claim in claims}
            if not service.post(service.start, claims):  # its loop was closed: others may do them
                service.is_claiming = False
                self.settle(service, [(number, GIVEN_BACK) for number in service.running])
                return
            if len(rows) < size:
                service.is_backlogged = False
                return

    async def _find_moments(self, known: dict[Service, float]) -> dict[Service, float]:
        """Return the loop's time at which each service with free slots has something to do.

        The question costs more than a claim while many jobs wait. So a process that gets one hint
        after the other asks it now and then only, and looks at once for jobs in between.
        """
        idle = [s for s in self._services if s.is_claiming and len(s.running) < s.slots]
        if not idle or self._hinted.is_set():
            self._next_question = asyncio.get_running_loop().time() + _POLL
            return {}
        now = asyncio.get_running_loop().time()
        if now < self._asked + _REST:
            self._next_question = self._asked + _REST
            return {s: known[s] for s in idle if known.get(s, now) > now}
        self._asked, self._next_question = now, now + _POLL
        kinds = sorted({kind for service in idle for kind in service.kinds})
        rows = await self._connection.fetch(statements.FIND_DUE, kinds, self._patience())
        now = asyncio.get_running_loop().time()
        moments = {row["kind"]: now + row["seconds"] for row in rows if row["seconds"] is not None}
        return {
            service: min(found)
            for service in idle
            if (found := [moments[kind] for kind in service.kinds if kind in moments])
        }

    # ---------------------------------------------------------------- keep and end

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._timeout / 3)
            # The task that claims says so if the server is away.
            with suppress(EngineError):
                await self._renew()

    async def _renew(self) -> None:
        for service in list(self._services):
            claimed = set(service.claimed)
            if not claimed or service.loop.is_closed():
                continue
            kept = await self._renew_jobs(service, claimed)
            lost = (claimed & service.running.keys()) - kept
            if lost - service.lost:
                _LOG.warning(
                    "%d jobs of this process were given to another one, since their heartbeats "
                    "were late, or are done. They go on here; the journal decides what counts.",
                    len(lost - service.lost),
                )
            service.lost = lost

    async def _renew_jobs(self, service: Service, numbers: Collection[int]) -> set[int]:
        """Renew the heartbeats of some jobs, and return those that are still held."""
        sent = time.monotonic()
        rows = await self._connection.fetch(statements.BEAT, list(numbers), service.manager)
        kept = {row["id"] for row in rows}
        service.renewed |= {service.running[id]: sent for id in kept if id in service.running}
        return kept

    async def _settle_all(self) -> None:
        while True:
            await self._ended.wait()
            self._ended.clear()
            for service in list(self._services):
                await self._settle(service)

    async def _settle(self, service: Service) -> None:
        """End jobs in the queue, as soon as the server is there."""
        while service.ended:
            async with self._ending:
                ended, service.ended = service.ended, []
                try:
                    await self._send_ended(service, ended)
                    service.claimed.difference_update(number for number, _ in ended)
                except EngineNotReady:
                    return  # the tables are gone, and the jobs with them
                except BaseException as error:
                    service.ended = [*ended, *service.ended]
                    if not isinstance(error, EngineError):
                        raise
                    self._warn(error)
            if service.ended:
                await asyncio.sleep(_PAUSE)

    async def _send_ended(self, service: Service, ended: Sequence[tuple[int, str]]) -> None:
        over = [(number, how) for number, how in ended if how != GIVEN_BACK]
        back = [number for number, how in ended if how == GIVEN_BACK]
        fetch: Any = self._connection.fetch
        if over:
            numbers, how = zip(*over, strict=True)
            await fetch(statements.FINISH, list(numbers), list(how), service.manager)
        if back:
            await fetch(statements.GIVE_BACK, back, service.manager)

    async def _prune(self) -> None:
        while True:
            await asyncio.sleep(_PRUNED)
            with suppress(EngineError):
                await self._connection.fetch(statements.PRUNE_LOG)

    def _warn(self, error: EngineError) -> None:
        if not self._is_away:
            self._is_away = True
            _LOG.warning("%s Serving goes on when it is back.", error)

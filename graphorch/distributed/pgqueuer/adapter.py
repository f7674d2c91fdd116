"""The engine on PgQueuer's tables: `PgQueuerEngine.open(url)`.

A process has one of them. It has a thread with an event loop of its own, on which all statements
are sent (see `dispatcher`), and one connection, or two while it serves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from contextlib import suppress

from graphorch.distributed.engine import Handler, Job, QueueHealth, check_service
from graphorch.distributed.errors import EngineClosed
from graphorch.distributed.loop_thread import LoopThread
from graphorch.distributed.pgqueuer import statements
from graphorch.distributed.pgqueuer.connection import Connection, Server
from graphorch.distributed.pgqueuer.dispatcher import Dispatcher
from graphorch.distributed.pgqueuer.queries import Queries, shorten
from graphorch.distributed.pgqueuer.service import Service
from graphorch.errors import InputError

_FAREWELL = 10.0  # seconds in which handlers have to end that are cancelled when this is closed


class PgQueuerEngine:
    """Hands jobs to workers by way of PostgreSQL."""

    def __init__(self, server: Server, timeout: float) -> None:
        self._thread = LoopThread("graphorch-jobs")
        self._connection = Connection(server)
        self._queries = Queries()
        self._dispatcher = Dispatcher(self._connection, self._queries, timeout)
        self._services: set[Service] = set()
        self._is_checked = False

    @classmethod
    async def open(cls, url: str, *, timeout: float = 3.0) -> PgQueuerEngine:
        """Connect to the queue in a database that `install_queue` prepared.

        A worker that is not heard of for `timeout` seconds is taken for dead, and its jobs are
        handed out again.

        Raises `EngineUnavailable` if the server does not answer, `EngineNotReady` without tables,
        and `InputError` for what is not a URL.
        """
        engine = cls.prepare(url, timeout=timeout)
        try:
            await engine.check()
        except BaseException:
            await engine.close()
            raise
        return engine

    @classmethod
    def prepare(cls, url: str, *, timeout: float = 3.0) -> PgQueuerEngine:
        """Return an engine that connects at its first call. Raises `InputError`, see `open`."""
        if not timeout > 0:
            raise InputError(f"A timeout of {timeout} s is not possible. Give seconds above 0.")
        return cls(Server(url), timeout)

    async def check(self) -> None:
        """Raise `EngineUnavailable` or `EngineNotReady` unless the queue can be used.

        It asks the server once.
        """
        if not self._is_checked:
            await self._thread.call(self._connection.fetch(statements.CHECK))
            self._is_checked = True

    async def put(self, jobs: Sequence[Job]) -> None:
        """Add jobs; one whose key is alive already is left out."""
        await self._thread.call(self._put(list(jobs)))

    async def serve(self, kinds: Collection[str], slots: int, handler: Handler) -> None:
        """Handle jobs of these kinds, at most `slots` at once, until this is cancelled."""
        check_service(kinds, slots)
        dispatcher, thread = self._dispatcher, self._thread
        service = Service(
            kinds,
            slots,
            handler,
            lambda service, ended: thread.post(dispatcher.settle, service, ended),
        )
        self._services.add(service)
        try:
            await thread.call(dispatcher.add(service))
            await service.failed
        finally:
            service.stop()
            thread.post(dispatcher.stop, service)
            try:
                await self._end(service)
            finally:
                self._services.discard(service)
                service.over.set_result(None)

    async def cancel(self, keys: Collection[str]) -> None:
        """Withdraw jobs that have not begun; the others go on."""
        found = [shorten(key) for key in keys]
        await self._thread.call(self._connection.fetch(statements.CANCEL, found))

    async def forget(self, keys: Collection[str]) -> None:
        """Withdraw jobs that are done, also those that a worker has."""
        found = [shorten(key) for key in keys]
        await self._thread.call(self._connection.fetch(statements.FORGET, found))

    async def list_alive(self, keys: Collection[str]) -> frozenset[str]:
        """Return those of some keys that have a job which waits or is handled."""
        by_short = {shorten(key): key for key in keys}
        call = self._connection.fetch(statements.LIST_ALIVE, list(by_short))
        return frozenset(by_short[row["dedupe_key"]] for row in await self._thread.call(call))

    def is_held(self, key: str) -> bool:
        """Return whether the job is certainly that of this worker; any thread may ask."""
        return self._dispatcher.is_held(key)

    async def keep(self, key: str) -> bool:
        """Return whether the job is still that of this worker; ask the server if need be."""
        return self.is_held(key) or await self._thread.call(self._dispatcher.keep(key))

    async def read_health(self) -> Sequence[QueueHealth]:
        """Return how many jobs of each kind there are, in the order of the kinds' names."""
        rows = await self._thread.call(self._connection.fetch(statements.READ_HEALTH))
        return [QueueHealth(**row) for row in rows]

    async def close(self) -> None:
        """Release all connections; jobs stay. A call that serves ends with `EngineClosed`.

        Its handlers are cancelled, and their jobs wait again.
        """
        if not self._thread.is_open:
            return
        under_way = [
            asyncio.wrap_future(service.over)
            for service in list(self._services)
            if service.post(service.fail, EngineClosed("The engine was closed while it served."))
        ]
        if under_way:
            await asyncio.wait(under_way, timeout=_FAREWELL)
        await self._thread.call(self._close())
        await self._thread.close()

    async def _put(self, jobs: Sequence[Job]) -> None:
        for statement, values in self._queries.put(jobs):
            await self._connection.fetch(statement, *values)

    async def _close(self) -> None:
        await self._dispatcher.close()
        await self._connection.close()

    async def _end(self, service: Service) -> None:
        """Wait for the handlers and for their ends; a cancellation meanwhile cancels them."""
        ending = asyncio.ensure_future(self._drain(service))
        is_cancelled = False
        while not ending.done():
            try:
                await asyncio.wait([ending])
            except asyncio.CancelledError:
                is_cancelled = True
                service.cancel_handlers()
        if is_cancelled:
            raise asyncio.CancelledError
        ending.result()

    async def _drain(self, service: Service) -> None:
        await service.join()
        with suppress(EngineClosed):
            await self._thread.call(self._dispatcher.remove(service))

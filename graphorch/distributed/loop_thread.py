"""An event loop on a thread of its own, whose heartbeats no node of the worker can block."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

from graphorch.clock import outside
from graphorch.distributed.errors import EngineClosed

T = TypeVar("T")

_CLOSED = "The engine was closed, so it accepts no calls. Open it again."
_FORKED = (
    "The engine was opened by process {opener}, of which this one is a fork. A fork cannot use the "
    "connections and threads of its parent: open the engine again here."
)


class LoopThread:
    """Runs coroutines on an event loop of its own, until it is closed."""

    def __init__(self, name: str) -> None:
        # psycopg waits with `add_reader`, which the default loop of Windows does not have.
        self._loop = asyncio.SelectorEventLoop()
        self._calls: set[Future[Any]] = set()
        self._lock = threading.Lock()
        self._is_closed = False
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    @property
    def is_open(self) -> bool:
        """Return whether calls are accepted."""
        return self._find_problem() is None

    async def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what a coroutine returns that runs over there.

        A caller that is cancelled stops waiting; the work goes on. Raises `EngineClosed`.
        """
        if problem := self._find_problem():
            work.close()
            raise EngineClosed(problem)
        with self._lock:
            if self._is_closed:
                work.close()
                raise EngineClosed(_CLOSED)
            call = asyncio.run_coroutine_threadsafe(work, self._loop)
            self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        with outside(asyncio.get_running_loop()):
            return await asyncio.shield(asyncio.wrap_future(call))

    def post(self, call: Callable[..., object], *arguments: Any) -> None:
        """Call a function over there soon; do nothing once this is closed."""
        if self._find_problem() is None:
            with suppress(RuntimeError):  # closed by another thread
                self._loop.call_soon_threadsafe(call, *arguments)

    async def close(self) -> None:
        """Refuse calls, wait for earlier ones, end the thread; a fork leaves it to its parent."""
        if self._find_problem() is not None:
            return
        with self._lock:
            self._is_closed = True
            calls = [asyncio.wrap_future(call) for call in self._calls]
        with outside(asyncio.get_running_loop()):
            await asyncio.gather(*calls, return_exceptions=True)
            self._loop.call_soon_threadsafe(self._loop.stop)
            await asyncio.to_thread(self._thread.join)
        self._loop.close()

    def _find_problem(self) -> str | None:
        # A lock that another thread held at the fork is never released: look before taking it.
        if os.getpid() != self._process:
            return _FORKED.format(opener=self._process)
        return _CLOSED if self._is_closed else None

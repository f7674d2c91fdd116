"""Threads for functions that are not async: as many as there are concurrent calls, up to a limit.

They are kept for the next call. They are daemons: a thread cannot be stopped, and one that hangs in
a user's function must not keep the program from ending.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from graphorch.clock import outside
from graphorch.errors import as_failure

Job = tuple[Callable[[], Any], asyncio.AbstractEventLoop, "asyncio.Future[Any]"]


class ThreadPool:
    """Runs functions of users beside the event loop; `close` lets idle threads end."""

    def __init__(self, limit: int = 64) -> None:
        self._limit = limit
        self._jobs: deque[Job] = deque()
        self._ready = threading.Condition()
        self._idle = 0
        self._count = 0
        self._closed = False

    async def call(self, fn: Callable[..., Any], *arguments: Any) -> Any:
        """Return what the function returns. Cancelling the wait leaves the function running."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        context = contextvars.copy_context()
        with outside(loop):
            self._submit((lambda: context.run(fn, *arguments), loop, future))
            return await future

    def _submit(self, job: Job) -> None:
        with self._ready:
            self._jobs.append(job)
            if self._idle < len(self._jobs) and self._count < self._limit:
                self._count += 1
                threading.Thread(
                    target=self._work, name=f"graphorch-{self._count}", daemon=True
                ).start()
            self._ready.notify()

    def close(self) -> None:
        """Let every thread end when it becomes idle."""
        with self._ready:
            self._closed = True
            self._ready.notify_all()

    def _work(self) -> None:
        self._count_idle()
        while True:
            with self._ready:
                while not self._jobs:
                    if self._closed:
                        self._count -= 1
                        return
                    self._ready.wait()
                self._idle -= 1
                call, loop, future = self._jobs.popleft()
            value, error = _call(call)
            # Before the caller has the result, so that its next call finds this thread idle.
            self._count_idle()
            _deliver(loop, future, value, error)
            # An idle thread must not keep the arguments and the result alive.
            del call, loop, future, value, error

    def _count_idle(self) -> None:
        with self._ready:
            self._idle += 1


async def run_in_thread(fn: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a function returns, which runs in a thread of its own.

    Unlike `asyncio.to_thread`, as many calls as there are run at once, and the end of the program
    does not wait for one that hangs.
    """
    threads = ThreadPool(limit=1)
    try:
        return await threads.call(fn, *arguments)
    finally:
        threads.close()


def _call(call: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    try:
        return call(), None
    except StopIteration as raised:
        # A future cannot hold it.
        error = RuntimeError(f"the function raised StopIteration: {raised}")
        error.__cause__ = raised
        return None, error
    # The border to the user's function. What would end this thread or the loop is its failure.
    except BaseException as raised:
        return None, as_failure(raised) or raised


def _deliver(
    loop: asyncio.AbstractEventLoop,
    future: asyncio.Future[Any],
    value: Any,
    error: BaseException | None,
) -> None:
    try:
        loop.call_soon_threadsafe(_resolve, future, value, error)
    except RuntimeError:
        return  # the loop is gone, and its waiting callers with it


def _resolve(future: asyncio.Future[Any], value: Any, error: BaseException | None) -> None:
    if future.done():
        return  # the wait was cancelled: the result is dropped
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(value)

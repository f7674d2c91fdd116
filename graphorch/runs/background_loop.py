"""An event loop on a thread of its own, for callers that have none.

Those are `run_sync`, and hosts that already run a loop: a loop is never patched or entered twice.
The thread is a daemon; it starts at the first use and lives as long as the process. A forked child
has a loop of its own: threads do not come along.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import Future, wait
from contextlib import suppress
from functools import cache
from typing import Any, Final, Generic, TypeVar

from graphorch.errors import InputError

T = TypeVar("T")

_STOP_SECONDS: Final = 10  # how long an interrupted caller waits for its coroutine to end


class BackgroundLoop:
    """An event loop that runs on its own thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="graphorch-loop", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        """Run the loop for as long as the process lives.

        A task of a user's function that raises `SystemExit` or `KeyboardInterrupt` ends a loop, and
        so does a call of its `stop`. Others run here too, so it goes on.
        """
        while not self.loop.is_closed():
            with suppress(SystemExit, KeyboardInterrupt):
                self.loop.run_forever()

    @property
    def is_here(self) -> bool:
        """Whether the caller runs on this loop's thread."""
        return threading.current_thread() is self._thread

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Start a coroutine on the loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Return the coroutine's result.

        An interrupt of the caller (Ctrl-C), at any moment, cancels the coroutine, and is
        raised once nothing of it runs any more. Raises `InputError` when called from the loop's own
        thread, where waiting would never end.
        """
        if self.is_here:
            coroutine.close()
            raise InputError(
                "run_sync() was called by a node, on the engine's own loop, and would wait for "
                "itself. Use `await flow.run(…)` there."
            )
        call = _Call(coroutine)
        try:
            # Handing over is inside: the loop may run the coroutine before this call returns, and
            # an interrupt that comes meanwhile must not leave it running.
            self.loop.call_soon_threadsafe(call.start)
            return call.future.result()
        except BaseException:
            if not call.future.done():
                self.loop.call_soon_threadsafe(call.cancel)
                # Its outcome does not matter, only its end: the caller gets the interrupt.
                wait([call.future], timeout=_STOP_SECONDS)
            raise


class _Call(Generic[T]):
    """A coroutine that a thread waits for, and the future of its outcome.

    It exists before the loop hears of it, so that it can be cancelled whether or not the loop has
    it yet. Its methods run on the loop, `cancel` never before a `start` that was handed over.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self.future: Future[T] = Future()
        self._coroutine = coroutine
        self._task: asyncio.Task[T] | None = None

    def start(self) -> None:
        """Run the coroutine as a task."""
        self._task = asyncio.get_running_loop().create_task(self._coroutine)
        self._task.add_done_callback(self._resolve)

    def cancel(self) -> None:
        """Cancel the task, or close the coroutine if the loop never got it."""
        if self._task is not None:
            self._task.cancel()
            return
        self._coroutine.close()
        self._resolve_as_cancelled()

    def _resolve(self, task: asyncio.Task[T]) -> None:
        if task.cancelled():
            self._resolve_as_cancelled()
        elif (error := task.exception()) is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(task.result())

    def _resolve_as_cancelled(self) -> None:
        self.future.cancel()
        self.future.set_running_or_notify_cancel()  # wakes those who wait


def background_loop() -> BackgroundLoop:
    """Return the background loop of this process."""
    return _background_loop_of(os.getpid())


# The loop of a parent is kept: closing it would reach into what both processes share.
@cache
def _background_loop_of(process: int) -> BackgroundLoop:
    return BackgroundLoop()

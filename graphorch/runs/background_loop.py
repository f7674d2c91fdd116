"""An event loop on a thread of its own, for callers that have none.

Those are `run_sync`, and hosts that already run a loop: a loop is never patched or entered twice.
The thread is a daemon; it starts at the first use and lives as long as the program.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future, wait
from functools import cache
from typing import Any, Final, TypeVar

from graphorch.errors import InputError

T = TypeVar("T")

_STOP_SECONDS: Final = 10  # how long an interrupted caller waits for its coroutine to end


class BackgroundLoop:
    """An event loop that runs on its own thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self.loop.run_forever, name="graphorch-loop", daemon=True
        )
        self._thread.start()

    @property
    def is_here(self) -> bool:
        """Whether the caller runs on this loop's thread."""
        return threading.current_thread() is self._thread

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Start a coroutine on the loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Return the coroutine's result.

        An interrupt of the caller (Ctrl-C) cancels the coroutine, and is raised once nothing of it
        runs any more. Raises `InputError` when called from the loop's own thread, where waiting
        would never end.
        """
        if self.is_here:
            coroutine.close()
            raise InputError(
                "run_sync() was called by a node, on the engine's own loop, and would wait for "
                "itself. Use `await flow.run(…)` there."
            )
        future = self.submit(coroutine)
        try:
            return future.result()
        except KeyboardInterrupt:
            future.cancel()
            # Its outcome does not matter, only that it has ended: the caller gets the interrupt.
            wait([future], timeout=_STOP_SECONDS)
            raise


@cache
def background_loop() -> BackgroundLoop:
    """Return the background loop of this process."""
    return BackgroundLoop()

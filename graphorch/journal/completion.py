"""The outcome of an append that may still be running: an awaitable that cannot be cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from graphorch.journal.errors import StoreUnavailable


class Completion(asyncio.Future[None]):
    """Future that is done once the work has ended.

    A task that awaits it and is cancelled meanwhile is cancelled when the work has ended, not
    before. So no task continues without knowing whether its commit was made, and none needs a
    shield around the await.
    """

    def cancel(self, msg: Any | None = None) -> bool:
        """Do nothing: the work goes on. A task that awaits this remembers that it was cancelled."""
        return False

    @classmethod
    def of(cls, work: Coroutine[Any, Any, None]) -> Completion:
        """Run a coroutine in a task of its own and return its completion."""
        completion = cls(loop=asyncio.get_running_loop())
        asyncio.ensure_future(work).add_done_callback(completion._take)
        return completion

    def _take(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            self.set_exception(
                StoreUnavailable("The call was cancelled before it was complete. Repeat it.")
            )
        elif error := task.exception():
            self.set_exception(error)
        else:
            self.set_result(None)

"""How something that was begun ends, for whoever has to know it in any case."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from graphorch.journal.errors import StoreUnavailable


class Completion(asyncio.Future[None]):
    """Set once the work has ended. Whoever awaits it and is cancelled meanwhile is cancelled when it has ended, and not before.

    So nobody goes on without knowing what became of a commit, and no task has to shield another one for that.
    """

    def cancel(self, msg: Any | None = None) -> bool:
        """Does nothing: what was begun goes on. A task that awaits this remembers that it was cancelled."""
        return False

    @classmethod
    def of(cls, work: Coroutine[Any, Any, None]) -> Completion:
        """The end of a coroutine, which runs in a task of its own."""
        answer, task = cls(loop=asyncio.get_running_loop()), asyncio.ensure_future(work)
        task.add_done_callback(answer._take)
        return answer

    def _take(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            self.set_exception(
                StoreUnavailable("The call was cancelled in the middle of it. Repeat it.")
            )
        elif error := task.exception():
            self.set_exception(error)
        else:
            self.set_result(None)

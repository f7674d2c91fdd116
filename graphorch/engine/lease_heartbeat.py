"""The heartbeat of a durable run: it renews the run's lease while the run works."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

LEASE_SECONDS: Final = 30.0
"""After so many seconds without a heartbeat another process may take the run."""


class LeaseHeartbeat:
    """Renews the lease of a run three times as often as it would expire."""

    __slots__ = ("_renew", "_task")

    def __init__(self, renew: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._renew = renew
        self._task: asyncio.Task[None] | None = None

    def start(self, group: asyncio.TaskGroup) -> None:
        """Renew the lease in the background. The group fails if another process took the run."""
        self._task = group.create_task(self.renew_until_cancelled())

    def stop(self) -> None:
        """Let the lease expire from here on."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def renew_until_cancelled(self) -> None:
        """Renew the lease again and again. Raises `LeaseLost` if another process took the run."""
        while True:
            await asyncio.sleep(LEASE_SECONDS / 3)
            await self._renew()

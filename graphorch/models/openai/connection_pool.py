"""One connection pool per event loop.

An asyncio HTTP client belongs to the loop that it was first used in, but a model client is used
from several over its life: every `asyncio.run` is a new one. So the pool opens one inner client for
each running loop, and closes it when `close` is called there.

Rules of this file:
- `close` never cuts a call that is in flight: the last such call closes;
- a pool that was closed opens again on demand;
- the client of a loop that is gone is dropped at the next use, since nothing can be awaited there.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar


class _Connections(Protocol):
    def close(self) -> Awaitable[None]: ...


C = TypeVar("C", bound=_Connections)


@dataclass(slots=True)
class _Slot(Generic[C]):
    client: C
    in_flight: int = 0
    is_retired: bool = False


class LoopPool(Generic[C]):
    """Lends the inner client of the running loop.

    Safe to use from several threads, each with its own loop.
    """

    def __init__(self, open_client: Callable[[], C]) -> None:
        self._open = open_client
        self._slots: dict[asyncio.AbstractEventLoop, _Slot[C]] = {}
        self._lock = threading.Lock()  # held for dictionary work only, never across an await

    @asynccontextmanager
    async def borrow(self) -> AsyncGenerator[C]:
        """Lend the inner client for the length of one call."""
        slot = self._find_slot()
        slot.in_flight += 1
        try:
            yield slot.client
        finally:
            slot.in_flight -= 1
            if slot.is_retired and not slot.in_flight:
                await slot.client.close()

    async def close(self) -> None:
        """Close the inner client of the running loop, now or with its last call."""
        with self._lock:
            slot = self._slots.pop(asyncio.get_running_loop(), None)
        if slot is not None:
            slot.is_retired = True
            if not slot.in_flight:
                await slot.client.close()

    @property
    def open_loops(self) -> int:
        """Number of loops that hold connections: 0 after all have closed."""
        with self._lock:
            return len(self._slots)

    def _find_slot(self) -> _Slot[C]:
        """Return the slot of the running loop, and open its inner client at the first use."""
        loop = asyncio.get_running_loop()
        with self._lock:
            gone = [known for known in self._slots if known.is_closed()]
            for known in gone:
                del self._slots[known]
        # only this thread runs this loop, so no other thread can add it meanwhile
        slot = self._slots.get(loop)
        if slot is None:
            slot = _Slot(self._open())
            with self._lock:
                self._slots[loop] = slot
        return slot

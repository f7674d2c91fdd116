"""One connection pool per event loop.

An asyncio HTTP client belongs to the loop that it was first used in, but a model client is used
from several over its life: every `asyncio.run` is a new one. So the pool opens one inner client for
each running loop, and closes it when `close` is called there.

Rules of this file:
- an inner client is opened in a thread, because that loads heavy libraries: the loop goes on;
- `close` never cuts a call that is in flight: the last such call closes;
- a pool that was closed opens again on demand;
- the client of a loop that is gone is dropped at the next use, since nothing can be awaited there.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar


class _Connections(Protocol):
    def close(self) -> Awaitable[None]: ...


C = TypeVar("C", bound=_Connections)


@dataclass(slots=True)
class _Slot(Generic[C]):
    client: C | None = None  # until it is opened
    opening: asyncio.Lock = field(default_factory=asyncio.Lock)
    in_flight: int = 0
    is_retired: bool = False

    async def retire(self) -> None:
        """Close the client, now or with its last call."""
        self.is_retired = True
        await self.close_if_unused()

    async def close_if_unused(self) -> None:
        """Close the client if it is retired and no call uses it."""
        if self.is_retired and not self.in_flight and self.client is not None:
            await self.client.close()


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
            if slot.client is None:
                await self._open_once(slot)
            assert slot.client is not None
            yield slot.client
        finally:
            slot.in_flight -= 1
            await slot.close_if_unused()

    async def close(self) -> None:
        """Close the inner client of the running loop, now or with its last call."""
        with self._lock:
            slot = self._slots.pop(asyncio.get_running_loop(), None)
        if slot is not None:
            await slot.retire()

    @property
    def open_loops(self) -> int:
        """Number of loops that hold connections: 0 after all have closed."""
        with self._lock:
            return len(self._slots)

    def _find_slot(self) -> _Slot[C]:
        loop = asyncio.get_running_loop()
        with self._lock:
            gone = [known for known in self._slots if known.is_closed()]
            for known in gone:
                del self._slots[known]
            return self._slots.setdefault(loop, _Slot())

    async def _open_once(self, slot: _Slot[C]) -> None:
        """Open the client of a slot, once for all calls that wait for it."""
        async with slot.opening:
            if slot.client is None:
                slot.client = await asyncio.to_thread(self._open)

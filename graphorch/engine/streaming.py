"""Events on their way from a run to a reader that may be slower than the run."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from graphorch.engine.events import RunEvent, Token

_FULL = 256  # events that may wait before the run does
_TURN = 32  # events that may wait before the reader gets a turn, while nothing that the run does waits for anything


class EventQueue:
    """A queue that slows the run down when it is full, and never loses an event; waiting tokens of one node are joined into one."""

    def __init__(self) -> None:
        self._events: deque[RunEvent] = deque()
        self._filled = asyncio.Event()
        self._drained = asyncio.Event()
        self._closed = False
        self._turn = 1  # the first event is read at once

    def put(self, event: RunEvent) -> None:
        """Take an event."""
        last = self._events[-1] if self._events else None
        if isinstance(event, Token) and isinstance(last, Token) and last.path == event.path:
            self._events[-1] = Token(last.path, last.node, last.text + event.text)
        else:
            self._events.append(event)
        self._filled.set()

    async def room(self) -> None:
        """Wait until there is room: what a run does before its next node."""
        if len(self._events) >= self._turn:
            self._turn = _TURN
            await asyncio.sleep(0)
        while len(self._events) >= _FULL and not self._closed:
            self._drained.clear()
            await self._drained.wait()

    def close(self) -> None:
        """No event comes any more."""
        self._closed = True
        self._filled.set()
        self._drained.set()

    async def __aiter__(self) -> AsyncIterator[RunEvent]:
        while True:
            while self._events:
                event = self._events.popleft()
                if len(self._events) < _FULL:
                    self._drained.set()
                yield event
            if self._closed:
                return
            self._filled.clear()
            await self._filled.wait()

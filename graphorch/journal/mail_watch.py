"""Wake the owners of runs when a letter may have come.

Theory of operation. A letter that is posted through this store wakes the owner of its run at once,
from whichever thread. Letters of other processes are found by looking: one task for each event loop
looks for all runs that are watched there, so a thousand runs cost what one costs. It asks the
storage for a mark first, which costs a few microseconds and changes with every write, and reads the
number of the newest letter only if that changed. A mark may miss a second write within one tick of
a clock, so the number is also read once a second.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from graphorch.errors import JournalError

Wake = Callable[[], None]

LOOK_SECONDS: Final = 0.03  # between two looks at the mark
_LOOKS_PER_READ: Final = 33  # after so many looks the number is read, whatever the mark says


@dataclass(slots=True)
class _LoopWatch:
    """Watched runs of one event loop, and the task that looks for their letters."""

    wakes: list[tuple[str, Wake]] = field(default_factory=list[tuple[str, Wake]])
    task: asyncio.Task[None] | None = None


class MailWatch:
    """Calls functions when the mailbox of a run may have changed, on their own event loops."""

    def __init__(
        self, read_newest: Callable[[], Awaitable[int]], read_mark: Callable[[], object]
    ) -> None:
        self._read_newest = read_newest
        self._read_mark = read_mark
        self._loops: dict[asyncio.AbstractEventLoop, _LoopWatch] = {}
        # Held for work on the lists only, never across an await.
        self._lock = threading.Lock()

    def watch(self, run_id: str, wake: Wake) -> Callable[[], None]:
        """Call `wake` on the running loop from now on; return a function that ends that."""
        loop = asyncio.get_running_loop()
        entry = (run_id, wake)
        with self._lock:
            watched = self._loops.setdefault(loop, _LoopWatch())
            watched.wakes.append(entry)
        # A letter may have come since the caller looked last.
        first = loop.call_later(LOOK_SECONDS, wake)
        # Nobody else can write to a storage without a mark.
        if watched.task is None and self._read_mark() is not None:
            watched.task = loop.create_task(self._look_for_letters(watched))

        def end() -> None:
            first.cancel()
            with self._lock:
                watched.wakes.remove(entry)
                if watched.wakes:
                    return
                del self._loops[loop]
            if watched.task is not None:
                watched.task.cancel()

        return end

    def notify(self, run_id: str) -> None:
        """Wake all who watch a run, from any thread."""
        with self._lock:
            calls = [
                (loop, wake)
                for loop, watched in self._loops.items()
                for name, wake in watched.wakes
                if name == run_id
            ]
        for loop, wake in calls:
            with suppress(RuntimeError):  # that loop was closed, and its runs with it
                loop.call_soon_threadsafe(wake)

    async def _look_for_letters(self, watched: _LoopWatch) -> None:
        """Wake all runs of a loop whenever another process may have posted a letter."""
        mark: object = None
        newest, looks = -1, 0
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            looks += 1
            if (now := self._read_mark()) == mark and looks % _LOOKS_PER_READ:
                continue
            mark = now
            # The storage is busy, or closed: its writers get the error, and the next look comes.
            with suppress(JournalError):
                number = await self._read_newest()
                if number != newest:
                    newest = number
                    self._wake_all(watched)

    def _wake_all(self, watched: _LoopWatch) -> None:
        with self._lock:
            wakes = [wake for _, wake in watched.wakes]
        for wake in wakes:
            wake()

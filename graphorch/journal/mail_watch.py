"""Wake the owners of runs when a letter may have come, or their turn in an exclusive region.

Theory of operation. A letter that is posted through this store wakes the owner of its run at once,
from whichever thread. Letters of other processes are found by looking: one timer of each event loop
looks for all runs that are watched there, so a thousand runs cost what one costs. It asks the
storage for a mark first, which costs a few microseconds and changes with every write, and reads the
number of the newest letter only if that changed. A mark may miss a second write within one tick of
a clock, so the number is also read once a second. For turns in regions the number is any that
changes with them. A storage without a mark is not looked at: either no other process can write to
it, or it hears of their letters and calls `notify`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from graphorch.errors import JournalError
from graphorch.journal.completion import Completion

Wake = Callable[[], None]
ReadNewest = Callable[[Callable[[int], None]], Completion]
"""Begins to read the number of the newest letter, and calls a function with it."""

LOOK_SECONDS: Final = 0.03  # between two looks at the mark
_LOOKS_PER_READ: Final = 33  # after so many looks the number is read, whatever the mark says


@dataclass(slots=True)
class _LoopWatch:
    """Watched runs of one event loop, and what was seen when they were looked at last."""

    wakes: list[tuple[str, Wake]] = field(default_factory=list[tuple[str, Wake]])
    timer: asyncio.TimerHandle | None = None
    reading: Completion | None = None
    mark: object = None
    newest: int = -1
    looks: int = 0


class MailWatch:
    """Calls functions when the mailbox of a run may have changed, on their own event loops."""

    def __init__(self, read_newest: ReadNewest, read_mark: Callable[[], object]) -> None:
        self._read_newest = read_newest
        self._read_mark = read_mark
        self._loops: dict[asyncio.AbstractEventLoop, _LoopWatch] = {}
        # Held for work on the lists only.
        self._lock = threading.Lock()

    def watch(self, run_id: str, wake: Wake) -> Callable[[], None]:
        """Call `wake` on the running loop from now on; return a function that ends that.

        A letter that came before is not announced: read the letters after this call.
        """
        loop = asyncio.get_running_loop()
        entry = (run_id, wake)
        with self._lock:
            watched = self._loops.setdefault(loop, _LoopWatch())
            watched.wakes.append(entry)
        # Nobody else can write to a storage without a mark.
        if watched.timer is None and self._read_mark() is not None:
            watched.timer = loop.call_later(LOOK_SECONDS, self._look, loop, watched)

        def end() -> None:
            with self._lock:
                watched.wakes.remove(entry)
                if watched.wakes:
                    return
                del self._loops[loop]
            if watched.timer is not None:
                watched.timer.cancel()

        return end

    def is_watching(self) -> bool:
        """Return whether any run is watched."""
        return bool(self._loops)

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

    def _look(self, loop: asyncio.AbstractEventLoop, watched: _LoopWatch) -> None:
        """Read the number of the newest letter if another process may have posted some."""
        watched.timer = loop.call_later(LOOK_SECONDS, self._look, loop, watched)
        watched.looks += 1
        mark = self._read_mark()
        is_unchanged = mark == watched.mark and watched.looks % _LOOKS_PER_READ
        if is_unchanged or (watched.reading is not None and not watched.reading.done()):
            return
        watched.mark = mark

        def compare(newest: int) -> None:
            if newest != watched.newest:
                watched.newest = newest
                loop.call_soon_threadsafe(self._wake_all, watched)

        # A storage that is busy is read at the next look; its writers hear of one that failed.
        with suppress(JournalError):
            watched.reading = self._read_newest(compare)
            watched.reading.add_done_callback(lambda reading: reading.exception())

    def _wake_all(self, watched: _LoopWatch) -> None:
        with self._lock:
            wakes = [wake for _, wake in watched.wakes]
        for wake in wakes:
            wake()

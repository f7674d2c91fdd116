"""Call functions when something of a run may have changed, on their own event loops.

Theory of operation. What is written through this store wakes at once, from whichever thread. What
other processes write is found by looking: one timer of each event loop looks for all runs that are
watched there, so a thousand runs cost what one costs. It asks the storage for a mark, which costs a
few microseconds and changes with every write. A storage without a mark is not looked at: either no
other process can write to it, or it hears of what they write and calls `notify`.

For letters, the number of the newest one is read if the mark has changed, and wakes if it is
another one. A mark may miss a second write within one tick of a clock, so that number is also read
once a second; who watches for records looks by itself. For turns in exclusive regions the number
is any that changes with them.
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

LOOK_SECONDS: Final = 0.02  # between two looks at the mark for records
MAIL_LOOK_SECONDS: Final = 0.03  # the same for letters
_LOOKS_PER_READ: Final = 33  # after so many looks the newest letter is read, whatever the mark says


@dataclass(slots=True)
class LoopWatch:
    """Watched runs of one event loop, and what was seen when they were looked at last."""

    wakes: list[tuple[str, Wake]] = field(default_factory=list[tuple[str, Wake]])
    timer: asyncio.TimerHandle | None = None
    reading: Completion | None = None
    mark: object = None
    newest: int = -1
    looks: int = 0


class RunWatch:
    """Calls functions when a run may have changed: where the mark is another one, at any run."""

    look_seconds = LOOK_SECONDS

    def __init__(self, read_mark: Callable[[], object]) -> None:
        self._read_mark = read_mark
        self.loops: dict[asyncio.AbstractEventLoop, LoopWatch] = {}
        # Held for work on the lists only.
        self._lock = threading.Lock()

    def watch(self, run_id: str, wake: Wake) -> Callable[[], None]:
        """Call `wake` on the running loop from now on; return a function that ends that.

        What came before is not announced: read it after this call.
        """
        loop = asyncio.get_running_loop()
        entry = (run_id, wake)
        with self._lock:
            watched = self.loops.setdefault(loop, LoopWatch())
            watched.wakes.append(entry)
        # Nobody else can write to a storage without a mark.
        if watched.timer is None and self._read_mark() is not None:
            watched.timer = loop.call_later(self.look_seconds, self._look, loop, watched)

        def end() -> None:
            with self._lock:
                watched.wakes.remove(entry)
                if watched.wakes:
                    return
                del self.loops[loop]
            if watched.timer is not None:
                watched.timer.cancel()

        return end

    def is_watching(self) -> bool:
        """Return whether any run is watched."""
        return bool(self.loops)

    def notify(self, run_id: str | None) -> None:
        """Wake all who watch a run, or any run, from any thread."""
        with self._lock:
            calls = [
                (loop, wake)
                for loop, watched in self.loops.items()
                for name, wake in watched.wakes
                if run_id is None or name == run_id
            ]
        for loop, wake in calls:
            with suppress(RuntimeError):  # that loop was closed, and its runs with it
                loop.call_soon_threadsafe(wake)

    def _look(self, loop: asyncio.AbstractEventLoop, watched: LoopWatch) -> None:
        """Wake those who watch if another process may have written."""
        watched.timer = loop.call_later(self.look_seconds, self._look, loop, watched)
        mark = self._read_mark()
        if mark != watched.mark:
            watched.mark = mark
            self._wake_all(watched)

    def _wake_all(self, watched: LoopWatch) -> None:
        with self._lock:
            wakes = [wake for _, wake in watched.wakes]
        for wake in wakes:
            wake()


class MailWatch(RunWatch):
    """Calls functions when the mailbox of a run may have changed, on their own event loops."""

    look_seconds = MAIL_LOOK_SECONDS

    def __init__(self, read_newest: ReadNewest, read_mark: Callable[[], object]) -> None:
        super().__init__(read_mark)
        self._read_newest = read_newest

    def _look(self, loop: asyncio.AbstractEventLoop, watched: LoopWatch) -> None:
        """Read the number of the newest letter if another process may have posted some."""
        watched.timer = loop.call_later(MAIL_LOOK_SECONDS, self._look, loop, watched)
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

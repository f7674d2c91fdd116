"""The mailbox of a run while a process drives it: letters are read as they come.

Theory of operation. The store wakes the mailbox when a letter may have come; only then is there a
task, which reads the letters and hands them over. The mailbox asks the store for that once the run
has been under way for some moments: a shorter run pays for a timer. Letters that come when the run
is about to rest are not read here: the store does not release a run that has mail, so its owner
takes it in then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from graphorch.engine.run_journal import RunJournal
from graphorch.errors import JournalError
from graphorch.journal.records import Letter

_DELAY: Final = 0.02  # seconds before the mailbox of a run is watched
_PAUSE: Final = 1.0  # seconds before letters are read again that could not be read


class Mailbox:
    """Reads the letters of one run under way, in order, and hands them to `take_in`."""

    __slots__ = (
        "_end_watch",
        "_group",
        "_is_stale",
        "_journal",
        "_last",
        "_reading",
        "_take_in",
        "_timer",
    )

    def __init__(self, journal: RunJournal, take_in: Callable[[Sequence[Letter]], None]) -> None:
        self._journal = journal
        self._take_in = take_in
        self._last = 0  # number of the last letter that was handed over
        self._group: asyncio.TaskGroup | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._end_watch: Callable[[], None] | None = None
        self._reading: asyncio.Task[None] | None = None
        self._is_stale = False  # woken since the letters were read

    def open(self, group: asyncio.TaskGroup) -> None:
        """Read letters in tasks of a group from now on."""
        self._group = group
        self._timer = asyncio.get_running_loop().call_later(_DELAY, self._begin_watch)

    def close(self) -> None:
        """Read no more letters."""
        self._group = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._end_watch is not None:
            self._end_watch()
            self._end_watch = None
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def _is_open(self) -> bool:
        return self._group is not None

    def _begin_watch(self) -> None:
        # First the watch, then the letters that came before it.
        self._end_watch = self._journal.watch_mail(self._wake)
        self._wake()

    def _wake(self) -> None:
        if self._reading is not None:
            self._is_stale = True
        elif self._group is not None:
            reading = self._read()
            try:
                self._reading = self._group.create_task(reading)
            except RuntimeError:
                reading.close()  # the group is ending; the letters are for the next owner

    async def _read(self) -> None:
        self._is_stale = True
        while self._is_stale and self._is_open():
            self._is_stale = False
            try:
                letters = await self._journal.list_letters(after=self._last)
            except JournalError:
                await asyncio.sleep(_PAUSE)
                self._is_stale = True
                continue
            if letters and self._is_open():
                self._last = letters[-1].number
                self._take_in(letters)
        self._reading = None

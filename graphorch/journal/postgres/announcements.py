"""Announce that records were added, to those who follow a run in other processes.

Theory of operation:

1. Who follows a run says so every two seconds, in a notification to all processes.
2. A process that has committed records of such a run says so in another one. It is sent after the
   commit, on the connection of the attendant, and at most 50 times a second, since a notification
   makes commits wait for each other. A run that nobody follows costs nothing.
3. Both are hints, which are lost with a connection: who follows a run also looks now and then.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

from graphorch.journal.postgres import statements
from graphorch.journal.postgres.connection import Connection

_CALL_SECONDS: Final = 2.0  # between two notifications that runs are followed
_FOLLOWED_SECONDS: Final = 3 * _CALL_SECONDS  # for which such a notification counts
_PAUSE: Final = 0.02  # seconds between two notifications of new records


class Announcements:
    """What is followed here and elsewhere, and which of it has news; `wake` wakes the thread."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.wake: Callable[[], None] = lambda: None
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._own: Counter[str] = Counter()  # runs that are followed here
        self._followed: dict[str, float] = {}  # runs that are followed anywhere, and until when
        self._news: set[str] = set()
        self._next_call = 0.0
        self._next_news = 0.0

    # ---- from any thread -------------------------------------------------------------------------
    def follow(self, run_id: str) -> None:
        """Ask all processes to announce the records of a run from now on."""
        with self._lock:
            self._own[run_id] += 1
            self._next_call = 0.0
        self.wake()

    def leave(self, run_id: str) -> None:
        """Ask for a run no more."""
        with self._lock:
            self._own[run_id] -= 1
            self._own += Counter()  # without those that are followed no more

    def note(self, run_ids: Iterable[str]) -> None:
        """Announce soon that records of some runs were committed, as far as they are followed."""
        if not self._followed:
            return
        with self._lock:
            found = [run_id for run_id in run_ids if run_id in self._followed]
            self._news.update(found)
        if found:
            self.wake()

    # ---- on the thread of the attendant ----------------------------------------------------------
    def hear(self, run_id: str) -> None:
        """Note that a run is followed somewhere."""
        now = self._monotonic()
        with self._lock:
            self._followed = {name: at for name, at in self._followed.items() if at > now}
            self._followed[run_id] = now + _FOLLOWED_SECONDS

    def send(self, connection: Connection) -> float | None:
        """Send what is due, and return when to send the next, in monotonic seconds."""
        now = self._monotonic()
        with self._lock:
            calls = list(self._own) if now >= self._next_call else []
            news = list(self._news) if now >= self._next_news else []
            self._news.difference_update(news)
            if calls:
                self._next_call = now + _CALL_SECONDS
        if calls:
            connection.execute(statements.NOTIFY_ALL, ("graphorch_follows", calls))
        if news:
            self._next_news = now + _PAUSE
            connection.execute(statements.NOTIFY_ALL, ("graphorch_records", news))
        due = [self._next_call] if self._own else []
        due += [self._next_news] if self._news else []
        return min(due, default=None)

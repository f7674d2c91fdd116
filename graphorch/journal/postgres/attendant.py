"""Thread with a connection of its own that keeps a process alive, and hears of others.

Theory of operation:

1. It begins with the first caller that needs it, and ends with the store. No event loop takes part,
   so a loop that is blocked neither loses the lease of its process nor delays another loop.
2. Kept alive, the lease of the process is renewed three times in its length, also when it has
   expired meanwhile: a server that was away comes back to processes that go on. But a claim of a
   run whose process has expired drops the row of that process. A renewal that finds no row reports
   that the process has lost a run to another one.
3. Who posts a letter notifies all processes of its run. A notification is only a hint, since it is
   sent after the commit and is lost with a connection: so the letters of the transactions that were
   not over at the last look are looked for every few seconds, while a run is watched.
4. Others of this process may listen to channels of their own here, which saves their connections.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg

from graphorch.journal.postgres import statements
from graphorch.journal.postgres.announcements import Announcements
from graphorch.journal.postgres.connection import Address, Connection, describe
from graphorch.journal.postgres.process_lease import LeaseRow, ProcessLease

_LOG = logging.getLogger(__name__)
LOOK_SECONDS: Final = 2.0  # between two looks for letters without a notification
_PAUSE: Final = 0.1  # between two attempts to connect
_OWN: Final = ("graphorch_mail", "graphorch_follows")  # channels; others look when it connects
_SHARE: Final = 3  # renewals in the length of a lease


@dataclass(slots=True)
class _Watch:
    """Caller that wants to hear of letters, and from which transaction on it has to look."""

    notify: Callable[[str], None]
    is_needed: Callable[[], bool]
    since: str = "0"
    next_look: float = 0.0


@dataclass(slots=True)
class KeptLease:
    """Lease that a thread renews, in monotonic seconds, and who hears that it was lost."""

    seconds: float
    lost: Callable[[str], object]
    row: LeaseRow | None = None
    next_renewal: float = 0.0
    ends_at: float = 0.0  # at the earliest, by what the server has confirmed
    began: threading.Event = field(default_factory=threading.Event)

    @property
    def is_certain(self) -> bool:
        """Whether no other process can have claimed a run of this one.

        It is not while the server is away for longer than the lease, and when this process goes on
        after it was stopped for as long, until the lease is renewed.
        """
        return time.monotonic() < self.ends_at


class Attendant:
    """Renews the lease of a process, and passes on which runs got letters and records."""

    def __init__(self, address: Address, lease: ProcessLease, announcements: Announcements) -> None:
        self._address = address
        self._lease = lease
        self._announcements = announcements
        announcements.wake = self._wake
        self._hints: dict[statements.Statement, Callable[[str], None]] = {
            "graphorch_mail": self._pass_on_letter,
            "graphorch_follows": announcements.hear,
        }
        self._listening: set[str] = set()  # the channels of the connection
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._watch: _Watch | None = None
        self._keeping: KeptLease | None = None
        self._connection: Connection | None = None
        self._wakeup: tuple[int, int] | None = None

    def watch(self, notify: Callable[[str], None], is_needed: Callable[[], bool]) -> None:
        """Call `notify` with each run that got a letter, from now on; look only while needed."""
        if self._watch is None:
            self._watch = _Watch(notify, is_needed)
            self._start()

    def listen(self, channel: statements.Statement, hint: Callable[[str], None]) -> None:
        """Call `hint`, on the thread, with each notification of a channel; "" if some were lost."""
        self._hints[channel] = hint
        self._start()
        self._wake()

    def end_listening(self, channel: statements.Statement) -> None:
        """Pass on no more notifications of a channel."""
        self._hints.pop(channel, None)

    def keep_alive(self, seconds: float, lost: Callable[[str], object]) -> KeptLease | None:
        """Have the lease of this process last so long, and renew it until `let_go`.

        Returns None if that did not begin: if the server is away for as long. `lost` is called on
        the thread if another process has claimed a run of this one, since its lease had expired.
        """
        keeping = KeptLease(seconds, lost)
        self._keeping = keeping
        self._start()
        self._wake()
        return keeping if keeping.began.wait(max(seconds, 1.0)) else None

    def let_go(self) -> None:
        """End the lease of this process at once, as far as the server can be reached."""
        keeping, self._keeping, self._lease.kept = self._keeping, None, None
        if keeping is not None and keeping.row is not None:
            with contextlib.suppress(psycopg.Error), self._address.connect() as connection:
                connection.execute(statements.END_PROCESS, (keeping.row.id,))
        self._lease.forget()

    def close(self) -> None:
        """End the thread and its connection."""
        with self._lock:
            self._is_closed = True
        if self._thread is not None:
            self._wake()
            self._thread.join()
            self._thread = self._wakeup = None

    # ---- thread ----------------------------------------------------------------------------------
    def _start(self) -> None:
        with self._lock:
            if self._thread is None and not self._is_closed:
                self._wakeup = os.pipe()
                self._thread = threading.Thread(
                    target=self._work, name="graphorch journal attendant", daemon=True
                )
                self._thread.start()

    def _wake(self) -> None:
        if self._wakeup is not None:
            os.write(self._wakeup[1], b"\0")

    def _work(self) -> None:
        wakeup = self._wakeup
        assert wakeup is not None
        while not self._is_closed:
            try:
                self._attend()
            # The border of the thread, which goes on whatever happens.
            except Exception as error:
                _LOG.debug("the lease of process %s waits: %s", self._lease.name, describe(error))
                self._disconnect()
                self._wait(_PAUSE)
        self._disconnect()
        for end in wakeup:
            os.close(end)

    def _attend(self) -> None:
        """Do what is due, and wait for what comes next."""
        if self._connection is None:
            self._connection = self._connect()
        self._begin_listening(self._connection)
        now = time.monotonic()
        keeping, watch = self._keeping, self._watch
        due = [now + LOOK_SECONDS]
        if keeping is not None:
            if now >= keeping.next_renewal:
                self._renew(self._connection, keeping, now)
            due.append(keeping.next_renewal)
        if watch is not None:
            if now >= watch.next_look and watch.is_needed():
                self._look(self._connection, watch, now)
            due.append(watch.next_look if watch.next_look > now else now + LOOK_SECONDS)
        if (announcement := self._announcements.send(self._connection)) is not None:
            due.append(announcement)
        # What came with the answers of the statements above does not make the socket readable.
        self._pass_on_notifications(self._connection)
        self._wait(min(due) - time.monotonic(), self._connection.fileno())
        self._pass_on_notifications(self._connection)

    def _pass_on_notifications(self, connection: Connection) -> None:
        for notification in connection.notifies(timeout=0):
            if (hint := self._hints.get(notification.channel)) is not None:  # pyright: ignore
                hint(notification.payload)

    def _begin_listening(self, connection: Connection) -> None:
        for channel, hint in list(self._hints.items()):
            if channel not in self._listening:
                connection.execute(statements.LISTEN[channel])
                self._listening.add(channel)
                if channel not in _OWN:
                    hint("")

    def _pass_on_letter(self, run_id: str) -> None:
        if self._watch is not None:
            self._watch.notify(run_id)

    def _wait(self, seconds: float, *descriptors: int) -> None:
        """Wait for a time, for a descriptor, or for another thread."""
        assert self._wakeup is not None
        poll = select.poll()
        for descriptor in (self._wakeup[0], *descriptors):
            poll.register(descriptor, select.POLLIN)
        if any(ready == self._wakeup[0] for ready, _ in poll.poll(max(seconds, 0) * 1000)):
            os.read(self._wakeup[0], 4096)

    def _connect(self) -> Connection:
        keeping = self._keeping
        # A server that is cut off must be noticed before the lease ends.
        patience = {} if keeping is None else {"tcp_user_timeout": str(int(keeping.seconds * 800))}
        connection = self._address.connect(**patience)
        self._listening.clear()
        if self._watch is not None:
            self._watch.next_look = 0.0  # notifications of the meantime were lost
        return connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _renew(self, connection: Connection, keeping: KeptLease, now: float) -> None:
        cursor = connection.cursor(binary=True)
        if keeping.row is None:
            keeping.row = self._lease.begin(cursor, keeping.seconds)
            self._lease.kept = keeping.row
            keeping.ends_at = now + keeping.seconds
            keeping.began.set()
        else:
            row = _fetch(cursor.execute(statements.KEEP_PROCESS, (keeping.seconds, keeping.row.id)))
            if row is None:
                self._lose(keeping)
                return
            keeping.row.expires_at = row[0]
            keeping.ends_at = now + keeping.seconds
        keeping.next_renewal = now + keeping.seconds / _SHARE
        self._lease.release_late(cursor)

    def _lose(self, keeping: KeptLease) -> None:
        self._keeping = None
        self._lease.kept = None
        keeping.lost(
            f"Process '{self._lease.name}' was not heard of for longer than its lease of "
            f"{keeping.seconds:g} s, and another process has taken a run of it."
        )

    def _look(self, connection: Connection, watch: _Watch, now: float) -> None:
        """Pass on the runs with unread letters of transactions that were not over before."""
        row = _fetch(connection.execute(statements.LOOK_FOR_MAIL, (watch.since,)))
        assert row is not None
        watch.since, run_ids = row
        for run_id in run_ids:
            watch.notify(run_id)
        watch.next_look = now + LOOK_SECONDS


def _fetch(cursor: psycopg.Cursor[Any]) -> tuple[Any, ...] | None:
    return cursor.fetchone()

"""Lease of a process: what the leases of all runs that it owns end with.

A run names the process that owns it, so renewing the leases of a thousand runs writes a single row.
A process that claims runs for different lengths has a row for each length.
"""

from __future__ import annotations

import math
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import psycopg

from graphorch.journal.postgres import statements
from graphorch.journal.records import Lease
from graphorch.journal.tables import RunRow

_KEPT: Final = 86_400.0  # seconds that the row of a process stays after its lease has ended
_YOUNG: Final = 1.0  # seconds after which a renewal writes the row again


@dataclass(slots=True)
class LeaseRow:
    """Row of a process: until when the leases of this length run, and when that was written."""

    id: int
    seconds: float
    expires_at: float
    written_at: float


@dataclass(frozen=True, slots=True)
class _Sign:
    """Lease of a run that was claimed or renewed, and until when that counts (monotonic)."""

    owner: str
    epoch: int
    until: float


class ProcessLease:
    """Rows of this process, written by the transactions of its store.

    `kept` is the row that a thread renews, if one does: then it is that of all leases, and their
    owners need not renew them. Otherwise a lease whose owner does not renew it in time ends,
    although others of the process are renewed.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.kept: LeaseRow | None = None
        self._monotonic = monotonic
        self._signs: dict[str, _Sign] = {}
        # Leases whose release failed; written by the event loops, read by threads.
        self._unreleased: list[Lease] = []
        self._lock = threading.Lock()
        self.host, self.pid = socket.gethostname(), os.getpid()
        self.name = f"{self.host}-{self.pid}-{secrets.token_hex(4)}"
        self._rows: dict[float, LeaseRow] = {}

    def claim(self, cursor: psycopg.Cursor[Any], run: RunRow, now: float, ttl: float) -> LeaseRow:
        """Return the row that the lease of a run begins or goes on with."""
        self._signs[run.run_id] = _Sign(run.owner, run.epoch, self._monotonic() + ttl)
        return self.kept or self._extend(cursor, now, ttl)

    def end(self, run_id: str) -> None:
        """Note that a run was released."""
        self._signs.pop(run_id, None)

    def begin(self, cursor: psycopg.Cursor[Any], ttl: float) -> LeaseRow:
        """Have leases of a length run from now on, and return their row."""
        now = cursor.execute(statements.GET_TIME).fetchone()
        assert now is not None
        return LeaseRow(self._add(cursor, now[0], ttl), ttl, now[0] + ttl, now[0])

    def release_later(self, lease: Lease) -> None:
        """Release a run as soon as the server can be reached."""
        with self._lock:
            self._unreleased.append(lease)

    def release_late(self, cursor: psycopg.Cursor[Any]) -> None:
        """Release the runs whose release failed."""
        while self._unreleased:
            lease = self._unreleased[0]
            cursor.execute(statements.RELEASE, (lease.run_id, lease.owner, lease.epoch))
            with self._lock:
                if lease in self._unreleased:
                    self._unreleased.remove(lease)

    def _extend(self, cursor: psycopg.Cursor[Any], now: float, ttl: float) -> LeaseRow:
        row = self._rows.get(ttl)
        if row is not None and 0 <= now - row.written_at < min(_YOUNG, ttl / 10):
            return row
        self._end_overdue(cursor, now)
        if row is None or not self._write(cursor, row.id, now + ttl):
            row = self._rows[ttl] = LeaseRow(self._add(cursor, now, ttl), ttl, 0.0, 0.0)
        row.expires_at, row.written_at = now + ttl, now
        return row

    def _end_overdue(self, cursor: psycopg.Cursor[Any], now: float) -> None:
        """End the leases that their owners have not renewed in time."""
        present = self._monotonic()
        overdue = [(run, sign) for run, sign in self._signs.items() if sign.until < present]
        if overdue:
            columns = zip(*((run, sign.owner, sign.epoch) for run, sign in overdue), strict=True)
            cursor.execute(statements.END_LEASES, (now, *map(list, columns)))
            for run_id, _ in overdue:
                del self._signs[run_id]

    def owns(self, process: int | None) -> bool:
        """Return whether a row is one of this process."""
        if self.kept is not None and self.kept.id == process:
            return True
        return any(row.id == process for row in self._rows.values())

    def forget(self) -> None:
        """Write each row again at its next use: what was written last was perhaps rolled back."""
        for row in self._rows.values():
            row.written_at = -math.inf

    def _write(self, cursor: psycopg.Cursor[Any], number: int, expires_at: float) -> bool:
        """Extend a row; return whether there is one."""
        return cursor.execute(statements.EXTEND_PROCESS, (expires_at, number)).rowcount == 1

    def _add(self, cursor: psycopg.Cursor[Any], now: float, ttl: float) -> int:
        cursor.execute(statements.DROP_OLD_PROCESSES, (now - _KEPT,))
        values = (self.name, float(ttl), now + ttl, self.host, self.pid, now)
        row = cursor.execute(statements.ADD_PROCESS, values).fetchone()
        assert row is not None
        return row[0]

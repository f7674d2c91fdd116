"""Lease of a process: what the leases of all runs that it owns end with.

A run names the process that owns it, so renewing the leases of a thousand runs writes a single row.
A process that claims runs for different lengths has a row for each length.
"""

from __future__ import annotations

import math
import os
import secrets
import socket
from dataclasses import dataclass
from typing import Any, Final

import psycopg

from graphorch.journal.postgres import statements

_KEPT: Final = 86_400.0  # seconds that the row of a process stays after its lease has ended
_YOUNG: Final = 1.0  # seconds after which a renewal writes the row again


@dataclass(slots=True)
class LeaseRow:
    """Row of a process: until when the leases of this length run, and when that was written."""

    id: int
    seconds: float
    expires_at: float
    written_at: float


class ProcessLease:
    """Rows of this process, written by the transactions of its store."""

    def __init__(self) -> None:
        self.host, self.pid = socket.gethostname(), os.getpid()
        self.name = f"{self.host}-{self.pid}-{secrets.token_hex(4)}"
        self._rows: dict[float, LeaseRow] = {}

    def extend(self, cursor: psycopg.Cursor[Any], now: float, ttl: float) -> LeaseRow:
        """Have leases of a length run from now on, and return their row."""
        row = self._rows.get(ttl)
        if row is not None and 0 <= now - row.written_at < min(_YOUNG, ttl / 10):
            return row
        if row is None or not self._write(cursor, row.id, now + ttl):
            row = self._rows[ttl] = LeaseRow(self._add(cursor, now, ttl), ttl, 0.0, 0.0)
        row.expires_at, row.written_at = now + ttl, now
        return row

    def owns(self, process: int | None) -> bool:
        """Return whether a row is one of this process."""
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

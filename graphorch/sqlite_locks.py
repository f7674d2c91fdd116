"""Waiting for an SQLite file that another process has locked."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable

# seconds between attempts while the file is locked
_PAUSES = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05)


def insist(work: Callable[[], object], seconds: float) -> None:
    """Repeat `work` while SQLite reports that the file is busy, for at most `seconds`.

    SQLite waits by itself only with a busy timeout, and never where two connections could wait for
    each other, as when several create one file at the same time.
    """
    end, tries = time.monotonic() + seconds, 0
    while True:
        try:
            work()
            return
        except sqlite3.Error as error:
            if (
                getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_BUSY
                or time.monotonic() >= end
            ):
                raise
        time.sleep(_PAUSES[min(tries, len(_PAUSES) - 1)])
        tries += 1

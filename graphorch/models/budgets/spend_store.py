"""Stores that keep the spending of named levels, such as that of a day, beyond one run."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from graphorch.errors import JournalError
from graphorch.models.budgets.ledger import NOTHING, Units


class MemorySpend:
    """A `SpendStore` for the life of the process: the cap of one day over many runs."""

    def __init__(self) -> None:
        self._totals: dict[str, Units] = {}

    def add(self, key: str, units: Units) -> Units:
        """Add units to a key and return the new total."""
        usd, tokens, calls = self._totals.get(key, NOTHING)
        total = usd + units[0], tokens + units[1], calls + units[2]
        self._totals[key] = total
        return total


class SqliteSpend:
    """A `SpendStore` in a file that several processes of one machine may share.

    Raises `JournalError` if the file cannot be used.
    """

    _CREATE = """
        CREATE TABLE IF NOT EXISTS spend
        (key TEXT PRIMARY KEY, usd INTEGER, tokens INTEGER, calls INTEGER) STRICT
    """
    _ADD = """
        INSERT INTO spend (key, usd, tokens, calls) VALUES (?, ?, ?, ?)
        ON CONFLICT (key) DO UPDATE SET
            usd = usd + excluded.usd,
            tokens = tokens + excluded.tokens,
            calls = calls + excluded.calls
        RETURNING usd, tokens, calls
    """

    def __init__(self, path: str | Path) -> None:
        self._path = path
        try:
            self._db = sqlite3.connect(
                path, isolation_level=None, timeout=5.0, check_same_thread=False
            )
            self._db.execute("PRAGMA journal_mode = WAL")
            # survives a crash of the process, and no model call waits for the disk
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.execute(self._CREATE)
        except sqlite3.Error as error:
            raise self._build_error(error) from error

    def add(self, key: str, units: Units) -> Units:
        """Add units to a key and return the new total. Raises `JournalError` if that fails."""
        try:
            rows = self._db.execute(self._ADD, (key, *units)).fetchall()
        except sqlite3.Error as error:
            raise self._build_error(error) from error
        usd, tokens, calls = rows[0]
        return usd, tokens, calls

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _build_error(self, error: sqlite3.Error) -> JournalError:
        return JournalError(
            f"The spending in '{self._path}' cannot be kept: {error}. "
            "Check that the file is a database and can be written."
        )

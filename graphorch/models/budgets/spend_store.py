"""Places that keep the spending of named levels, such as that of a day, beyond one process."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from graphorch.errors import JournalError
from graphorch.models.budgets.ledger import NOTHING, Units


class MemorySpend:
    """A `SpendStore` for as long as the process lives: one day's cap over many runs."""

    def __init__(self) -> None:
        self._totals: dict[str, Units] = {}

    def add(self, key: str, units: Units) -> Units:
        """See `SpendStore`."""
        old = self._totals.get(key, NOTHING)
        self._totals[key] = old[0] + units[0], old[1] + units[1], old[2] + units[2]
        return self._totals[key]


class SqliteSpend:
    """A `SpendStore` in a file that several processes of one machine may share. Raises `JournalError` if the file cannot be used."""

    _ADD = """
        INSERT INTO spend (key, usd, tokens, calls) VALUES (?, ?, ?, ?)
        ON CONFLICT (key) DO UPDATE SET usd = usd + excluded.usd, tokens = tokens + excluded.tokens, calls = calls + excluded.calls
        RETURNING usd, tokens, calls
    """

    def __init__(self, path: str | Path) -> None:
        self._path = path
        try:
            self._db = sqlite3.connect(
                path, isolation_level=None, timeout=5.0, check_same_thread=False
            )
            self._db.execute("PRAGMA journal_mode = WAL")
            # survives the process; a call does not wait for the disk
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS spend (key TEXT PRIMARY KEY, usd INTEGER, tokens INTEGER, calls INTEGER) STRICT"
            )
        except sqlite3.Error as error:
            raise self._broken(error) from error

    def add(self, key: str, units: Units) -> Units:
        """See `SpendStore`."""
        try:
            rows = self._db.execute(self._ADD, (key, *units)).fetchall()
        except sqlite3.Error as error:
            raise self._broken(error) from error
        usd, tokens, calls = rows[0]
        return usd, tokens, calls

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _broken(self, error: sqlite3.Error) -> JournalError:
        return JournalError(
            f"The spending in '{self._path}' cannot be kept: {error}. Check that the file is a database and can be written."
        )

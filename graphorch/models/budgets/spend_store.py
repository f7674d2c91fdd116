"""Stores that keep the spending of named levels, such as that of a day, beyond one run."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from graphorch.errors import JournalError
from graphorch.models.budgets.ledger import NOTHING, Units
from graphorch.private_files import (
    OpenedFile,
    UnusableFile,
    ensure_private_file,
    restrict_database,
)


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

    The file is for its owner only. Raises `JournalError` if it cannot be used, and for the database
    of another program or purpose, which is left as it is.
    """

    _COUNT_TABLES = "SELECT count(*), coalesce(sum(name = 'spend'), 0) FROM sqlite_schema"

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
        self._path = Path(os.path.abspath(path))
        try:
            file = ensure_private_file(self._path)
        except UnusableFile as error:
            raise self._build_error(str(error)) from None
        try:
            self._db = sqlite3.connect(
                file, isolation_level=None, timeout=5.0, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise self._build_error(f"SQLite says: {error}.") from error
        try:
            self._prepare(file)
            self._file = OpenedFile(self._path)
        except (sqlite3.Error, OSError) as error:
            self._db.close()
            raise self._build_error(f"{type(error).__name__}: {error}.") from error
        except JournalError:
            self._db.close()
            raise

    def _prepare(self, file: Path) -> None:
        """Create the table, unless the file is the database of something else."""
        tables, own = self._db.execute(self._COUNT_TABLES).fetchone()
        if tables and not own:
            raise self._build_error("it is a database, but not one of spending.")
        restrict_database(file)
        self._db.execute("PRAGMA journal_mode = WAL")
        # survives a crash of the process, and no model call waits for the disk
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute(self._CREATE)

    def add(self, key: str, units: Units) -> Units:
        """Add units to a key and return the new total. Raises `JournalError` if that fails."""
        try:
            rows = self._db.execute(self._ADD, (key, *units)).fetchall()
        except sqlite3.Error as error:
            raise self._build_error(f"{self._find_loss()} SQLite says: {error}.") from error
        # Otherwise a day would begin anew in a file that others no longer see.
        if loss := self._find_loss():
            raise self._build_error(loss)
        usd, tokens, calls = rows[0]
        return usd, tokens, calls

    def _find_loss(self) -> str:
        problem = self._file.find_problem()
        return f"It {problem} while it was open." if problem else ""

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _build_error(self, reason: str) -> JournalError:
        return JournalError(
            f"The spending in '{self._path}' cannot be kept: {reason.strip()} "
            "Name a file of its own for `kept` in [budgets], in a folder that can be written."
        )

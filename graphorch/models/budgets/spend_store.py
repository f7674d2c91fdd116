"""Stores that keep the spending of named levels beyond one run, and share limits of targets."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from graphorch.errors import JournalError
from graphorch.models.budgets.ledger import NOTHING, Units
from graphorch.private_files import (
    OpenedFile,
    UnusableFile,
    ensure_private_file,
    restrict_database,
)
from graphorch.sqlite_locks import insist

# Seconds that the clock may have been set back by; a time that lies further ahead is not believed,
# since it would lock a target until the clock has caught up.
_CLOCK_SKEW = 5.0
_PATIENCE = 5.0  # how long a file is waited for that another process writes
_LONGEST_PAUSE = 120.0  # no target is paused for longer, so a pause that is longer is such a time


class BucketRules(Protocol):
    """Size of a bucket, and what flows in per second."""

    @property
    def capacity(self) -> float:
        """Amount that it holds when it is full."""
        ...

    @property
    def rate(self) -> float:
        """Amount that flows in per second."""
        ...


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

    The file is for its owner only. The limits of targets and the pauses that they asked for are
    shared there too. `now` returns seconds since the epoch, which all processes have in common.

    A closed one opens its file again when it is used. Raises `JournalError` if it cannot be used,
    and for the database of another program or purpose, which is left as it is.
    """

    _COUNT_TABLES = "SELECT count(*), coalesce(sum(name = 'spend'), 0) FROM sqlite_schema"

    _CREATE = """
        CREATE TABLE IF NOT EXISTS spend
        (key TEXT PRIMARY KEY, usd INTEGER, tokens INTEGER, calls INTEGER) STRICT
    """
    # level: what was in a bucket at a time; a bucket that may be ahead of the clock is full again
    _CREATE_BUCKETS = """
        CREATE TABLE IF NOT EXISTS bucket (key TEXT PRIMARY KEY, level REAL, at REAL) STRICT
    """
    _CREATE_PAUSES = "CREATE TABLE IF NOT EXISTS pause (key TEXT PRIMARY KEY, until REAL) STRICT"
    _TAKE = """
        INSERT INTO bucket (key, level, at) VALUES (:key, :capacity - :amount, :now)
        ON CONFLICT (key) DO UPDATE SET
            level = CASE WHEN at > :now + :skew THEN :capacity
                ELSE MIN(:capacity, level + MAX(0.0, :now - at) * :rate) END - :amount,
            at = CASE WHEN at > :now + :skew THEN :now ELSE MAX(at, :now) END
        RETURNING level + :amount
    """
    _READ_PAUSE = "SELECT until FROM pause WHERE key = ?"
    _PAUSE = """
        INSERT INTO pause (key, until) VALUES (:key, :until)
        ON CONFLICT (key) DO UPDATE SET until =
            CASE WHEN until > :now + :longest THEN :until ELSE MAX(until, :until) END
        RETURNING until
    """
    _ADD = """
        INSERT INTO spend (key, usd, tokens, calls) VALUES (?, ?, ?, ?)
        ON CONFLICT (key) DO UPDATE SET
            usd = usd + excluded.usd,
            tokens = tokens + excluded.tokens,
            calls = calls + excluded.calls
        RETURNING usd, tokens, calls
    """

    def __init__(self, path: str | Path, *, now: Callable[[], float] = time.time) -> None:
        self._path = Path(os.path.abspath(path))
        self._now = now
        # SQLite forbids a forked child to use, or to close, the connections of its parent.
        self._of_parents: list[sqlite3.Connection] = []
        self._db: sqlite3.Connection | None = None
        self._open()

    def _open(self) -> sqlite3.Connection:
        self._process = os.getpid()
        try:
            file = ensure_private_file(self._path)
        except UnusableFile as error:
            raise JournalError(
                f"The spending (`kept` in [budgets]) cannot be kept: {error}"
            ) from None
        try:
            db = sqlite3.connect(
                file, isolation_level=None, timeout=_PATIENCE, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise self._build_error(f"SQLite says: {error}.") from error
        try:
            insist(lambda: self._prepare(db, file), _PATIENCE)
            self._file = OpenedFile(self._path)
        except (sqlite3.Error, OSError) as error:
            db.close()
            raise self._build_error(f"{type(error).__name__}: {error}.") from error
        except JournalError:
            db.close()
            raise
        self._db = db
        return db

    def _prepare(self, db: sqlite3.Connection, file: Path) -> None:
        """Create the tables, unless the file is the database of something else."""
        tables, own = db.execute(self._COUNT_TABLES).fetchone()
        if tables and not own:
            raise self._build_error("it is a database, but not one of spending.")
        restrict_database(file)
        db.execute("PRAGMA journal_mode = WAL")
        # survives a crash of the process, and no model call waits for the disk
        db.execute("PRAGMA synchronous = NORMAL")
        for statement in (self._CREATE, self._CREATE_BUCKETS, self._CREATE_PAUSES):
            db.execute(statement)

    def add(self, key: str, units: Units) -> Units:
        """Add units to a key and return the new total. Raises `JournalError` if that fails."""
        ((usd, tokens, calls),) = self._run(self._ADD, (key, *units))
        return usd, tokens, calls

    def take(self, key: str, amount: float, rules: BucketRules) -> float:
        """Refill a bucket, take an amount, and return the level before that (see `LimitStore`)."""
        values = {
            "key": key,
            "amount": float(amount),
            "capacity": rules.capacity,
            "rate": rules.rate,
            "now": self._now(),
            "skew": _CLOCK_SKEW,
        }
        ((level,),) = self._run(self._TAKE, values)
        return level

    def pause(self, key: str, seconds: float) -> float:
        """Make a pause at least so long from now, and return the seconds that are left of it."""
        now = self._now()
        if seconds > 0:
            values = {"key": key, "until": now + seconds, "now": now, "longest": _LONGEST_PAUSE}
            rows = self._run(self._PAUSE, values)
        else:
            rows = self._run(self._READ_PAUSE, (key,))
        left = rows[0][0] - now if rows else 0.0
        return left if 0 < left <= _LONGEST_PAUSE else 0.0

    def _run(
        self, statement: str, values: Mapping[str, object] | Sequence[object]
    ) -> list[tuple[Any, ...]]:
        """Return the rows of a statement; a failure becomes a `JournalError`."""
        if self._process != os.getpid() and self._db is not None:
            self._of_parents.append(self._db)
            self._db = None
        db = self._open() if self._db is None else self._db
        try:
            rows = db.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise self._build_error(f"{self._find_loss()} SQLite says: {error}.") from error
        # Otherwise a day would begin anew in a file that others no longer see.
        if loss := self._find_loss():
            raise self._build_error(loss)
        return rows

    def _find_loss(self) -> str:
        problem = self._file.find_problem()
        return f"It {problem} while it was open." if problem else ""

    def close(self) -> None:
        """Close the file; a forked child leaves that to its parent."""
        if self._db is not None and self._process == os.getpid():
            self._db.close()
            self._db = None

    def _build_error(self, reason: str) -> JournalError:
        return JournalError(
            f"The spending in '{self._path}' cannot be kept: {reason.strip()} "
            "Name a file of its own for `kept` in [budgets], in a folder that can be written."
        )

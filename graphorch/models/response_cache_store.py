"""The file of the answer cache: SQLite with one table.

All methods block and belong into a worker thread; a lock lets one in at a time, and the file may be shared by several processes.
Every statement is a fixed string. Whatever goes wrong is a `CacheUnusable`; a file of a newer version is left as it is.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

_VERSION = 1
# marks the file as a cache of graphorch, so that no other database is taken for one
_OURS = 0x67636163
_BUSY_SECONDS = 2.0

_WHAT_IS_IT = "SELECT (SELECT count(*) FROM sqlite_master), application_id, user_version FROM pragma_application_id, pragma_user_version"
_CREATE = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, made REAL NOT NULL, used REAL NOT NULL, size INTEGER NOT NULL, answer TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS answers_by_use ON answers (used, size);
PRAGMA application_id = 1734566243;
PRAGMA user_version = 1;
COMMIT;
"""
_FIND = "SELECT answer FROM answers WHERE key = ? AND made > ? AND made <= ?"
_TOUCH = "UPDATE answers SET used = ? WHERE key = ?"
_KEEP = "INSERT OR REPLACE INTO answers (key, made, used, size, answer) VALUES (?, ?, ?, ?, ?)"
_SIZE = "SELECT coalesce(sum(size), 0) FROM answers"
_TRIM = """
DELETE FROM answers WHERE key IN (
    SELECT key FROM (SELECT key, sum(size) OVER (ORDER BY used DESC, key) AS running FROM answers) WHERE running > ?
)
"""


class CacheUnusable(Exception):
    """The file cannot be used; the message says why and what to do. Never leaves the cache."""


class CacheStore:
    """Opens its file at the first use, and again after it was closed."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._db: sqlite3.Connection | None = None
        self._lock = threading.Lock()

    def find(self, key: str, made_after: float, now: float) -> str | None:
        """The answer of this key that was made in that time; finding it counts as using it."""
        with self._open() as db:
            row = db.execute(_FIND, (key, made_after, now)).fetchone()
            if row is None:
                return None
            db.execute(_TOUCH, (now, key))
            return str(row[0])

    def keep(self, key: str, answer: str, now: float) -> None:
        """Keep an answer, in place of an older one; those that were not used for the longest time make room for it."""
        size = len(key) + len(answer.encode())
        if size > self._max_bytes:
            return
        with self._open() as db:
            db.execute(_KEEP, (key, now, now, size, answer))
            if db.execute(_SIZE).fetchone()[0] > self._max_bytes:
                db.execute(_TRIM, (self._max_bytes,))

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            db, self._db = self._db, None
            if db is not None:
                db.close()

    @contextmanager
    def _open(self) -> Generator[sqlite3.Connection]:
        """The database in a transaction of its own."""
        with self._lock:
            try:
                if self._db is None:
                    self._db = self._connect()
                with self._db:
                    yield self._db
            except (sqlite3.Error, OSError, UnicodeError) as error:
                raise CacheUnusable(
                    f"The cache {self.path} cannot be used ({type(error).__name__}: {error}), so the model is asked. "
                    "Delete the file, or give another path."
                ) from error

    def _connect(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # one that is there is opened by SQLite alone: closing it would take its locks away
        if not self.path.is_file():
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        # it may have existed; what SQLite puts beside it gets the same mode
        os.chmod(self.path, 0o600)
        db = sqlite3.connect(self.path, timeout=_BUSY_SECONDS, check_same_thread=False)
        try:
            self._check(*db.execute(_WHAT_IS_IT).fetchone())
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.executescript(_CREATE)
        except BaseException:
            db.close()
            raise
        return db

    def _check(self, tables: int, application: int, version: int) -> None:
        """Only an empty file and one of ours are written to."""
        if (tables or application) and application != _OURS:
            raise CacheUnusable(
                f"{self.path} is a database, but no cache of graphorch, so the model is asked. Give another path."
            )
        if version > _VERSION:
            raise CacheUnusable(
                f"The cache {self.path} was written by a newer version (format {version}, this one reads {_VERSION}), so it is left "
                "alone and the model is asked. Update graphorch, or give another path."
            )

"""The file of the response cache: SQLite with one table.

Rules of this file:
- all methods block, so they belong in a worker thread; a lock admits one thread at a time, and
  several processes may share the file;
- every statement is a fixed string;
- every failure is a `CacheUnusable`;
- only an empty file and a cache of this version or an older one are written to.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from graphorch.private_files import UnusableFile, ensure_private_file, restrict_database

_VERSION = 1
# Marks the file as a cache of graphorch, so that no other database is taken for one.
_APPLICATION_ID = 0x67636163
_BUSY_SECONDS = 2.0

_IDENTIFY = """
SELECT (SELECT count(*) FROM sqlite_master), application_id, user_version
FROM pragma_application_id, pragma_user_version
"""
_CREATE = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY,
    made REAL NOT NULL,
    used REAL NOT NULL,
    size INTEGER NOT NULL,
    answer TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS answers_by_use ON answers (used, size);
PRAGMA application_id = 1734566243;
PRAGMA user_version = 1;
COMMIT;
"""
_FIND = "SELECT answer FROM answers WHERE key = ? AND made > ? AND made <= ?"
_TOUCH = "UPDATE answers SET used = ? WHERE key = ?"
_KEEP = "INSERT OR REPLACE INTO answers (key, made, used, size, answer) VALUES (?, ?, ?, ?, ?)"
_SIZE = "SELECT coalesce(sum(size), 0) FROM answers"
# Adds up the sizes from the answer that was used last, and deletes the answers beyond the limit.
_TRIM = """
DELETE FROM answers WHERE key IN (
    SELECT key FROM (
        SELECT key, sum(size) OVER (ORDER BY used DESC, key) AS running FROM answers
    ) WHERE running > ?
)
"""


class CacheUnusable(Exception):
    """The file cannot be used; the message explains why and what to do. Never leaves the cache."""


class CacheStore:
    """Rows of the cache file, which opens at the first use, and again after it was closed."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._db: sqlite3.Connection | None = None
        self._lock = threading.Lock()
        self._process = os.getpid()
        # SQLite forbids a forked child to use, or to close, the connections of its parent.
        self._of_parents: list[sqlite3.Connection | None] = []

    def find(self, key: str, made_after: float, now: float) -> str | None:
        """Return the answer of a key that was made after `made_after`, and count that as a use."""
        with self._open() as db:
            row = db.execute(_FIND, (key, made_after, now)).fetchone()
            if row is None:
                return None
            db.execute(_TOUCH, (now, key))
            return str(row[0])

    def keep(self, key: str, answer: str, now: float) -> None:
        """Keep an answer in place of an older one of its key.

        The answers with the longest time since their last use make room for it. An answer that is
        larger than the whole cache is not kept.
        """
        size = len(key) + len(answer.encode())
        if size > self._max_bytes:
            return
        with self._open() as db:
            db.execute(_KEEP, (key, now, now, size, answer))
            if db.execute(_SIZE).fetchone()[0] > self._max_bytes:
                db.execute(_TRIM, (self._max_bytes,))

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        self._leave_parent()
        with self._lock:
            db, self._db = self._db, None
            if db is not None:
                db.close()

    def _leave_parent(self) -> None:
        """Begin anew in a forked child, where a lock may be held by a thread that is not there."""
        if self._process != os.getpid():
            self._process = os.getpid()
            self._of_parents.append(self._db)
            self._db, self._lock = None, threading.Lock()

    @contextmanager
    def _open(self) -> Generator[sqlite3.Connection]:
        """Lend the database for one transaction. Raises `CacheUnusable` for every failure."""
        self._leave_parent()
        with self._lock:
            try:
                if self._db is None:
                    self._db = self._connect()
                with self._db:
                    yield self._db
            except (sqlite3.Error, OSError, UnicodeError) as error:
                raise CacheUnusable(
                    f"The cache {self.path} cannot be used ({type(error).__name__}: {error}), "
                    "so the model is asked. Delete the file, or give another path."
                ) from error

    def _connect(self) -> sqlite3.Connection:
        # 1. The file is for its owner only, from its first byte on.
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = ensure_private_file(self.path)
        except UnusableFile as error:
            raise CacheUnusable(
                f"The cache cannot be used, so the model is asked: {error}"
            ) from None
        # 2. Check whose file it is before anything is written to it.
        db = sqlite3.connect(file, timeout=_BUSY_SECONDS, check_same_thread=False)
        try:
            self._check_identity(*db.execute(_IDENTIFY).fetchone())
            restrict_database(file)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.executescript(_CREATE)
        except BaseException:
            db.close()
            raise
        return db

    def _check_identity(self, tables: int, application_id: int, version: int) -> None:
        """Raise `CacheUnusable` for another program's database or a cache of a newer version."""
        is_empty = not tables and not application_id
        if not is_empty and application_id != _APPLICATION_ID:
            raise CacheUnusable(
                f"{self.path} is a database, but not a cache of graphorch, so the model is asked. "
                "Give another path."
            )
        if version > _VERSION:
            raise CacheUnusable(
                f"The cache {self.path} was written by a newer version (format {version}, this one "
                f"reads {_VERSION}), so it is left alone and the model is asked. Update graphorch, "
                "or give another path."
            )

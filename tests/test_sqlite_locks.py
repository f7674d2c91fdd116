"""Waiting for an SQLite file that is locked."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from graphorch.sqlite_locks import insist


def connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, timeout=0)


def test_work_repeats_until_file_is_free(tmp_path: Path) -> None:
    """Work that finds the file locked runs again until the lock is gone."""
    with closing(connect(tmp_path / "a.db")) as holder, closing(connect(tmp_path / "a.db")) as db:
        holder.execute("BEGIN EXCLUSIVE")
        tries: list[int] = []

        def work() -> None:
            tries.append(len(tries))
            if len(tries) == 4:
                holder.execute("COMMIT")
            db.execute("CREATE TABLE t (x)")

        insist(work, 30.0)
        assert tries == [0, 1, 2, 3]


def test_locked_file_raises_in_time(tmp_path: Path) -> None:
    """A file that stays locked raises SQLite's error when the seconds are over."""
    with closing(connect(tmp_path / "a.db")) as holder, closing(connect(tmp_path / "a.db")) as db:
        holder.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            insist(lambda: db.execute("CREATE TABLE t (x)"), 0.1)
        assert time.monotonic() - began >= 0.1


def test_other_error_raises_at_once(tmp_path: Path) -> None:
    """An error that waiting cannot mend is raised after the first attempt."""
    tries: list[int] = []
    with closing(connect(tmp_path / "a.db")) as db:

        def work() -> None:
            tries.append(1)
            db.execute("SELECT * FROM missing")

        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            insist(work, 30.0)
    assert tries == [1]

"""Databases with the tables of graphorch, and their clock under the control of a test."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg

from graphorch.journal.sqlite.store import SqliteStore
from tests.contracts.store_contract import FakeClock

_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'graphorch' AND tablename <> ALL(%s)"
_KEPT = ["schema_version", "test_clock"]
_REPLACE_CLOCK = """
CREATE TABLE IF NOT EXISTS graphorch.test_clock AS SELECT 0::double precision AS now;
CREATE OR REPLACE FUNCTION graphorch.now() RETURNS double precision LANGUAGE sql VOLATILE
AS 'SELECT now FROM graphorch.test_clock'
"""
_COPIED = {
    "runs": (
        "id", "run_id", "flow", "fingerprint", "format", "parent", "tags", "labels",
        "created_at", "updated_at", "status", "last_seq", "link", "seal", "salt", "is_erased",
        "key_id", "owner", "epoch",
    ),
    "records": ("run", "seq", "kind", "body", "digest", "link"),
    "snapshots": ("run", "seq", "body", "digest"),
    "letters": (
        "number", "run", "letter_id", "kind", "body", "sent_at", "error", "message", "seal",
    ),
}  # fmt: skip


def empty_tables(url: str) -> None:
    """Delete all rows of graphorch; much faster than a new database."""
    with psycopg.connect(url, autocommit=True) as connection:
        for (table,) in connection.execute(_TABLES, (_KEPT,)).fetchall():
            connection.execute(f"DELETE FROM graphorch.{table}".encode())


def copy_journal(file: Path, url: str) -> None:
    """Copy the runs of a SQLite file, of any version, into a database as they are."""

    async def bring_up_to_date() -> None:
        store = await SqliteStore.open(file)
        await store.close()

    asyncio.run(bring_up_to_date())
    with closing(sqlite3.connect(file)) as source, psycopg.connect(url) as target:
        for table, columns in _COPIED.items():
            names = ", ".join(columns)
            # Tags are there twice: as they were written, and to search in. Messages are bytes.
            read = names.replace("labels", "tags").replace("message", "CAST(message AS BLOB)")
            rows = source.execute(f"SELECT {read} FROM {table}").fetchall()
            shown = "%s, " * (len(columns) - 1) + "%s"
            insert = f"INSERT INTO graphorch.{table} ({names}) OVERRIDING SYSTEM VALUE"
            with target.cursor() as cursor:
                cursor.executemany(f"{insert} VALUES ({shown})".encode(), rows)
        target.execute("UPDATE graphorch.runs SET owner = ''")
        for table, column in (("runs", "id"), ("letters", "number")):
            target.execute(
                f"SELECT setval(pg_get_serial_sequence('graphorch.{table}', '{column}'), "
                f"(SELECT coalesce(max({column}), 0) + 1 FROM graphorch.{table}))".encode()
            )


class DatabaseClock(FakeClock):
    """Clock of a database that only moves when a test sets it, for all that are connected to it."""

    def __init__(self, url: str, now: float = 1_000_000.0) -> None:
        self._connection: psycopg.Connection[Any] = psycopg.connect(url, autocommit=True)
        self._connection.execute(_REPLACE_CLOCK)
        self.now = now

    @property
    def now(self) -> float:
        """The time, in seconds since 1970."""
        return self._now

    @now.setter
    def now(self, value: float) -> None:
        self._now = value
        self._connection.execute("UPDATE graphorch.test_clock SET now = %s", (value,))

    def close(self) -> None:
        """Close the connection that sets the clock."""
        self._connection.close()

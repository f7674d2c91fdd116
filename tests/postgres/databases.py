"""Databases with the tables of graphorch, and their clock under the control of a test."""

from __future__ import annotations

from typing import Any

import psycopg

from tests.contracts.store_contract import FakeClock

_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'graphorch' AND tablename <> ALL(%s)"
_KEPT = ["schema_version", "test_clock"]
_REPLACE_CLOCK = """
CREATE TABLE IF NOT EXISTS graphorch.test_clock AS SELECT 0::double precision AS now;
CREATE OR REPLACE FUNCTION graphorch.now() RETURNS double precision LANGUAGE sql VOLATILE
AS 'SELECT now FROM graphorch.test_clock'
"""


def empty_tables(url: str) -> None:
    """Delete all rows of graphorch; much faster than a new database."""
    with psycopg.connect(url, autocommit=True) as connection:
        for (table,) in connection.execute(_TABLES, (_KEPT,)).fetchall():
            connection.execute(f"DELETE FROM graphorch.{table}".encode())


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

"""A connection for the tables of workers, on a thread of its own.

The journal's connections are busy with commits, which must not wait for a look at all runs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, LiteralString

import psycopg

from graphorch.journal.errors import StoreClosed
from graphorch.journal.postgres.connection import (
    PATIENCE,
    Address,
    Session,
    explain,
    open_connection,
)
from graphorch.journal.postgres.setup import check_schema, check_server

Row = tuple[Any, ...]


class Database:
    """Sends statements one after the other, each of them a transaction.

    A statement whose connection was lost is sent once more, so each has to be repeatable.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._thread = ThreadPoolExecutor(1, "graphorch workers")
        self._is_closed = False

    @classmethod
    async def open(cls, url: str) -> Database:
        """Connect to a database that has the tables of graphorch.

        Raises `StoreNotOpened` and its kinds, and `StoreReadOnly`.
        """
        return cls(await asyncio.to_thread(_open_session, url))

    async def fetch(
        self, statement: LiteralString, values: Sequence[Any] | Mapping[str, Any] = ()
    ) -> list[Row]:
        """Return the rows of a statement. Raises `StoreUnavailable` and other `JournalError`s."""
        if self._is_closed:
            raise StoreClosed("The connection for workers was closed. Open it again.")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._fetch, statement, values)

    async def close(self) -> None:
        """Finish the statement under way, and close the connection."""
        if not self._is_closed:
            self._is_closed = True
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._thread, self._session.close)
            self._thread.shutdown(wait=False)

    def _fetch(
        self, statement: LiteralString, values: Sequence[Any] | Mapping[str, Any]
    ) -> list[Row]:
        until = time.monotonic() + PATIENCE
        while True:
            try:
                cursor = self._session.acquire(until).execute(statement, values)
                return cursor.fetchall() if cursor.description else []
            except psycopg.Error as error:
                if not (self._session.drop_if_lost() and time.monotonic() < until):
                    raise explain(error, self._session.address.place) from None


def _open_session(url: str) -> Session:
    address = Address(url)
    connection = open_connection(address)
    try:
        check_server(connection, address.place)
        check_schema(connection, address.place)
    except BaseException:
        connection.close()
        raise
    return Session(address, connection)

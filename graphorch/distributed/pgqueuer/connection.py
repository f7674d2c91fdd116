"""A connection to the server of the queue: it is opened when needed, and again when it was lost.

Rules:

1. Commits on it do not wait for the disk (`synchronous_commit=off`): the queue is a hint, the
   journal the truth. This is an option of the connection's start and never `SET`, which behind a
   pooler would also hold for connections of the journal. A pooler that refuses options of the start
   gets none, and commits wait for the disk.
2. A URL means what it means to libpq, and no message shows a password; see `journal/postgres`.
3. A statement that finds its connection lost is sent once more on a new one. So every statement
   has to be repeatable.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection, AsyncRawCursor
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row

from graphorch.distributed.errors import EngineError, EngineNotReady, EngineUnavailable
from graphorch.distributed.pgqueuer.statements import READ_SERVER_AGE
from graphorch.errors import InputError
from graphorch.journal.postgres.connection import DEFAULTS, Address, describe

# No commit waits for the disk, and no plan is compiled, which takes longer than a statement here.
_OPTIONS: Final = "-c synchronous_commit=off -c jit=off"
_NO_OPTIONS: Final = "unsupported startup parameter: options"  # says PgBouncer
_PATIENCE: Final = 30.0  # seconds for one statement
_MISSING: Final = ("42P01", "3F000", "42704", "42703")  # no such table, schema, type, column

Row = dict[str, Any]


class Server:
    """Where the queue is; `place` is what is shown of it.

    Raises `InputError` for a URL that is not valid.
    """

    def __init__(self, url: str) -> None:
        self.place = Address(url).place
        self._url = url
        try:
            given = conninfo_to_dict(url)
        except psycopg.Error:
            # What it says, and an option that is misspelt, may hold the password.
            raise InputError(
                f"'{self.place.partition('?')[0]}' is not a URL that libpq accepts. Check what "
                "stands behind its question mark."
            ) from None
        defaults = {name: value for name, value in DEFAULTS.items() if name not in given}
        options = given.get("options") or os.environ.get("PGOPTIONS", "")
        self._options = {**defaults, "options": f"{options} {_OPTIONS}".strip()}

    async def connect(self) -> AsyncConnection:
        """Open a connection. Raises `EngineUnavailable` or `EngineError`."""
        try:
            return await self._connect()
        except (psycopg.Error, OSError) as error:
            if _NO_OPTIONS not in str(error) or "options" not in self._options:
                raise self.explain(error) from None
        del self._options["options"]
        try:
            return await self._connect()
        except (psycopg.Error, OSError) as error:
            raise self.explain(error) from None

    async def _connect(self) -> AsyncConnection:
        return await AsyncConnection.connect(self._url, autocommit=True, **self._options)  # pyright: ignore[reportArgumentType]

    def explain(self, error: Exception) -> EngineError:
        """Return the error of this package for one of the driver."""
        state = getattr(error, "sqlstate", None)
        text = describe(error)
        if state in _MISSING:
            return EngineNotReady(
                f"'{self.place}' has no tables for jobs, or those of another version. "
                f"Run `graphorch db init --db {self.place}`, or `graphorch db upgrade`."
            )
        if state == "42501":
            return EngineNotReady(
                f"'{self.place}': PostgreSQL says: {text} Connect as a user who may write the "
                "schema graphorch."
            )
        if is_lost(error):
            return EngineUnavailable(
                f"'{self.place}' cannot be reached: {text} Repeat the call once the server is "
                "there; no job is added twice."
            )
        return EngineError(f"'{self.place}': PostgreSQL says: {text}")


def is_lost(error: Exception) -> bool:
    """Return whether the same statement may succeed later, or on another connection."""
    lost = (psycopg.OperationalError, psycopg.InterfaceError, OSError, TimeoutError)
    return isinstance(error, lost)


class Connection:
    """Sends statements one after the other; `generation` counts the connections so far."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.generation = 0
        self.server_age = 0.0  # seconds that the server ran when this connection began
        self._connection: AsyncConnection | None = None
        self._lock = asyncio.Lock()

    async def open(self) -> int:
        """Connect if there is no connection, and return its generation."""
        await self._connect()
        return self.generation

    async def fetch(self, statement: str, *values: Any) -> list[Row]:
        """Return the rows of a statement with the placeholders $1, $2, ….

        If the connection was lost, it is sent once more on a new one. Raises `EngineError`;
        `EngineUnavailable` if the server does not answer.
        """
        try:
            return await self._send(await self._connect(), statement, values)
        except (psycopg.Error, OSError) as error:
            if not is_lost(error):
                raise self.server.explain(error) from error
        return await self.fetch_once(statement, *values)

    async def fetch_once(self, statement: str, *values: Any) -> list[Row]:
        """Return the rows of a statement, which is not sent again. Raises `EngineError`."""
        try:
            return await self._send(await self._connect(), statement, values)
        except (psycopg.Error, OSError) as error:
            raise self.server.explain(error) from error

    async def close(self) -> None:
        """Close the connection; the next statement would open one again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _send(
        self, connection: AsyncConnection, statement: str, values: Sequence[Any]
    ) -> list[Row]:
        try:
            async with asyncio.timeout(_PATIENCE):
                cursor = AsyncRawCursor(connection, row_factory=dict_row)
                await cursor.execute(statement.encode(), values or None)
                return await cursor.fetchall() if cursor.description else []
        except BaseException as error:
            if connection.closed or not isinstance(error, psycopg.Error):
                # Cut, or in the middle of a statement that nothing waits for any more.
                await connection.close()
            raise

    async def _connect(self) -> AsyncConnection:
        async with self._lock:
            if self._connection is None or self._connection.closed:
                connection = await self.server.connect()
                (row,) = await self._send(connection, READ_SERVER_AGE, ())
                self.server_age = row["seconds"]
                self.generation += 1
                self._connection = connection
            return self._connection

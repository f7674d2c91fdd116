"""A connection to the server of the queue: it is opened when needed, and again when it was lost.

Rules:

1. Commits on it do not wait for the disk (`synchronous_commit=off`): the queue is a hint, the
   journal the truth. This is an option of the connection's start and never `SET`, which behind a
   pooler would also hold for connections of the journal.
2. A URL means what it means to libpq: its options, environment, service and password files. No
   message shows it; a server is named by host, port and database.
3. A statement that finds its connection lost is sent once more on a new one. So every statement
   has to be repeatable.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg import AsyncConnection, AsyncRawCursor
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import dict_row

from graphorch.distributed.errors import EngineError, EngineNotReady, EngineUnavailable
from graphorch.distributed.pgqueuer.statements import READ_SERVER_AGE
from graphorch.errors import InputError

_PATIENCE = 30.0  # seconds for one statement
_DEFAULTS = {
    "application_name": "graphorch",
    "connect_timeout": "5",
    # A server that vanished without a word is noticed within about ten seconds.
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
}
_MISSING = ("42P01", "3F000", "42704", "42703")  # no such table, schema, type, column

Row = dict[str, Any]


class Server:
    """Where the queue is: libpq's parameters, and what a message may say about them."""

    def __init__(self, url: str) -> None:
        try:
            given = conninfo_to_dict(url)
        except psycopg.Error:  # its text shows parts of the URL, perhaps the password
            raise InputError(
                "This is not a URL of PostgreSQL. "
                "Give postgresql://USER@HOST:PORT/DATABASE, with special characters as %XX."
            ) from None
        options = f"{given.get('options') or ''} -c synchronous_commit=off".strip()
        self.parameters = make_conninfo("", **{**_DEFAULTS, **given, "options": options})
        host = given.get("host") or given.get("hostaddr") or "the default host"
        port = f":{given['port']}" if given.get("port") else ""
        self.name = f"{host}{port}/{given.get('dbname') or ''}".rstrip("/")

    async def connect(self) -> AsyncConnection:
        """Open a connection. Raises `EngineUnavailable` or `EngineError`."""
        try:
            return await AsyncConnection.connect(self.parameters, autocommit=True)
        except (psycopg.Error, OSError) as error:
            raise self.explain(error) from error

    def explain(self, error: Exception) -> EngineError:
        """Return the error of this package for one of the driver."""
        state = getattr(error, "sqlstate", None)
        text = " ".join(str(error).split())
        if state in _MISSING:
            return EngineNotReady(
                f"The database {self.name} has no tables for jobs, or those of another version. "
                "Create or upgrade them with `graphorch db init --db URL`."
            )
        if state == "42501":
            return EngineNotReady(
                f"The user of the database {self.name} may not change the tables for jobs: {text}. "
                f"Grant it all on the schema graphorch, its tables and sequences."
            )
        if is_lost(error):
            return EngineUnavailable(
                f"The job queue at {self.name} cannot be reached: {text}. "
                "Repeat the call when the server is back; no job is added twice."
            )
        return EngineError(f"The job queue at {self.name} failed: {text}.")


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

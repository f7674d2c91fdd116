"""Make the tables of a database, or bring them to this version; both may be repeated."""

from __future__ import annotations

from typing import Any

import psycopg

from graphorch.journal.errors import NewerFormat, NotAJournal, StoreNotOpened, StoreReadOnly
from graphorch.journal.postgres import schema, statements
from graphorch.journal.postgres.connection import (
    OLDEST_SERVER,
    Address,
    Connection,
    explain,
    open_connection,
)


def initialize(url: str) -> bool:
    """Make the tables of graphorch in a database; return whether they were missing.

    Raises `StoreNotOpened` and its kinds, also for tables of an earlier version, `StoreReadOnly`.
    """
    return _migrate(url, is_upgrade=False) == 0


def upgrade(url: str) -> int:
    """Bring the tables of a database to this version; return the version that they had.

    Raises `StoreNotOpened` and its kinds, also if there are no tables, `StoreReadOnly`.
    """
    return _migrate(url, is_upgrade=True)


def check_server(connection: Connection, place: str) -> None:
    """Raise `StoreNotOpened` or `StoreReadOnly` for a server that a store cannot be on."""
    refuse_server(*_fetch(connection.execute(statements.GET_SERVER)), place=place)


def refuse_server(
    number: int, version: str, encoding: str, is_read_only: bool, *, place: str
) -> None:
    """Raise `StoreNotOpened` or `StoreReadOnly` for what a server says of itself."""
    if number < OLDEST_SERVER:
        raise StoreNotOpened(
            f"'{place}' is PostgreSQL {version}, which is too old: 13 or later is needed."
        )
    if encoding != "UTF8":
        raise StoreNotOpened(
            f"'{place}' has the encoding {encoding}. Create the database with ENCODING 'UTF8'."
        )
    if is_read_only:
        raise StoreReadOnly(
            f"'{place}' may only be read: it is a standby, or read-only by its settings. "
            "Connect to the primary server."
        )


def check_pooling(first: Connection, second: Connection, place: str) -> None:
    """Raise `StoreNotOpened` if two connections share one process of the server.

    A pooler that lends a connection for a transaction loses what belongs to a session: what it
    listens to, its settings, and the statements that it prepared.
    """
    (before,) = _fetch(first.execute(statements.GET_SESSION))
    try:
        with second.transaction():  # holds the process that was used last, if they are shared
            (other,) = _fetch(second.execute(statements.GET_SESSION))
            is_shared = other == before or (
                _fetch(first.execute(statements.GET_SESSION))[0] != before
            )
    except psycopg.errors.ProtocolViolation:  # a pooler in statement mode takes no transactions
        is_shared = True
    if is_shared:
        raise StoreNotOpened(
            f"'{place}' is behind a pooler in transaction mode, where LISTEN and settings of a "
            "session do not work. Connect to the server itself, or set the pooler to session mode."
        )


def read_identity(connection: Connection) -> str:
    """Return a name for the tables of a database: made anew, they have another one."""
    return ":".join(map(str, _fetch(connection.execute(statements.GET_IDENTITY))))


def check_schema(connection: Connection, place: str) -> None:
    """Raise `StoreNotOpened` unless the tables are those of this version."""
    version = read_version(connection, place)
    if version == 0:
        raise StoreNotOpened(
            f"'{place}' has no tables of graphorch. Run `graphorch db init --db {place}`."
        )
    if version < schema.VERSION:
        raise StoreNotOpened(
            f"'{place}' has tables of version {version}, this graphorch needs {schema.VERSION}. "
            f"Run `graphorch db upgrade --db {place}`."
        )


def read_version(connection: Connection, place: str) -> int:
    """Return the version of the tables; 0 if there are none.

    Raises `NotAJournal` for a schema of another program, and `NewerFormat` for a later version.
    """
    has_schema, has_version = _fetch(connection.execute(schema.FIND_SCHEMA))
    if not has_schema:
        return 0
    if not has_version:
        raise NotAJournal(
            f"'{place}' has a schema 'graphorch' of another program. It was not changed. "
            "Choose another database."
        )
    version = _fetch(connection.execute(schema.GET_VERSION))[0]
    if version > schema.VERSION:
        raise NewerFormat(
            f"'{place}' has tables of version {version}, made by a later version of graphorch; "
            f"this one knows up to {schema.VERSION}. They were not changed. Upgrade graphorch."
        )
    return version


def _migrate(url: str, *, is_upgrade: bool) -> int:
    address = Address(url)
    with open_connection(address) as connection:
        check_server(connection, address.place)
        with open_connection(address) as second:
            check_pooling(connection, second, address.place)
        try:
            return _migrate_alone(connection, address.place, is_upgrade=is_upgrade)
        except psycopg.Error as error:
            raise explain(error, address.place) from None


def _migrate_alone(connection: Connection, place: str, *, is_upgrade: bool) -> int:
    """Run the missing migrations in one transaction, of which there is one at a time."""
    with connection.transaction():
        connection.execute(schema.LOCK)
        # Statements after the lock see what another process did while this one waited.
        found = version = read_version(connection, place)
        if is_upgrade == (found == 0):
            check_schema(connection, place)
        while version in schema.MIGRATIONS:
            for statement in schema.MIGRATIONS[version]:
                connection.execute(statement)
            version += 1
        if version != found:
            connection.execute(schema.SET_VERSION, (version,))
    return found


def _fetch(cursor: psycopg.Cursor[Any]) -> tuple[Any, ...]:
    row = cursor.fetchone()
    assert row is not None
    return row

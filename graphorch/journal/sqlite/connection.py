"""Open, verify and migrate the file of a SQLite store, or report what is wrong and leave it alone.

Rule of this file: nothing but SQLite opens a database. A process that closes a file loses every
lock that it has on it, those of its connections included; another process would then believe to be
the last one, and remove the log that is still being written.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import cache
from pathlib import Path

from graphorch.errors import JournalError
from graphorch.journal.errors import (
    JournalDamaged,
    NewerFormat,
    NotAJournal,
    StoreFull,
    StoreLocked,
    StoreNotOpened,
    StoreReadOnly,
    StoreUnavailable,
)
from graphorch.journal.sqlite import statements
from graphorch.private_files import UnusableFile, ensure_private_file
from graphorch.sqlite_locks import insist

Connect = Callable[..., sqlite3.Connection]
_SMALLEST_PAGE = 512  # bytes
OLDEST_SQLITE = (3, 37, 0)  # the first with STRICT tables

# The latter if a message of SQLite quotes a damaged file.
SQLITE_ERRORS = (sqlite3.Error, UnicodeDecodeError)
_BROKEN_FILE = frozenset([sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_FORMAT])
_WRONG_VALUE = frozenset(
    [sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_RANGE, None]
)


def open_connection(
    path: Path, connect: Connect, *, lock_timeout: float, is_durable: bool
) -> sqlite3.Connection:
    """Return a connection to a store's file, created if necessary, readable by its owner only.

    Raises `StoreNotOpened` and its kinds, `StoreUnavailable` and its kinds, `JournalDamaged`.
    """
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise StoreNotOpened(
            f"SQLite {sqlite3.sqlite_version} is too old for '{path}': 3.37 or later is "
            "needed. Use a newer build of Python."
        )
    try:
        ensure_private_file(path)
    except UnusableFile as error:
        raise StoreNotOpened(str(error)) from None
    _check_size(path)
    try:
        connection = connect(
            f"{path.absolute().as_uri()}?mode=rw",
            uri=True,
            timeout=lock_timeout,
            isolation_level=None,
            check_same_thread=False,
        )
    except SQLITE_ERRORS as error:
        raise explain(error, path) from None
    # Text that is not UTF-8 makes one run differ from its chain, instead of failing for all.
    connection.text_factory = _decode
    try:
        insist(lambda: _set_up(connection, path, is_durable), lock_timeout)
    except SQLITE_ERRORS as error:
        connection.close()
        raise explain(error, path) from None
    except JournalError:
        connection.close()
        raise
    return connection


def _decode(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _set_up(connection: sqlite3.Connection, path: Path, is_durable: bool) -> None:
    _check_end(connection, path)
    _check_stamp(connection, path)
    _configure(connection, path, is_durable)
    migrate(connection)
    _check_schema(connection, path)


def migrate(
    connection: sqlite3.Connection, migrations: dict[int, tuple[str, ...]] = statements.MIGRATIONS
) -> None:
    """Migrate the tables from the file's format to the newest one, in one transaction.

    Does nothing, and takes no lock, if they are up to date.
    """
    if _number(connection.execute(statements.GET_FORMAT)) not in migrations:
        return
    connection.execute(statements.BEGIN_WRITE)
    try:
        while (format := _number(connection.execute(statements.GET_FORMAT))) in migrations:
            for step in migrations[format]:
                connection.execute(step)
    except BaseException:
        connection.execute(statements.ROLLBACK)
        raise
    connection.execute(statements.COMMIT)


def explain(error: Exception, path: Path) -> JournalError:
    """Return an error of SQLite as a `JournalError`: what happened, to which file, what to do."""
    code = getattr(error, "sqlite_errorcode", None)
    kind = None if code is None else code & 0xFF
    where = f"'{path}': SQLite says: {error}."
    if kind in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreLocked(
            f"{where} Another process is writing to it for longer than this one waits. "
            "Stop it, or raise `lock_timeout`."
        )
    if kind == sqlite3.SQLITE_FULL:
        return StoreFull(
            f"{where} Nothing was stored. Free some room, or delete old runs with `prune`."
        )
    if kind in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        return StoreReadOnly(
            f"{where} Nothing was stored. Allow this user to write the file and its folder."
        )
    if kind == sqlite3.SQLITE_CANTOPEN:
        return StoreNotOpened(
            f"{where} Check that the folder exists and that this user may write to it."
        )
    if kind == sqlite3.SQLITE_NOTADB:
        return NotAJournal(_no_database(path))
    if kind in _BROKEN_FILE:
        return JournalDamaged(
            f"'{path}'",
            f"SQLite says: {error}. It may be half of a copy; copy the '-wal' file along with it.",
        )
    # Without a code: text that is not UTF-8, or a value that SQLite does not take.
    if kind in _WRONG_VALUE:
        return JournalDamaged(
            f"'{path}'", f"it holds a value that is never written there. SQLite says: {error}."
        )
    return StoreUnavailable(f"{where} Repeat the call; if it fails again, check the disk.")


def _check_size(path: Path) -> None:
    """Refuse a file smaller than a page: SQLite would take it for empty and overwrite it."""
    if 0 < path.stat().st_size < _SMALLEST_PAGE:
        raise NotAJournal(_no_database(path))


def _check_end(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse a file whose last page is incomplete, which SQLite tolerates."""
    # This reads the head of the file: SQLite refuses what is not a database.
    connection.execute(statements.GET_FORMAT).fetchone()
    page, log = _number(connection.execute(statements.GET_PAGE_SIZE)), Path(f"{path}-wal")
    if path.stat().st_size % page and not (log.exists() and log.stat().st_size):
        raise JournalDamaged(
            f"'{path}'", "the file is cut off in the middle of a page: it is half of a copy."
        )


def _no_database(path: Path) -> str:
    return (
        f"'{path}' is not an SQLite database. It was not changed. "
        "Choose another path, or restore the file from a copy."
    )


def _check_stamp(connection: sqlite3.Connection, path: Path) -> None:
    # In one transaction: another process may be creating the tables right now.
    connection.execute(statements.BEGIN_READ)
    try:
        application, format = (
            _number(connection.execute(statements.GET_APPLICATION_ID)),
            _number(connection.execute(statements.GET_FORMAT)),
        )
        is_empty = connection.execute(statements.GET_SCHEMA).fetchone() is None
    finally:
        connection.execute(statements.ROLLBACK)
    if application == statements.APPLICATION_ID:
        if format > statements.FORMAT:
            raise NewerFormat(
                f"'{path}' has format {format}, written by a later version of graphorch; "
                f"this one knows up to {statements.FORMAT}. "
                "It was not changed. Upgrade graphorch."
            )
    elif application or format or not is_empty:
        raise NotAJournal(
            f"'{path}' is a database of another program. It was not changed. Choose another path."
        )


def _configure(connection: sqlite3.Connection, path: Path, is_durable: bool) -> None:
    mode = connection.execute(statements.USE_WAL).fetchone()[0]
    if mode != "wal":
        raise StoreNotOpened(
            f"'{path}' is where SQLite cannot share memory between processes (mode "
            f"{mode}). Use a local disk."
        )
    connection.execute(statements.SYNC_EVERY_COMMIT if is_durable else statements.SYNC_CHECKPOINTS)
    connection.execute(statements.OVERWRITE_WHAT_IS_DELETED)
    connection.execute(statements.DISTRUST_SCHEMA)
    connection.execute(statements.CHECK_CELLS)
    connection.execute(statements.CHECKPOINT_EVERY_4000_PAGES)
    connection.execute(statements.KEEP_64_MB_OF_LOG)


def _check_schema(connection: sqlite3.Connection, path: Path) -> None:
    """Accept our tables only: a view or a trigger would be code that the file chooses."""
    if _schema(connection) != _our_schema():
        raise NotAJournal(
            f"'{path}' has other tables than those of graphorch. It was not changed. "
            "Restore it from a copy."
        )


@cache
def _our_schema() -> list[list[str]]:
    empty = sqlite3.connect(":memory:", isolation_level=None)
    migrate(empty)
    made = _schema(empty)
    empty.close()
    return made


def _schema(connection: sqlite3.Connection) -> list[list[str]]:
    """Return the definitions in a file, regardless of their white space."""
    return [
        [" ".join(str(part).split()) for part in row]
        for row in connection.execute(statements.GET_SCHEMA).fetchall()
    ]


def _number(cursor: sqlite3.Cursor) -> int:
    return cursor.fetchone()[0]

"""Store for one machine: a SQLite file with a write-ahead log, a writing and a reading thread.

Theory of operation. Many runs share one commit, so that waiting for the disk (`sync="full"`, the
default) costs next to nothing once a few dozen of them append at the same time. `sync="normal"`
does not wait: an acknowledged append survives the death of the process, but the last commits may be
lost if the machine loses power. An append then needs no thread either, as long as no other process
writes to the file.

A process that is stopped in the middle of a commit locks the file until it continues: others then
get `StoreLocked`. The first of two owners commits, and the epoch of its lease keeps the other one
out.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from graphorch.clock import Clock
from graphorch.errors import JournalError
from graphorch.journal import codec
from graphorch.journal.chain_key import ChainKey, build_key, read_key
from graphorch.journal.codec import BodyLimits
from graphorch.journal.completion import Completion
from graphorch.journal.errors import StoreLocked, StoreNotOpened
from graphorch.journal.runners.database_thread import DatabaseThread, Done, Operation, attempt
from graphorch.journal.sqlite import statements
from graphorch.journal.sqlite.committer import Committer, roll_back
from graphorch.journal.sqlite.connection import (
    SQLITE_ERRORS,
    Connect,
    explain,
    open_connection,
)
from graphorch.journal.sqlite.tables import SqliteTables
from graphorch.journal.store import TableStore
from graphorch.journal.tables import Tables
from graphorch.private_files import UnusableFile, resolve_links

T = TypeVar("T")
# Nanoseconds after a write in which a commit may not be visible yet, since the disk is being waited
# for, and in which another write may carry the same time.
_SETTLING = 250_000_000


class SqliteRunner:
    """Runs operations on two connections to one file.

    Writes run at once or in batches that share a commit, each read in a transaction of its own.
    """

    def __init__(
        self, path: Path, committer: Committer, reading: sqlite3.Connection, clock: Clock
    ) -> None:
        self._path = path
        self._clock = clock
        self._committer = committer
        self._writer = DatabaseThread(
            "graphorch journal writer", committer.commit_all, committer.close, batch=1000
        )
        self._reader = DatabaseThread(
            "graphorch journal reader", partial(self._read_batch, reading), reading.close, batch=1
        )

    def write_now(self, operation: Callable[[Tables], Any], size: int) -> bool:
        """See `Runner.write_now`. Earlier operations are never overtaken."""
        return self._writer.is_idle and self._committer.commit_now(operation, size)

    def write_soon(self, operation: Callable[[Tables], None]) -> Completion:
        """See `Runner.write_soon`."""
        return self._writer.begin(operation)

    async def write(self, operation: Callable[[Tables], T]) -> T:
        """See `Runner.write`."""
        return await self._writer.run(operation)

    async def read(self, operation: Callable[[Tables], T]) -> T:
        """See `Runner.read`."""
        return await self._reader.run(operation)

    def read_soon(self, operation: Callable[[Tables], None]) -> Completion:
        """See `Runner.read_soon`."""
        return self._reader.begin(operation)

    def read_mark(self) -> object:
        """See `Runner.read_mark`: each commit of any process goes into the log."""
        try:
            log = os.stat(f"{self._path}-wal")
        except OSError:
            return ()
        if time.time_ns() - log.st_mtime_ns < _SETTLING:
            return object()  # equal to no other
        return log.st_mtime_ns, log.st_size

    def is_in_place(self) -> bool:
        """Return whether the path still names the file that is open."""
        return self._committer.find_loss() is None

    async def close(self) -> None:
        """See `Runner.close`."""
        await self._reader.close()
        await self._writer.close()  # the last connection moves the log into the file

    def _read_batch(
        self, connection: sqlite3.Connection, operations: Sequence[Operation]
    ) -> Sequence[Done]:
        return [self._read_once(connection, operation) for operation in operations]

    def _read_once(self, connection: sqlite3.Connection, operation: Operation) -> Done:
        try:
            connection.execute(statements.BEGIN_READ)
            return attempt(operation, SqliteTables(connection, self._clock))
        # The border of the thread: every error goes to the caller, and the thread goes on.
        except Exception as error:
            return Done(error=self._committer.explain(error))
        finally:
            roll_back(connection)


class SqliteStore(TableStore):
    """`Store` in one file.

    Open it with `await SqliteStore.open(path)`, close it with `await store.close()`.
    """

    def __init__(
        self,
        path: Path,
        runner: SqliteRunner,
        *,
        limits: BodyLimits,
        lock_timeout: float,
        key: ChainKey | None = None,
    ) -> None:
        super().__init__(runner, limits=limits, key=key)
        self._path = path
        self._lock_timeout = lock_timeout
        self._is_in_place = runner.is_in_place

    def __repr__(self) -> str:
        return f"SqliteStore({str(self._path)!r})"

    @property
    def path(self) -> Path:
        """Path of the file, without links."""
        return self._path

    def is_in_place(self) -> bool:
        """Return whether the path still names the file that was opened.

        If it does not, every call that writes raises `StoreReplaced`.
        """
        return self._is_in_place()

    @classmethod
    async def open(
        cls,
        path: str | Path,
        *,
        sync: Literal["full", "normal"] = "full",
        lock_timeout: float = 5.0,
        limits: BodyLimits = codec.LIMITS,
        clock: Clock = time.time,
        connect: Connect = sqlite3.connect,
        key: str | bytes | None = None,
    ) -> SqliteStore:
        """Open the file of a store, or create it.

        `lock_timeout` is how many seconds to wait while another process writes. `key` protects
        the chains of runs against people who can write the file (see `chain_key.py`); without one
        it is that of the variable GRAPHORCH_JOURNAL_KEY, if that is set.

        Raises `InvalidName` for an empty key, `StoreNotOpened` (also `NotAJournal`,
        `NewerFormat`), `StoreLocked`, `StoreReadOnly`, `JournalDamaged`; the file is then
        unchanged.
        """
        chain_key = read_key() if key is None else build_key(key)
        name, where = _locate(path)
        opening = partial(
            open_connection, where, connect, lock_timeout=lock_timeout, is_durable=sync == "full"
        )
        writing, reading = await asyncio.to_thread(_open_both, opening)
        try:
            committer = Committer(
                where,
                name,
                writing,
                waits_for_disk=sync == "full",
                lock_timeout=lock_timeout,
                clock=clock,
            )
        except OSError as error:
            writing.close()
            reading.close()
            raise StoreNotOpened(f"'{name}' was deleted while it was opened: {error}.") from None
        return cls(
            where,
            SqliteRunner(where, committer, reading, clock),
            limits=limits,
            lock_timeout=lock_timeout,
            key=chain_key,
        )

    async def erase(self, run_id: str) -> None:
        """See `Store.erase`. The log is emptied too, since it still holds the old pages.

        Raises `StoreLocked` if the log is being read: the run is erased, and calling this again
        empties the log.
        """
        await super().erase(run_id)
        await asyncio.to_thread(self._empty_log)

    def _empty_log(self) -> None:
        connection = open_connection(
            self._path, sqlite3.connect, lock_timeout=self._lock_timeout, is_durable=True
        )
        try:
            is_busy = connection.execute(statements.EMPTY_THE_LOG).fetchone()[0]
        except SQLITE_ERRORS as error:
            raise explain(error, self._path) from None
        finally:
            connection.close()
        if is_busy:
            raise StoreLocked(
                f"'{self._path}': the content was erased, but its log is being read and "
                "still holds it. Erase the run again."
            )


def _locate(path: str | Path) -> tuple[Path, Path]:
    """Return the absolute path of a file as it was given, and without links.

    The current folder may change, and SQLite keeps the log beside what a link leads to.
    """
    name = Path(os.path.abspath(path))
    try:
        return name, resolve_links(name)
    except UnusableFile as error:
        raise StoreNotOpened(str(error)) from None


def _open_both(
    opening: Callable[[], sqlite3.Connection],
) -> tuple[sqlite3.Connection, sqlite3.Connection]:
    writing = opening()
    try:
        reading = opening()
    except JournalError:
        writing.close()
        raise
    reading.execute(statements.ONLY_READ)
    return writing, reading

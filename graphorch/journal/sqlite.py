"""The store for one machine: a SQLite file with a write-ahead log, one writing thread, one reading thread.

Many runs share one commit, so that waiting for the disk (`sync="full"`, the default) costs next to nothing once a few dozen of them
append at the same time. `sync="normal"` does not wait: what was acknowledged survives the death of the process, but the last commits
may be lost when the machine loses power.

A process that is stopped in the middle of a commit holds the file until it goes on: others then get `StoreLocked`. Whoever comes first
commits, and the epoch of its lease keeps the other one out.
"""

from __future__ import annotations

import asyncio
import json
import math
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from graphorch.errors import JournalError
from graphorch.journal import codec, statements
from graphorch.journal.codec import BodyLimits
from graphorch.journal.failures import JournalDamaged, StoreLocked
from graphorch.journal.opening import SQLITE_ERRORS, Connect, explain, open_connection
from graphorch.journal.records import RunQuery
from graphorch.journal.store import Clock, TableStore
from graphorch.journal.tables import RecordRow, RunRow, SnapshotRow, Tables
from graphorch.journal.worker import Done, Operation, Worker

T = TypeVar("T")
_KNOWN_RUNS = 4096
_AFTER_ALL_IDS = "~"  # sorts behind every run id


class SqliteTables:
    """`Tables` over the open transaction of a connection.

    It remembers the runs that it found: an append then reads nothing. `refresh` has to come first in each transaction.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._known: dict[str, RunRow] = {}
        self._version: int | None = None

    def refresh(self) -> None:
        """Forget everything if another connection wrote to the file meanwhile, and now and then to stay small."""
        version = self._db.execute(statements.GET_DATA_VERSION).fetchone()[0]
        if version != self._version or len(self._known) > _KNOWN_RUNS:
            self._known.clear()
        self._version = version

    def forget(self) -> None:
        """Forget everything: the transaction was rolled back."""
        self._known.clear()

    def find_run(self, run_id: str) -> RunRow | None:
        """See `Tables.find_run`."""
        row = self._known.get(run_id)
        if row is None:
            found = self._db.execute(statements.FIND_RUN, (run_id,)).fetchone()
            if found is None:
                return None
            row = self._known[run_id] = _run_row(found)
        return row

    def add_run(self, row: RunRow) -> None:
        """See `Tables.add_run`."""
        values = (
            row.run_id, row.flow, row.fingerprint, row.format, row.parent, row.tags.decode(), row.created_at, row.updated_at, row.status,
            row.last_seq, row.link, row.seal, row.salt, row.is_erased, row.owner, row.epoch, row.expires_at,
        )  # fmt: skip
        self._db.execute(statements.ADD_RUN, values)

    def set_progress(self, row: RunRow) -> None:
        """See `Tables.set_progress`."""
        self._db.execute(statements.SET_PROGRESS, (row.updated_at, row.last_seq, row.link, row.seal, row.id))

    def set_status(self, row: RunRow) -> None:
        """See `Tables.set_status`."""
        self._db.execute(statements.SET_STATUS, (row.status, row.id))

    def set_lease(self, row: RunRow) -> None:
        """See `Tables.set_lease`."""
        self._db.execute(statements.SET_LEASE, (row.owner, row.epoch, row.expires_at, row.id))

    def add_records(self, run: int, rows: Sequence[RecordRow]) -> None:
        """See `Tables.add_records`."""
        for row in rows:
            self._db.execute(statements.ADD_RECORD, (run, row.seq, row.kind, row.body, row.digest, row.link))

    def records(self, run: int, after_seq: int) -> Iterable[RecordRow]:
        """See `Tables.records`."""
        return map(_record_row, self._db.execute(statements.GET_RECORDS, (run, after_seq)))

    def record(self, run: int, seq: int) -> RecordRow | None:
        """See `Tables.record`."""
        found = self._db.execute(statements.GET_RECORD, (run, seq)).fetchone()
        return None if found is None else _record_row(found)

    def snapshot(self, run: int) -> SnapshotRow | None:
        """See `Tables.snapshot`."""
        found = self._db.execute(statements.GET_SNAPSHOT, (run,)).fetchone()
        return None if found is None else _typed(SnapshotRow, found, _SNAPSHOT_TYPES)

    def set_snapshot(self, run: int, row: SnapshotRow) -> None:
        """See `Tables.set_snapshot`."""
        self._db.execute(statements.SET_SNAPSHOT, (run, row.seq, row.body, row.digest))

    def list_runs(self, query: RunQuery) -> Iterable[RunRow]:
        """See `Tables.list_runs`."""
        tag, value = query.tag or (None, None)
        earliest = -math.inf if query.created_from is None else query.created_from
        latest = math.inf if query.created_until is None else query.created_until
        before = query.after or (math.inf, _AFTER_ALL_IDS)
        values = (query.flow, tag, value, earliest, latest, *before, query.limit)
        if query.status is None:
            return map(_run_row, self._db.execute(statements.LIST_RUNS, values))
        return map(_run_row, self._db.execute(statements.LIST_RUNS_OF_STATUS, (*values, query.status)))

    def erase_record(self, run: int, seq: int, digest: bytes) -> None:
        """See `Tables.erase_record`."""
        self._db.execute(statements.ERASE_RECORD, (digest, run, seq))

    def set_erased(self, row: RunRow) -> None:
        """See `Tables.set_erased`."""
        self._db.execute(statements.SET_ERASED, (row.is_erased, row.salt, row.seal, row.id))
        self._db.execute(statements.DROP_SNAPSHOT, (row.id,))
        self._db.execute(statements.DROP_SPANS, (row.id,))
        self._db.execute(statements.DROP_TRACE, (row.id,))

    def drop_finished(self, before: float, statuses: Sequence[str], now: float, limit: int) -> int:
        """See `Tables.drop_finished`."""
        self._known.clear()
        gone = self._db.execute(statements.FIND_FINISHED, (json.dumps(list(statuses)), before, now, limit)).fetchall()
        self._db.executemany(statements.DROP_RECORDS, gone)
        self._db.executemany(statements.DROP_SNAPSHOT, gone)
        self._db.executemany(statements.DROP_SPANS, gone)
        self._db.executemany(statements.DROP_TRACE, gone)
        self._db.executemany(statements.DROP_RUN, gone)
        return len(gone)


_NULL = type(None)
_RUN_TYPES = frozenset(
    (int, str, str, str, int, parent, str, float, float, str, int, bytes, bytes, bytes, int, str, int, float) for parent in (str, _NULL)
)
_RECORD_TYPES = frozenset((int, str, body, digest, bytes) for body in (bytes, _NULL) for digest in (bytes, _NULL))
_SNAPSHOT_TYPES = frozenset([(int, bytes, bytes)])


def _typed(make: Callable[..., T], found: tuple[Any, ...], types: frozenset[tuple[type, ...]]) -> T:
    """A row of what the columns should hold: a damaged page can hold anything."""
    if tuple(map(type, found)) not in types:
        raise JournalDamaged(f"{make.__name__} {found[0]!r:.20}", "a column holds something that is never written there.")
    return make(*found)


def _run_row(found: tuple[Any, ...]) -> RunRow:
    row = _typed(RunRow, found, _RUN_TYPES)
    row.tags = str(row.tags).encode()  # text in the file, so that SQLite can look into it
    return row


def _record_row(found: tuple[Any, ...]) -> RecordRow:
    return _typed(RecordRow, found, _RECORD_TYPES)


class SqliteRunner:
    """Runs operations on two connections to one file: writes in batches that share a commit, reads each at one instant."""

    def __init__(self, path: Path, writing: sqlite3.Connection, reading: sqlite3.Connection) -> None:
        self._path = path
        self._writer = Worker("graphorch journal writer", writing, partial(self._write_batch, writing, SqliteTables(writing)), batch=1000)
        self._reader = Worker("graphorch journal reader", reading, partial(self._read_batch, reading), batch=1)

    async def write(self, operation: Callable[[Tables], T]) -> T:
        """See `Runner.write`."""
        return await self._writer.run(operation)

    async def read(self, operation: Callable[[Tables], T]) -> T:
        """See `Runner.read`."""
        return await self._reader.run(operation)

    async def close(self) -> None:
        """See `Runner.close`."""
        await self._reader.close()
        await self._writer.close()  # the last connection moves the log into the file

    def _write_batch(self, connection: sqlite3.Connection, tables: SqliteTables, operations: Sequence[Operation]) -> Sequence[Done]:
        """One transaction for all; if that fails, one for each, so that nobody pays for what another one asked."""
        _roll_back(connection)  # what is left if an earlier rollback failed too
        try:
            connection.execute(statements.BEGIN_WRITE)
            tables.refresh()
        except SQLITE_ERRORS as error:
            _roll_back(connection)
            return [Done(error=explain(error, self._path)) for _ in operations]
        try:
            outcomes = [_attempt(operation, tables) for operation in operations]
            connection.execute(statements.COMMIT)
        except Exception as error:  # the border of the thread: whatever it was, the caller is told and the thread goes on
            _roll_back(connection)
            tables.forget()
            if len(operations) == 1:
                return [Done(error=self._told(error))]
            return [done for operation in operations for done in self._write_batch(connection, tables, [operation])]
        return outcomes

    def _read_batch(self, connection: sqlite3.Connection, operations: Sequence[Operation]) -> Sequence[Done]:
        return [self._read_one(connection, operation) for operation in operations]

    def _read_one(self, connection: sqlite3.Connection, operation: Operation) -> Done:
        try:
            connection.execute(statements.BEGIN_READ)
            return _attempt(operation, SqliteTables(connection))
        except Exception as error:  # as above
            return Done(error=self._told(error))
        finally:
            _roll_back(connection)

    def _told(self, error: Exception) -> Exception:
        return explain(error, self._path) if isinstance(error, SQLITE_ERRORS) else error


def _attempt(operation: Operation, tables: Tables) -> Done:
    """A `JournalError` comes before the first write of an operation, so it concerns nobody else in the transaction."""
    try:
        return Done(operation(tables))
    except JournalError as error:
        return Done(error=error)


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        with suppress(sqlite3.Error):  # it is tried again before the next transaction
            connection.execute(statements.ROLLBACK)


class SqliteStore(TableStore):
    """A `Store` in one file. Open it with `await SqliteStore.open(path)`, close it with `await store.close()`."""

    def __init__(self, path: Path, runner: SqliteRunner, *, clock: Clock, limits: BodyLimits, lock_timeout: float) -> None:
        super().__init__(runner, clock=clock, limits=limits)
        self._path = path
        self._lock_timeout = lock_timeout

    def __repr__(self) -> str:
        return f"SqliteStore({str(self._path)!r})"

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

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
    ) -> SqliteStore:
        """Open the file of a store, or make one. `lock_timeout` is how long (seconds) to wait while another process writes.

        Raises `StoreNotOpened` (also `NotAJournal`, `NewerFormat`), `StoreLocked`, `StoreReadOnly`, `JournalDamaged`; the file is then as it was.
        """
        where = Path(path)
        opening = partial(open_connection, where, connect, lock_timeout=lock_timeout, is_durable=sync == "full")
        writing, reading = await asyncio.to_thread(_open_both, opening)
        return cls(where, SqliteRunner(where, writing, reading), clock=clock, limits=limits, lock_timeout=lock_timeout)

    async def erase(self, run_id: str) -> None:
        """See `Store.erase`. The log is emptied too, since it still holds the pages as they were.

        Raises `StoreLocked` if somebody is reading from the log: the run is erased, and calling this again empties the log.
        """
        await super().erase(run_id)
        await asyncio.to_thread(self._empty_log)

    def _empty_log(self) -> None:
        connection = open_connection(self._path, sqlite3.connect, lock_timeout=self._lock_timeout, is_durable=True)
        try:
            is_busy = connection.execute(statements.EMPTY_THE_LOG).fetchone()[0]
        except SQLITE_ERRORS as error:
            raise explain(error, self._path) from None
        finally:
            connection.close()
        if is_busy:
            raise StoreLocked(f"'{self._path}': the content was erased, but its log is being read and still holds it. Erase the run again.")


def _open_both(opening: Callable[[], sqlite3.Connection]) -> tuple[sqlite3.Connection, sqlite3.Connection]:
    writing = opening()
    try:
        reading = opening()
    except JournalError:
        writing.close()
        raise
    reading.execute(statements.ONLY_READ)
    return writing, reading

"""Rows of a store in a PostgreSQL database."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeAlias

import psycopg

from graphorch.journal.postgres import statements
from graphorch.journal.postgres.process_lease import ProcessLease
from graphorch.journal.records import RunQuery
from graphorch.journal.tables import (
    LetterRow,
    Pruning,
    RecordRow,
    RegionRow,
    RunRow,
    SnapshotRow,
    TicketRow,
    decode_tags,
)

_StoredLease: TypeAlias = tuple[str, int, int | None, float | None]
Values: TypeAlias = Sequence[Any] | Mapping[str, Any]

_AFTER_ALL_IDS: Final = "~"  # sorts after every run id


class PostgresTables:
    """`Tables` over one transaction of a connection.

    A run that was read stays locked until the end of the transaction, and is read once. Only
    `peek_run` and what is read without a `lease` takes no locks. New runs and leases are written
    together: call `flush` before the end.
    """

    def __init__(self, cursor: psycopg.Cursor[Any], lease: ProcessLease | None) -> None:
        self._cursor = cursor
        self._lease = lease
        self._now: float | None = None
        self._runs: dict[str, RunRow | None] = {}  # None is one that does not exist
        self._new_runs: list[RunRow] = []
        self._new_leases: dict[int, _StoredLease] = {}
        # Of the runs that were read, as they are stored: owner, epoch, process, end of its own.
        self._leases: dict[int, _StoredLease] = {}
        self._bereft: set[int] = set()  # processes that lose a run to this one
        self.mailed: set[str] = set()  # runs that got a letter, or may enter a region

    @property
    def runs(self) -> Iterable[RunRow]:
        """Runs that were read or written for writing, as they are now."""
        return [row for row in self._runs.values() if row is not None]

    def process_of(self, run: int) -> int | None:
        """Return the row of the process that owns a run."""
        return self._leases[run][2] if run in self._leases else None

    def now(self) -> float:
        """See `Tables.now`. It is read once in a transaction."""
        if self._now is None:
            self._now = float(self._fetch(statements.GET_TIME)[0])
        return self._now

    def find_run(self, run_id: str) -> RunRow | None:
        """See `Tables.find_run`."""
        if self._lease is None:
            return self.peek_run(run_id)
        if run_id not in self._runs:
            self.lock_runs([run_id])
        return self._runs[run_id]

    def lock_runs(self, run_ids: Sequence[str]) -> None:
        """Read runs that are going to be written, in an order that all processes have."""
        self.flush()
        self._runs.update(dict.fromkeys(run_ids))
        self._write(statements.LOCK_ALL_RUNS, list(run_ids))
        found: list[tuple[RunRow, int | None, float | None]] = []
        for *first, key_id, process, expires_at in self._cursor.fetchall():
            found.append((_build_run(*first, 0.0, 0.0, key_id), process, expires_at))
        processes = self._read_processes({process for row, process, _ in found if row.owner})
        for row, process, expires_at in found:
            ends_at, seconds = processes.get(process, (0.0, 0.0))
            row.expires_at = ends_at if expires_at is None else expires_at
            row.lease_seconds = seconds
            self._runs[row.run_id] = row
            self._leases[row.id] = (row.owner, row.epoch, process, expires_at)

    def _read_processes(self, numbers: set[int | None]) -> dict[int | None, tuple[float, float]]:
        """Return until when the leases of processes run, and how long they last.

        Read after the runs were locked: before, another process may have claimed them.
        """
        numbers.discard(None)
        if not numbers:
            return {}
        self._write(statements.GET_PROCESSES, list(numbers))
        return {number: (ends_at, seconds) for number, ends_at, seconds in self._cursor.fetchall()}

    def flush(self) -> None:
        """Write new runs, and leases that changed."""
        if self._new_runs:
            runs, self._new_runs = self._new_runs, []
            self._write(statements.ADD_RUNS, *_columns(map(_run_values, runs)))
        if self._new_leases:
            leases, self._new_leases = self._new_leases, {}
            self._write(
                statements.SET_LEASES, *_columns((run, *lease) for run, lease in leases.items())
            )
        if self._bereft:
            processes, self._bereft = self._bereft, set()
            self._write(statements.DROP_EXPIRED_PROCESSES, list(processes))

    def peek_run(self, run_id: str) -> RunRow | None:
        """See `Tables.peek_run`."""
        self.flush()
        found = self._find(statements.GET_RUN, run_id)
        if found is None:
            return None
        *columns, now = found
        if self._now is None:
            self._now = now
        return _build_run(*columns)

    def add_run(self, row: RunRow) -> None:
        """See `Tables.add_run`."""
        self._new_runs.append(replace(row))
        del self._runs[row.run_id]  # its `id` is not known yet

    def set_progress(self, row: RunRow) -> None:
        """See `Tables.set_progress`."""
        self._write(
            statements.SET_PROGRESS, row.updated_at, row.last_seq, row.link, row.seal, row.id
        )

    def set_status(self, row: RunRow) -> None:
        """See `Tables.set_status`."""
        self._write(statements.SET_STATUS, row.status, row.id)

    def begin_lease(self, row: RunRow, ttl: float) -> None:
        """See `Tables.begin_lease`. Renewing the lease of a process renews those of its runs."""
        assert self._lease is not None
        lease = self._lease.claim(self._cursor, row, self.now(), ttl)
        row.expires_at, row.lease_seconds = lease.expires_at, lease.seconds
        owner, _, process, _ = self._leases[row.id]
        if owner not in ("", row.owner) and process is not None:
            self._bereft.add(process)
        self._store_lease(row, lease.id, None)

    def set_lease(self, row: RunRow) -> None:
        """See `Tables.set_lease`. The run gets an end of its own, whatever its process does."""
        if row.owner:
            self._store_lease(row, self._leases[row.id][2], row.expires_at)
            return
        self._store_lease(row, None, None)
        if self._lease is not None:
            self._lease.end(row.run_id)

    def _store_lease(self, row: RunRow, process: int | None, expires_at: float | None) -> None:
        """Write a lease, unless it is stored like that: renewals write the row of the process."""
        stored = (row.owner, row.epoch, process, expires_at)
        if self._leases.get(row.id) != stored:
            self._new_leases[row.id] = self._leases[row.id] = stored

    def add_records(self, run: int, rows: Sequence[RecordRow]) -> None:
        """See `Tables.add_records`."""
        if rows:
            columns = _columns((row.seq, row.kind, row.body, row.link) for row in rows)
            self._write(statements.ADD_RECORDS, run, *columns)

    def records(self, run: int, after_seq: int) -> Iterable[RecordRow]:
        """See `Tables.records`."""
        self._write(statements.GET_RECORDS, run, after_seq)
        return [RecordRow(*columns) for columns in self._cursor.fetchall()]

    def record(self, run: int, seq: int) -> RecordRow | None:
        """See `Tables.record`."""
        columns = self._find(statements.GET_RECORD, run, seq)
        return None if columns is None else RecordRow(*columns)

    def snapshot(self, run: int) -> SnapshotRow | None:
        """See `Tables.snapshot`."""
        columns = self._find(statements.GET_SNAPSHOT, run)
        return None if columns is None else SnapshotRow(*columns)

    def set_snapshot(self, run: int, row: SnapshotRow) -> None:
        """See `Tables.set_snapshot`."""
        self._write(statements.SET_SNAPSHOT, run, row.seq, row.body, row.digest)

    def add_letter(self, run: int, row: LetterRow) -> int:
        """See `Tables.add_letter`.

        The row of the run is locked, so letters of a run are committed in the order of their
        numbers.
        """
        message = row.message.encode()
        values = (run, row.letter_id, row.kind, row.body, row.sent_at, row.error, message, row.seal)
        self.mailed.update(known.run_id for known in self.runs if known.id == run)
        return self._fetch(statements.ADD_LETTER, *values)[0]

    def set_letter(self, run: int, row: LetterRow) -> None:
        """See `Tables.set_letter`."""
        message = row.message.encode()
        self._write(statements.SET_LETTER, row.body, row.error, message, row.seal, row.number, run)

    def letters(self, run: int, after: int) -> Iterable[LetterRow]:
        """See `Tables.letters`."""
        self._write(statements.GET_LETTERS, run, after)
        return [_build_letter(*columns) for columns in self._cursor.fetchall()]

    def has_mail(self, run: int) -> bool:
        """See `Tables.has_mail`."""
        return self._find(statements.FIND_MAIL, run) is not None

    def newest_letter(self) -> int:
        """See `Tables.newest_letter`."""
        return self._fetch(statements.GET_NEWEST_LETTER)[0]

    def region(self, name: str) -> RegionRow | None:
        """See `Tables.region`. Its name is locked until the end of the transaction."""
        self._write(statements.LOCK_REGION, name)
        columns = self._find(statements.GET_REGION, name)
        return None if columns is None else RegionRow(*columns)

    def set_region(self, row: RegionRow) -> None:
        """See `Tables.set_region`."""
        self._write(statements.SET_REGION, row.name, row.run_id, row.epoch)

    def drop_region(self, name: str) -> None:
        """See `Tables.drop_region`."""
        self._write(statements.DROP_REGION, name)

    def tickets(self, name: str) -> Sequence[TicketRow]:
        """See `Tables.tickets`. They are locked with their region, which is read first."""
        self._write(statements.GET_TICKETS, name)
        return [TicketRow(*columns) for columns in self._cursor.fetchall()]

    def set_ticket(self, row: TicketRow) -> None:
        """See `Tables.set_ticket`."""
        self._write(statements.SET_TICKET, row.name, row.run_id, row.epoch, row.number)

    def drop_ticket(self, name: str, run_id: str) -> None:
        """See `Tables.drop_ticket`."""
        self._write(statements.DROP_TICKET, name, run_id)

    def queue_mark(self) -> int:
        """See `Tables.queue_mark`. Nothing looks: other processes are notified."""
        return 0

    def announce(self, run_id: str) -> None:
        """See `Tables.announce`."""
        self.mailed.add(run_id)

    def list_runs(self, query: RunQuery) -> Iterable[RunRow]:
        """See `Tables.list_runs`."""
        before_time, before_id = query.after or (math.inf, _AFTER_ALL_IDS)
        values = {
            "status": query.status,
            "flow": query.flow,
            "labels": None if query.tag is None else json.dumps(dict([query.tag])),
            "created_from": -math.inf if query.created_from is None else query.created_from,
            "created_until": math.inf if query.created_until is None else query.created_until,
            "before_time": before_time,
            "before_id": before_id,
            "limit": query.limit,
        }
        # Not prepared: a plan for any filter reads all runs.
        self._cursor.execute(statements.LIST_RUNS, values, prepare=False)
        return [_build_run(*columns) for columns in self._cursor.fetchall()]

    def erase_record(self, run: int, seq: int, digest: bytes) -> None:
        """See `Tables.erase_record`."""
        self._write(statements.ERASE_RECORD, digest, run, seq)

    def set_erased(self, row: RunRow) -> None:
        """See `Tables.set_erased`."""
        self._write(statements.SET_ERASED, row.is_erased, row.salt, row.seal, row.id)
        self._write(statements.DROP_SNAPSHOT, row.id)
        self._write(statements.DROP_LETTERS, row.id)
        self._write(statements.DROP_NOTES, row.run_id)

    def drop_finished(self, pruning: Pruning, limit: int) -> int:
        """See `Tables.drop_finished`."""
        self.flush()
        values = {**self._build_values(pruning), "limit": limit}
        self._cursor.execute(statements.FIND_PRUNABLE, values)
        ids = [number for (number,) in self._cursor.fetchall()]
        self._write(statements.LOCK_RUNS, ids)
        row = self._cursor.execute(statements.DROP_RUNS, {**values, "ids": ids}).fetchone()
        assert row is not None
        self._runs.clear()
        return row[0]

    def list_refused(self, pruning: Pruning) -> Sequence[str]:
        """See `Tables.list_refused`."""
        self._cursor.execute(statements.FIND_UNPRUNABLE, self._build_values(pruning))
        return [run_id for (run_id,) in self._cursor.fetchall()]

    def _build_values(self, pruning: Pruning) -> dict[str, Any]:
        return {
            "statuses": list(pruning.statuses),
            "before": float(pruning.before),
            "now": self.now(),
            "any_key": pruning.key_id is None,
            "key_id": pruning.key_id,
        }

    def fetch(self, statement: statements.Statement, values: Values) -> list[tuple[Any, ...]]:
        """Return the rows of a statement on tables that are not the journal's."""
        cursor = self._cursor.execute(statement, values)
        return cursor.fetchall() if cursor.description else []

    def _write(self, statement: statements.Statement, *values: Any) -> None:
        self._cursor.execute(statement, values, prepare=True)

    def _find(self, statement: statements.Statement, *values: Any) -> tuple[Any, ...] | None:
        return self._cursor.execute(statement, values, prepare=True).fetchone()

    def _fetch(self, statement: statements.Statement, *values: Any) -> tuple[Any, ...]:
        columns = self._find(statement, *values)
        assert columns is not None
        return columns


def _columns(rows: Iterable[Sequence[Any]]) -> list[list[Any]]:
    """Return the columns of rows."""
    return [list(column) for column in zip(*rows, strict=True)]


def _run_values(row: RunRow) -> tuple[Any, ...]:
    """Return what is written of a new run."""
    return (
        row.run_id, row.flow, row.fingerprint, row.format, row.parent, row.tags.decode(),
        json.dumps(decode_tags(row)), row.created_at, row.updated_at, row.status, row.link,
        row.seal, row.salt, row.key_id,
    )  # fmt: skip


def _build_run(*columns: Any) -> RunRow:
    row = RunRow(*columns)
    row.tags = str(row.tags).encode()
    return row


def _build_letter(*columns: Any) -> LetterRow:
    row = LetterRow(*columns)
    row.message = bytes(columns[6]).decode(errors="replace")  # an altered one does not fit its seal
    return row

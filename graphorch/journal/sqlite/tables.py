"""Rows of a store in a SQLite file."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from graphorch.clock import Clock
from graphorch.journal.errors import JournalDamaged
from graphorch.journal.records import RunQuery
from graphorch.journal.sqlite import statements
from graphorch.journal.tables import (
    LetterRow,
    Pruning,
    RecordRow,
    RegionRow,
    RunRow,
    SnapshotRow,
    TicketRow,
)

T = TypeVar("T")
_KNOWN_RUNS = 4096
_AFTER_ALL_IDS = "~"  # sorts after every run id


class SqliteTables:
    """`Tables` over the open transaction of a connection.

    It caches the runs that it read, so that an append reads nothing. Call `refresh` first in each
    transaction.
    """

    def __init__(self, connection: sqlite3.Connection, clock: Clock) -> None:
        self._db = connection
        self._clock = clock
        self._known: dict[str, RunRow] = {}
        self._version: int | None = None
        self._size = 0
        self.prunings = 0  # how often runs were dropped

    def refresh(self) -> None:
        """Clear the cache if another connection wrote to the file meanwhile, or if it is large."""
        version = self._db.execute(statements.GET_DATA_VERSION).fetchone()[0]
        if version != self._version or len(self._known) > _KNOWN_RUNS:
            self._known.clear()
        self._version = version

    def forget(self) -> None:
        """Clear the cache: the transaction was rolled back."""
        self._known.clear()

    def owned_runs(self) -> list[RunRow]:
        """Return the runs with an owner among those that were read."""
        return [row for row in self._known.values() if row.owner]

    def take_size(self) -> int:
        """Return the bytes of the bodies that were added since the last call."""
        size, self._size = self._size, 0
        return size

    def now(self) -> float:
        """See `Tables.now`."""
        return self._clock()

    def find_run(self, run_id: str) -> RunRow | None:
        """See `Tables.find_run`."""
        row = self._known.get(run_id)
        if row is None:
            columns = self._db.execute(statements.FIND_RUN, (run_id,)).fetchone()
            if columns is None:
                return None
            row = self._known[run_id] = _run_row(columns)
        return row

    def peek_run(self, run_id: str) -> RunRow | None:
        """See `Tables.peek_run`."""
        return self.find_run(run_id)

    def add_run(self, row: RunRow) -> None:
        """See `Tables.add_run`."""
        values = (
            row.run_id, row.flow, row.fingerprint, row.format, row.parent, row.tags.decode(),
            row.created_at, row.updated_at, row.status, row.last_seq, row.link, row.seal, row.salt,
            row.is_erased, row.owner, row.epoch, row.expires_at, row.lease_seconds, row.key_id,
        )  # fmt: skip
        self._db.execute(statements.ADD_RUN, values)

    def set_progress(self, row: RunRow) -> None:
        """See `Tables.set_progress`."""
        self._db.execute(
            statements.SET_PROGRESS, (row.updated_at, row.last_seq, row.link, row.seal, row.id)
        )

    def set_status(self, row: RunRow) -> None:
        """See `Tables.set_status`."""
        self._db.execute(statements.SET_STATUS, (row.status, row.id))

    def begin_lease(self, row: RunRow, ttl: float) -> None:
        """See `Tables.begin_lease`."""
        row.expires_at, row.lease_seconds = self._clock() + ttl, ttl
        self.set_lease(row)

    def set_lease(self, row: RunRow) -> None:
        """See `Tables.set_lease`."""
        self._db.execute(
            statements.SET_LEASE,
            (row.owner, row.epoch, row.expires_at, row.lease_seconds, row.id),
        )

    def add_records(self, run: int, rows: Sequence[RecordRow]) -> None:
        """See `Tables.add_records`."""
        for row in rows:
            self._db.execute(
                statements.ADD_RECORD, (run, row.seq, row.kind, row.body, row.digest, row.link)
            )
            self._size += len(row.body or b"")

    def records(self, run: int, after_seq: int) -> Iterable[RecordRow]:
        """See `Tables.records`."""
        return map(_record_row, self._db.execute(statements.GET_RECORDS, (run, after_seq)))

    def record(self, run: int, seq: int) -> RecordRow | None:
        """See `Tables.record`."""
        columns = self._db.execute(statements.GET_RECORD, (run, seq)).fetchone()
        return None if columns is None else _record_row(columns)

    def snapshot(self, run: int) -> SnapshotRow | None:
        """See `Tables.snapshot`."""
        columns = self._db.execute(statements.GET_SNAPSHOT, (run,)).fetchone()
        return None if columns is None else _check_types(SnapshotRow, columns, _SNAPSHOT_TYPES)

    def set_snapshot(self, run: int, row: SnapshotRow) -> None:
        """See `Tables.set_snapshot`."""
        self._db.execute(statements.SET_SNAPSHOT, (run, row.seq, row.body, row.digest))

    def add_letter(self, run: int, row: LetterRow) -> int:
        """See `Tables.add_letter`."""
        values = (
            run, row.letter_id, row.kind, row.body, row.sent_at, row.error, row.message, row.seal,
        )  # fmt: skip
        self._size += len(row.body)
        number = self._db.execute(statements.ADD_LETTER, values).lastrowid
        assert number is not None
        return number

    def set_letter(self, run: int, row: LetterRow) -> None:
        """See `Tables.set_letter`."""
        self._db.execute(
            statements.SET_LETTER, (row.body, row.error, row.message, row.seal, row.number, run)
        )

    def letters(self, run: int, after: int) -> Iterable[LetterRow]:
        """See `Tables.letters`."""
        return map(_letter_row, self._db.execute(statements.GET_LETTERS, (run, after)))

    def has_mail(self, run: int) -> bool:
        """See `Tables.has_mail`."""
        return self._db.execute(statements.FIND_MAIL, (run,)).fetchone() is not None

    def newest_letter(self) -> int:
        """See `Tables.newest_letter`."""
        return self._db.execute(statements.GET_NEWEST_LETTER).fetchone()[0]

    def region(self, name: str) -> RegionRow | None:
        """See `Tables.region`."""
        columns = self._db.execute(statements.GET_REGION, (name,)).fetchone()
        return None if columns is None else _check_types(RegionRow, columns, _REGION_TYPES)

    def set_region(self, row: RegionRow) -> None:
        """See `Tables.set_region`."""
        self._db.execute(statements.SET_REGION, (row.name, row.run_id, row.epoch))

    def drop_region(self, name: str) -> None:
        """See `Tables.drop_region`."""
        self._db.execute(statements.DROP_REGION, (name,))

    def tickets(self, name: str) -> Sequence[TicketRow]:
        """See `Tables.tickets`."""
        rows = self._db.execute(statements.GET_TICKETS, (name,)).fetchall()
        return [_check_types(TicketRow, columns, _TICKET_TYPES) for columns in rows]

    def set_ticket(self, row: TicketRow) -> None:
        """See `Tables.set_ticket`."""
        self._db.execute(statements.SET_TICKET, (row.name, row.run_id, row.epoch, row.number))

    def drop_ticket(self, name: str, run_id: str) -> None:
        """See `Tables.drop_ticket`."""
        self._db.execute(statements.DROP_TICKET, (name, run_id))

    def queue_mark(self) -> int:
        """See `Tables.queue_mark`."""
        return self._db.execute(statements.GET_QUEUE_MARK).fetchone()[0]

    def announce(self, run_id: str) -> None:
        """See `Tables.announce`. Other processes see that the file has changed."""

    def list_runs(self, query: RunQuery) -> Iterable[RunRow]:
        """See `Tables.list_runs`."""
        tag, value = query.tag or (None, None)
        before_time, before_id = query.after or (math.inf, _AFTER_ALL_IDS)
        values = {
            "flow": query.flow,
            "tag": tag,
            "value": value,
            "created_from": -math.inf if query.created_from is None else query.created_from,
            "created_until": math.inf if query.created_until is None else query.created_until,
            "before_time": before_time,
            "before_id": before_id,
            "limit": query.limit,
        }
        if query.status is None:
            return map(_run_row, self._db.execute(statements.LIST_RUNS, values))
        values["status"] = query.status
        return map(_run_row, self._db.execute(statements.LIST_RUNS_OF_STATUS, values))

    def erase_record(self, run: int, seq: int, digest: bytes) -> None:
        """See `Tables.erase_record`."""
        self._db.execute(statements.ERASE_RECORD, (digest, run, seq))

    def set_erased(self, row: RunRow) -> None:
        """See `Tables.set_erased`."""
        self._db.execute(statements.SET_ERASED, (row.is_erased, row.salt, row.seal, row.id))
        self._db.execute(statements.DROP_SNAPSHOT, (row.id,))
        self._db.execute(statements.DROP_LETTERS, (row.id,))
        self._db.execute(statements.DROP_SPANS, (row.id,))
        self._db.execute(statements.DROP_TRACE, (row.id,))

    def drop_finished(self, pruning: Pruning, limit: int) -> int:
        """See `Tables.drop_finished`."""
        self._known.clear()
        self.prunings += 1
        gone = self._db.execute(
            statements.FIND_PRUNABLE, {**_build_values(pruning, self._clock()), "limit": limit}
        ).fetchall()
        self._db.executemany(statements.DROP_RECORDS, gone)
        self._db.executemany(statements.DROP_SNAPSHOT, gone)
        self._db.executemany(statements.DROP_LETTERS, gone)
        self._db.executemany(statements.DROP_SPANS, gone)
        self._db.executemany(statements.DROP_TRACE, gone)
        self._db.executemany(statements.DROP_RUN, gone)
        return len(gone)

    def list_refused(self, pruning: Pruning) -> Sequence[str]:
        """See `Tables.list_refused`."""
        rows = self._db.execute(statements.FIND_UNPRUNABLE, _build_values(pruning, self._clock()))
        return [run_id for (run_id,) in rows]


def _build_values(pruning: Pruning, now: float) -> dict[str, Any]:
    return {
        "statuses": json.dumps(list(pruning.statuses)),
        "before": pruning.before,
        "now": now,
        "any_key": pruning.key_id is None,
        "key_id": pruning.key_id,
    }


_NULL = type(None)
_RUN_TYPES = frozenset(
    (
        int,
        str,
        str,
        str,
        int,
        parent,
        str,
        float,
        float,
        str,
        int,
        bytes,
        bytes,
        bytes,
        int,
        str,
        int,
        float,
        float,
        bytes,
    )
    for parent in (str, _NULL)
)
_RECORD_TYPES = frozenset(
    (int, str, body, digest, bytes) for body in (bytes, _NULL) for digest in (bytes, _NULL)
)
_SNAPSHOT_TYPES = frozenset([(int, bytes, bytes)])
_REGION_TYPES = frozenset([(str, str, int)])
_TICKET_TYPES = frozenset([(str, str, int, int)])
_LETTER_TYPES = frozenset(
    (int, str, str, bytes, float, error, str, bytes) for error in (str, _NULL)
)


def _check_types(
    make: Callable[..., T], columns: tuple[Any, ...], types: frozenset[tuple[type, ...]]
) -> T:
    """Return a row, or raise `JournalDamaged` if a column has another type than it should."""
    if tuple(map(type, columns)) not in types:
        raise JournalDamaged(
            f"{make.__name__} {columns[0]!r:.20}",
            "a column holds a value that is never written there.",
        )
    return make(*columns)


def _run_row(columns: tuple[Any, ...]) -> RunRow:
    row = _check_types(RunRow, columns, _RUN_TYPES)
    row.tags = str(row.tags).encode()  # text in the file, so that SQLite can look into it
    return row


def _record_row(columns: tuple[Any, ...]) -> RecordRow:
    return _check_types(RecordRow, columns, _RECORD_TYPES)


def _letter_row(columns: tuple[Any, ...]) -> LetterRow:
    return _check_types(LetterRow, columns, _LETTER_TYPES)

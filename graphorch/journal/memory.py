"""Store in memory, for tests, notebooks, and runs that need not outlive their process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from graphorch.clock import Clock
from graphorch.journal import codec
from graphorch.journal.codec import BodyLimits
from graphorch.journal.completion import Completion
from graphorch.journal.errors import StoreClosed
from graphorch.journal.records import RunQuery
from graphorch.journal.store import TableStore
from graphorch.journal.tables import (
    LetterRow,
    Pruning,
    RecordRow,
    RegionRow,
    RunRow,
    SnapshotRow,
    Tables,
    TicketRow,
    build_lease,
    decode_tags,
)

T = TypeVar("T")


@dataclass(slots=True)
class _StoredRun:
    row: RunRow
    records: list[RecordRow] = field(default_factory=list[RecordRow])
    snapshot: SnapshotRow | None = None
    letters: dict[int, LetterRow] = field(default_factory=dict[int, LetterRow])


class MemoryTables:
    """`Tables` in dictionaries. Rows are copied on their way in and out, as in a database."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._runs: dict[int, _StoredRun] = {}
        self._ids: dict[str, int] = {}
        self._next_id = 1
        self._last_letter = 0
        self._regions: dict[str, RegionRow] = {}
        self._tickets: dict[tuple[str, str], TicketRow] = {}

    def now(self) -> float:
        """See `Tables.now`."""
        return self._clock()

    def find_run(self, run_id: str) -> RunRow | None:
        """See `Tables.find_run`."""
        number = self._ids.get(run_id)
        return None if number is None else replace(self._runs[number].row)

    def peek_run(self, run_id: str) -> RunRow | None:
        """See `Tables.peek_run`."""
        return self.find_run(run_id)

    def add_run(self, row: RunRow) -> None:
        """See `Tables.add_run`."""
        number, self._next_id = self._next_id, self._next_id + 1
        self._ids[row.run_id] = number
        self._runs[number] = _StoredRun(replace(row, id=number))

    def set_progress(self, row: RunRow) -> None:
        """See `Tables.set_progress`."""
        self._runs[row.id].row = replace(row)

    def set_status(self, row: RunRow) -> None:
        """See `Tables.set_status`."""
        self._runs[row.id].row = replace(row)

    def begin_lease(self, row: RunRow, ttl: float) -> None:
        """See `Tables.begin_lease`."""
        row.expires_at, row.lease_seconds = self._clock() + ttl, ttl
        self.set_lease(row)

    def set_lease(self, row: RunRow) -> None:
        """See `Tables.set_lease`."""
        self._runs[row.id].row = replace(row)

    def add_records(self, run: int, rows: Sequence[RecordRow]) -> None:
        """See `Tables.add_records`."""
        self._runs[run].records.extend(rows)

    def records(self, run: int, after_seq: int) -> Iterable[RecordRow]:
        """See `Tables.records`."""
        return [replace(row) for row in self._runs[run].records[after_seq:]]

    def record(self, run: int, seq: int) -> RecordRow | None:
        """See `Tables.record`."""
        rows = self._runs[run].records
        return replace(rows[seq - 1]) if 0 < seq <= len(rows) else None

    def snapshot(self, run: int) -> SnapshotRow | None:
        """See `Tables.snapshot`."""
        return self._runs[run].snapshot

    def set_snapshot(self, run: int, row: SnapshotRow) -> None:
        """See `Tables.set_snapshot`."""
        self._runs[run].snapshot = row

    def add_letter(self, run: int, row: LetterRow) -> int:
        """See `Tables.add_letter`."""
        self._last_letter += 1
        self._runs[run].letters[self._last_letter] = replace(row, number=self._last_letter)
        return self._last_letter

    def set_letter(self, run: int, row: LetterRow) -> None:
        """See `Tables.set_letter`."""
        self._runs[run].letters[row.number] = replace(row)

    def letters(self, run: int, after: int) -> Iterable[LetterRow]:
        """See `Tables.letters`."""
        return [replace(row) for row in self._runs[run].letters.values() if row.number > after]

    def has_mail(self, run: int) -> bool:
        """See `Tables.has_mail`."""
        return any(row.error is None for row in self._runs[run].letters.values())

    def newest_letter(self) -> int:
        """See `Tables.newest_letter`."""
        return self._last_letter

    def region(self, name: str) -> RegionRow | None:
        """See `Tables.region`."""
        return self._regions.get(name)

    def set_region(self, row: RegionRow) -> None:
        """See `Tables.set_region`."""
        self._regions[row.name] = row

    def drop_region(self, name: str) -> None:
        """See `Tables.drop_region`."""
        self._regions.pop(name, None)

    def tickets(self, name: str) -> Sequence[TicketRow]:
        """See `Tables.tickets`."""
        rows = (row for row in self._tickets.values() if row.name == name)
        return sorted(rows, key=lambda row: row.number)

    def set_ticket(self, row: TicketRow) -> None:
        """See `Tables.set_ticket`."""
        self._tickets[row.name, row.run_id] = row

    def drop_ticket(self, name: str, run_id: str) -> None:
        """See `Tables.drop_ticket`."""
        self._tickets.pop((name, run_id), None)

    def queue_mark(self) -> int:
        """See `Tables.queue_mark`. No other process writes to it."""
        return 0

    def announce(self, run_id: str) -> None:
        """See `Tables.announce`."""

    def list_runs(self, query: RunQuery) -> Iterable[RunRow]:
        """See `Tables.list_runs`."""
        rows = sorted((run.row for run in self._runs.values()), key=_age, reverse=True)
        return [replace(row) for row in rows if _passes(row, query)][: query.limit]

    def erase_record(self, run: int, seq: int, digest: bytes) -> None:
        """See `Tables.erase_record`."""
        row = self._runs[run].records[seq - 1]
        row.body, row.digest = None, digest

    def set_erased(self, row: RunRow) -> None:
        """See `Tables.set_erased`."""
        run = self._runs[row.id]
        run.row, run.snapshot, run.letters = replace(row), None, {}

    def drop_finished(self, pruning: Pruning, limit: int) -> int:
        """See `Tables.drop_finished`."""
        gone = [row for row in self._finished(pruning) if not _is_refused(row, pruning)][:limit]
        for row in gone:
            del self._runs[row.id], self._ids[row.run_id]
        return len(gone)

    def list_refused(self, pruning: Pruning) -> Sequence[str]:
        """See `Tables.list_refused`."""
        return [row.run_id for row in self._finished(pruning) if _is_refused(row, pruning)]

    def _finished(self, pruning: Pruning) -> list[RunRow]:
        return [
            row
            for row in (run.row for run in self._runs.values())
            if row.updated_at < pruning.before
            and row.status in pruning.statuses
            and not ((lease := build_lease(row)) and lease.is_running(self._clock()))
        ]


def _is_refused(row: RunRow, pruning: Pruning) -> bool:
    return pruning.key_id is not None and row.key_id not in (b"", pruning.key_id)


def _age(row: RunRow) -> tuple[float, str]:
    return (row.created_at, row.run_id)


def _passes(row: RunRow, query: RunQuery) -> bool:
    return (
        query.status in (None, row.status)
        and query.flow in (None, row.flow)
        and (query.tag is None or decode_tags(row).get(query.tag[0]) == query.tag[1])
        and (query.created_from is None or row.created_at >= query.created_from)
        and (query.created_until is None or row.created_at < query.created_until)
        and (query.after is None or _age(row) < query.after)
    )


class MemoryRunner:
    """Runs each operation at once, one at a time, from any thread."""

    def __init__(self, clock: Clock) -> None:
        self._tables = MemoryTables(clock)
        self._lock = threading.Lock()
        self._is_closed = False

    def write_now(self, operation: Callable[[Tables], Any], size: int) -> bool:
        """See `Runner.write_now`."""
        self._run(operation)
        return True

    def write_soon(self, operation: Callable[[Tables], None]) -> Completion:
        """See `Runner.write_soon`."""
        return Completion.of(self.write(operation))

    async def write(self, operation: Callable[[Tables], T]) -> T:
        """See `Runner.write`."""
        return self._run(operation)

    async def read(self, operation: Callable[[Tables], T]) -> T:
        """See `Runner.read`."""
        return self._run(operation)

    def read_soon(self, operation: Callable[[Tables], None]) -> Completion:
        """See `Runner.read_soon`."""
        return Completion.of(self.read(operation))

    def read_mark(self) -> object:
        """See `Runner.read_mark`: no other process can write here."""
        return None

    async def close(self) -> None:
        """See `Runner.close`."""
        with self._lock:
            self._is_closed = True

    def _run(self, operation: Callable[[Tables], T]) -> T:
        with self._lock:
            if self._is_closed:
                raise StoreClosed("The store was closed, so it accepts no calls. Open a new one.")
            return operation(self._tables)


class MemoryStore(TableStore):
    """`Store` in memory: it is lost with its process."""

    def __init__(self, *, clock: Clock = time.time, limits: BodyLimits = codec.LIMITS) -> None:
        super().__init__(MemoryRunner(clock), limits=limits)

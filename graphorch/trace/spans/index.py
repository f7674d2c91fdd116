"""The spans of all runs of a store as rows, for statistics.

The rows are beside the records in a SQLite store's file. Those of a database on a server are in a
file in the user's own folder, and those of any other store in a temporary one. A run pays nothing
for them: they are made from the records on request, run by run, and only of runs that have changed
since. They hold no prompt, no answer and no state; the messages of errors go through the redaction.
Erasing or pruning a run takes its rows along, in a file of the user as soon as it is read again.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias

from graphorch.journal.errors import JournalDamaged, RunNotFound, StoreNotOpened, StoreUnavailable
from graphorch.journal.records import RunHead, RunQuery
from graphorch.journal.sqlite.connection import SQLITE_ERRORS, explain, migrate, open_connection
from graphorch.journal.sqlite.store import SqliteStore
from graphorch.journal.store import Store, TableStore
from graphorch.private_files import UnusableFile, make_user_folder
from graphorch.trace.spans.builder import build_trace, is_crashed
from graphorch.trace.spans.model import Span, Trace
from graphorch.trace.spans.redaction import Redaction
from graphorch.trace.spans.sampling import Sampling

VERSION = 7  # of how spans are made: rows of another version are made again
_ROWS_PER_TRANSACTION = 5_000  # few enough that appending runs get in between
_PAGE = 500  # runs per page
_MANY_RECORDS = 500  # of a run; the spans of more are made on another thread
_LONGEST = 500  # characters of an error's message

_TRACE_COLUMNS = "run_id, flow, status, reason, tags, parent, began, seconds, budget, version, seq"
_ADD_TRACE = f"INSERT INTO traces ({_TRACE_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_ADD_SPAN = f"INSERT INTO spans VALUES ({', '.join('?' * 38)})"
_DROP_SPANS = "DELETE FROM spans WHERE run = (SELECT id FROM traces WHERE run_id = ?)"
_DROP_TRACE = "DELETE FROM traces WHERE run_id = ?"

RunMark: TypeAlias = tuple[int, str, int]
"""How far a run was read: its last record, its status, and the version of its rows."""


@dataclass(slots=True)
class CatchUp:
    """Counts of runs and spans that were read, the time it took, and the runs that are left out.

    `damaged` says what is wrong by the id of the run; `refused` are those of another key. `unkeyed`
    counts all runs without a key.
    """

    runs: int = 0
    spans: int = 0
    seconds: float = 0.0
    damaged: dict[str, str] = field(default_factory=dict[str, str])
    refused: list[str] = field(default_factory=list[str])
    unkeyed: int = 0


class SpanIndex:
    """An open index. Close it, or use it in a `with`."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path | None,
        redaction: Redaction,
        sampling: Sampling,
        *,
        is_beside_records: bool = False,
    ) -> None:
        self._db = connection
        self._path = path
        self._redaction = redaction
        self._sampling = sampling
        self._is_beside_records = is_beside_records
        self._versions: dict[str, int] = {}  # of the rows of each run
        self._changes = 0  # transactions of this index
        self._mark: tuple[tuple[int, int], int] | None = None  # what `find_mark` returned, and when

    @classmethod
    def open(
        cls,
        store: Store | None = None,
        *,
        redaction: Redaction | None = None,
        sampling: Sampling | None = None,
    ) -> Self:
        """Open the index of a store.

        It is in the store's file, or in that of the user, unless the store has a key: nothing
        protects the rows of an index, so those of a store with a key are made anew of records that
        were verified. So are those that a redaction or sampling of the caller's own makes of a
        database on a server, whose file has what the default ones make.

        Raises `StoreNotOpened` and its kinds, `StoreUnavailable` and its kinds, `JournalDamaged`.
        """
        path = connection = None
        is_beside_records = isinstance(store, SqliteStore) and not store.is_keyed
        if isinstance(store, SqliteStore) and is_beside_records:
            path = store.path
            connection = open_connection(path, sqlite3.connect, lock_timeout=5.0, is_durable=False)
        elif redaction is None and sampling is None and store is not None:
            path, connection = _open_user_file(store)
        if connection is None:
            # A temporary file, gone when it is closed.
            connection = sqlite3.connect("", isolation_level=None, check_same_thread=False)
            migrate(connection)
        return cls(
            connection,
            path,
            redaction or Redaction(),
            sampling or Sampling(),
            is_beside_records=is_beside_records,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    async def catch_up(self, store: Store) -> CatchUp:
        """Read what changed since the last time. A damaged run is left out and hides no other."""
        start, progress = time.perf_counter(), CatchUp()
        known = self.find_known()
        seen: set[str] = set()
        pending: list[Trace] = []
        async for head in _list_heads(store, progress):
            if head.is_erased:
                continue
            seen.add(head.run_id)
            if known.get(head.run_id) == self._find_mark(head):
                continue
            trace = await self._load_trace(store, head, progress)
            if trace is None:
                continue
            pending.append(trace)
            if sum(len(waiting.spans) for waiting in pending) >= _ROWS_PER_TRANSACTION:
                self._put(pending, progress)
                pending = []
        self._put(pending, progress)
        # A run that is left out now may have been read when it was still whole.
        seen -= progress.damaged.keys()
        self.drop([run_id for run_id in known if run_id not in seen])
        progress.seconds = time.perf_counter() - start
        return progress

    async def catch_up_runs(
        self, store: Store, heads: Sequence[RunHead], known: Mapping[str, RunMark] | None = None
    ) -> CatchUp:
        """Read what changed in some runs since the last time; others stay as they are.

        `known` is what `find_known` returned, if these runs are a part of many. What takes long is
        done on another thread.
        """
        start, progress = time.perf_counter(), CatchUp()
        if known is None:
            known = self.find_known([head.run_id for head in heads])
        pending: list[Trace] = []
        for head in heads:
            if head.is_erased or known.get(head.run_id) == self._find_mark(head):
                continue
            trace = await self._load_trace(store, head, progress)
            if trace is not None:
                pending.append(trace)
        if pending:
            await asyncio.to_thread(self._put, pending, progress)
        progress.seconds = time.perf_counter() - start
        return progress

    def find_mark(self) -> int:
        """Return a number that is another one once the rows are others.

        The rows of a run follow from its records, so the last record of each run tells. Where
        nobody wrote to the file since the last call, nothing is read.
        """
        [(others,)] = self._rows("PRAGMA data_version")  # counts commits of other connections
        now = (self._changes, others)
        if self._mark is None or self._mark[0] != now:
            rows = self._rows("SELECT run_id, seq, status, version, began FROM traces ORDER BY id")
            self._mark = now, hash(tuple(rows))
        return self._mark[1]

    def find_known(self, run_ids: Sequence[str] | None = None) -> dict[str, RunMark]:
        """Return how far runs were read, all or some of them."""
        sql = "SELECT run_id, seq, status, version FROM traces"
        if run_ids is not None:
            sql += f" WHERE run_id IN ({', '.join('?' * len(run_ids))})"
        rows = self._rows(sql, run_ids or ())
        return {run_id: (seq, status, version) for run_id, seq, status, version in rows}

    def _find_mark(self, head: RunHead) -> RunMark:
        """Return what the rows of a run have that are up to date."""
        status = "crashed" if is_crashed(head) else head.status
        version = self._versions[head.run_id] = self._find_version(head)
        return head.last_seq, status, version

    def _find_version(self, head: RunHead) -> int:
        """Return the version of the rows of a run.

        Rows in another file than the records outlive a run that is deleted, so there the version
        also tells the run from an earlier one of its id.
        """
        if self._is_beside_records:
            return VERSION
        return VERSION + (zlib.crc32(repr(head.created_at).encode()) << 8)

    async def _load_trace(self, store: Store, head: RunHead, progress: CatchUp) -> Trace | None:
        """Return the trace of a run; None if it is damaged, or was pruned meanwhile."""
        try:
            log = await store.load(head.run_id)
        except JournalDamaged as error:
            progress.damaged[head.run_id] = str(error)
            return None
        except RunNotFound:
            return None
        if len(log.records) > _MANY_RECORDS:
            trace = await asyncio.to_thread(build_trace, log.head, log.records)
        else:
            trace = build_trace(log.head, log.records)
        if trace.faults:
            progress.damaged[head.run_id] = trace.faults[0]
            return None
        return trace

    def add(self, traces: Sequence[Trace]) -> None:
        """Add traces; they replace earlier ones of their runs.

        Raises `JournalDamaged` for values that no run can have.
        """
        progress = CatchUp()
        self._put(traces, progress)
        for message in progress.damaged.values():
            raise JournalDamaged("The index", message)

    def _put(self, traces: Sequence[Trace], progress: CatchUp) -> None:
        if not traces:
            return
        with self._transaction():
            for trace in traces:
                self._db.execute(_DROP_SPANS, (trace.run_id,))
                self._db.execute(_DROP_TRACE, (trace.run_id,))
                self._db.execute("SAVEPOINT trace")
                try:
                    self._put_trace(trace, progress)
                # Values that are of their declared types, and still beyond what a row can hold.
                except (sqlite3.IntegrityError, sqlite3.ProgrammingError, OverflowError) as error:
                    self._db.execute("ROLLBACK TO trace")
                    progress.damaged[trace.run_id] = (
                        f"Run '{trace.run_id}' holds a value that cannot be counted: {error}."
                    )
                self._db.execute("RELEASE trace")

    def _put_trace(self, trace: Trace, progress: CatchUp) -> None:
        number = self._db.execute(_ADD_TRACE, self._trace_row(trace)).lastrowid
        if self._sampling.keeps(trace):
            # Of an activation only the last outcome counts.
            rows = [
                self._span_row(number, span, kind)
                for span, kind in _list_kinds(trace)
                if not span.is_continued
            ]
            self._db.executemany(_ADD_SPAN, rows)
            progress.spans += len(rows)
        progress.runs += 1

    def drop(self, run_ids: Sequence[str]) -> None:
        """Forget the rows of some runs."""
        if run_ids:
            with self._transaction():
                self._db.executemany(_DROP_SPANS, [(run_id,) for run_id in run_ids])
                self._db.executemany(_DROP_TRACE, [(run_id,) for run_id in run_ids])

    def query(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a statement.

        Raises `StoreUnavailable` and its kinds, and `JournalDamaged`.
        """
        return list(self._rows(sql, values))

    def iterate(self, sql: str, values: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a statement, one after the other. Raises as `query` does."""
        return self._rows(sql, values)

    def _rows(self, sql: str, values: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        try:
            yield from self._db.execute(sql, values)
        except SQLITE_ERRORS as error:
            # The statements are ours, so what they do not understand is what they read.
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR:
                self._forget_everything()
                raise StoreUnavailable(
                    "The statistics beside the records were not what was written "
                    f"(SQLite says: {error}), and were removed. Repeat the call: they are made "
                    "anew of the records."
                ) from None
            raise self._explain(error) from None

    def _forget_everything(self) -> None:
        with self._transaction():
            self._db.execute("DELETE FROM spans")
            self._db.execute("DELETE FROM traces")

    def _transaction(self) -> _Transaction:
        self._changes += 1
        return _Transaction(self._db, self._explain)

    def _explain(self, error: Exception) -> Exception:
        return explain(error, self._path or Path("the index"))

    def _trace_row(self, trace: Trace) -> tuple[Any, ...]:
        tags = json.dumps(self._redaction.data(dict(trace.tags)), ensure_ascii=False)
        return (
            trace.run_id,
            trace.flow,
            trace.status,
            trace.reason,
            tags,
            trace.parent,
            trace.began,
            trace.seconds,
            trace.budget,
            self._versions.get(trace.run_id, VERSION),
            trace.seq,
        )

    def _span_row(self, number: int | None, span: Span, kind: str) -> tuple[Any, ...]:
        # Redaction of a long message takes time, and only its beginning is kept.
        message = self._redaction.text(span.message[: 4 * _LONGEST])[:_LONGEST]
        return (
            number,
            span.id,
            span.parent,
            kind,
            span.path,
            span.step,
            span.node,
            span.level,
            span.attempt,
            span.began,
            span.seconds,
            span.status,
            span.error,
            message,
            span.model,
            span.endpoint,
            span.policy,
            span.input_tokens,
            span.output_tokens,
            span.cached_tokens,
            span.usd,
            span.usd_source,
            span.first_token,
            span.sent,
            span.retries,
            span.fallbacks,
            span.hedges,
            span.from_cache,
            span.loop,
            json.dumps(span.findings) if span.findings else None,
            span.is_copy,
            max(span.unpriced, span.is_unpriced),
            max(span.booked_usd, span.usd),  # a budget counts at least what is known
            span.booked_tokens,
            span.failed_sent,
            span.unusable,
            span.has_requests,
            span.estimated,
        )


def _open_user_file(store: Store) -> tuple[Path | None, sqlite3.Connection | None]:
    """Return the file of the user for a database on a server, and a connection to it.

    A file that is none of ours, or of another version, is made anew. Return None twice for any
    other store, and where no such file can be kept.
    """
    if not isinstance(store, TableStore) or not store.identity or store.is_keyed:
        return None, None
    name = hashlib.sha256(store.identity.encode()).hexdigest()
    try:
        path = make_user_folder("cache") / f"spans-{name}.sqlite"
    except UnusableFile:
        return None, None
    for _ in range(2):
        try:
            return path, open_connection(path, sqlite3.connect, lock_timeout=5.0, is_durable=False)
        except (StoreNotOpened, JournalDamaged):
            with suppress(OSError):
                path.unlink()
    return None, None


def _list_kinds(trace: Trace) -> Iterator[tuple[Span, str]]:
    """Yield each span with its kind; attempts of tool calls are apart from those of nodes."""
    tool_calls = {span.id for span in trace.spans if span.role == "tool"}
    for span in trace.spans:
        is_of_tool = span.kind == "attempt" and span.parent in tool_calls
        yield span, "tool_attempt" if is_of_tool else span.kind


class _Transaction:
    """One transaction: all of it, or nothing; `explain_error` turns errors of SQLite into ours."""

    def __init__(
        self, db: sqlite3.Connection, explain_error: Callable[[Exception], Exception]
    ) -> None:
        self._db = db
        self._explain = explain_error

    def __enter__(self) -> None:
        try:
            self._db.execute("BEGIN IMMEDIATE")
        except SQLITE_ERRORS as error:
            raise self._explain(error) from None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self._db.execute("COMMIT")
            return
        self._db.execute("ROLLBACK")
        if isinstance(error, SQLITE_ERRORS):
            raise self._explain(error) from None


async def _list_heads(store: Store, progress: CatchUp) -> AsyncIterator[RunHead]:
    """Yield the heads of all runs, and note those that cannot be read."""
    query: RunQuery | None = RunQuery(limit=_PAGE)
    while query is not None:
        page = await store.list_runs(query)
        for run_id in page.damaged:
            progress.damaged[run_id] = f"The head of run '{run_id}' is not what was written."
        progress.refused += page.refused
        for head in page.runs:
            progress.unkeyed += not head.is_keyed
            yield head
        query = RunQuery(limit=_PAGE, after=page.next) if page.next is not None else None

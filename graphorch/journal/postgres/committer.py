"""Commits to a PostgreSQL database, a batch at a time.

Theory of operation:

1. Appends of a batch are one statement, so one round trip and one wait for the disk. It is fenced
   by owner, epoch, last record and the lease of the process, and returns the runs that got in.
2. For that, the ends of the chains of the runs that are owned here are kept in memory (`_Head`);
   no other process moves them while the epoch is the same.
3. All other operations, and the appends that did not get in, run in a transaction of their own,
   row by row. There an append that was made before is noticed, and an error gets its name.
4. An operation may be repeated, so a batch whose connection was lost is sent again on a new one.
   What was known of the chains of its runs is forgotten first: it may have been committed.
5. A notification makes commits wait for each other, so it is sent after the commit of a letter.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import psycopg

from graphorch.journal import codec
from graphorch.journal.errors import StoreUnavailable
from graphorch.journal.operations import Append, OfRun
from graphorch.journal.postgres import statements
from graphorch.journal.postgres.announcements import Announcements
from graphorch.journal.postgres.connection import PAUSE, Connection, Session, explain
from graphorch.journal.postgres.process_lease import ProcessLease
from graphorch.journal.postgres.tables import PostgresTables
from graphorch.journal.runners.database_thread import Done, Operation, attempt

_BYTES: Final = 16 * 1024 * 1024  # of the bodies of one statement, or a single larger append


_RecordValues: TypeAlias = tuple[int, int, str, bytes, bytes]  # run, seq, kind, body, link


@dataclass(slots=True)
class _Head:
    """End of the chain of a run that is owned here, and the lease that keeps it ours."""

    id: int
    owner: str
    epoch: int
    last_seq: int
    link: bytes
    salt: bytes
    status: str
    key_id: bytes


@dataclass(slots=True)
class _Advance:
    """Appends of one run in one statement: where it ended, where it will end, their records."""

    before: _Head
    after: _Head
    secret: bytes | None
    operations: list[int] = field(default_factory=list[int])  # by their place in the batch
    records: list[_RecordValues] = field(default_factory=list[_RecordValues])

    def values(self) -> tuple[int, str, int, int, int, bytes, bytes, str]:
        """Return the row of the input of the statement."""
        end = self.after
        seal = codec.seal(end.link, end.status, False, self.secret)
        return (
            end.id, end.owner, end.epoch, self.before.last_seq, end.last_seq, end.link, seal,
            end.status,
        )  # fmt: skip


def configure_writing(connection: Connection) -> None:
    """Have rows found by their keys.

    A plan is made for the first statements and kept, when the tables are still small.
    """
    connection.execute(statements.USE_INDEXES)


class Committer:
    """Runs operations in transactions; a single thread uses it."""

    def __init__(
        self,
        session: Session,
        lease: ProcessLease,
        patience: float,
        announcements: Announcements,
    ) -> None:
        self._session = session
        self._announcements = announcements
        self._patience = patience
        self._lease = lease
        self._heads: dict[str, _Head] = {}

    def commit_all(self, operations: Sequence[Operation]) -> Sequence[Done]:
        """Run operations; one that fails does so alone. Waits for a server that restarts."""
        outcomes: list[Done | None] = [None] * len(operations)
        until = time.monotonic() + self._patience
        while None in outcomes:
            try:
                connection = self._session.acquire(until)
                self._commit_missing(connection, operations, outcomes)
            # The border of the thread: every error goes to the caller, and the thread goes on.
            except Exception as error:
                is_lost = self._session.drop_if_lost()
                if is_lost and time.monotonic() < until and not isinstance(error, StoreUnavailable):
                    time.sleep(PAUSE)
                    continue
                failure = Done(error=explain(error, self._session.address.place))
                outcomes = [done or failure for done in outcomes]
        return [done for done in outcomes if done is not None]

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    # ---- appends ---------------------------------------------------------------------------------
    def _commit_missing(
        self, connection: Connection, operations: Sequence[Operation], outcomes: list[Done | None]
    ) -> None:
        """Run the operations that have no outcome yet, and write down theirs."""
        for advances in self._plan_appends(operations, outcomes):
            self._commit_appends(connection, advances, outcomes)
        rest = [place for place, done in enumerate(outcomes) if done is None]
        if rest:
            self._commit_others(connection, operations, rest, outcomes)

    def _plan_appends(
        self, operations: Sequence[Operation], outcomes: Sequence[Done | None]
    ) -> Iterator[dict[str, _Advance]]:
        """Yield the appends that go into one statement, each run's together."""
        advances: dict[str, _Advance] = {}
        size = 0
        for place, operation in enumerate(operations):
            if outcomes[place] is None and isinstance(operation, Append) and not operation.settled:
                size += self._add_append(advances, place, operation)
                if size > _BYTES:
                    yield advances
                    advances, size = {}, 0
        if advances:
            yield advances

    def _add_append(self, advances: dict[str, _Advance], place: int, append: Append) -> int:
        """Add an append if it continues a run that is owned here; return its bytes."""
        run_id = append.lease.run_id
        advance = advances.get(run_id)
        head = self._heads.get(run_id) if advance is None else advance.after
        if head is None or not _continues(append, head):
            return 0
        secret = append.key.secret if append.key is not None and head.key_id else None
        after, records = _extend(head, append, secret)
        if advance is None:
            advance = advances[run_id] = _Advance(head, after, secret)
        advance.after = after
        advance.operations.append(place)
        advance.records += records
        return sum([len(body) for _, body in append.entries])

    def _commit_appends(
        self,
        connection: Connection,
        advances: dict[str, _Advance],
        outcomes: list[Done | None],
    ) -> None:
        # If the outcome stays unknown, so do the ends of these chains.
        for run_id in advances:
            del self._heads[run_id]
        records = [record for advance in advances.values() for record in advance.records]
        values = [
            *_columns([advance.values() for advance in advances.values()], 8),
            *_columns(records, 5),
        ]
        cursor = connection.cursor(binary=True)
        try:
            cursor.execute(statements.APPEND, values, prepare=True)
        except psycopg.Error:
            if connection.closed:
                raise
            return  # each of them alone says why
        got_in = {number for (number,) in cursor.fetchall()}
        for run_id, advance in advances.items():
            if advance.after.id in got_in:
                self._heads[run_id] = advance.after
                for place in advance.operations:
                    outcomes[place] = Done()
        self._announcements.note(advances)

    # ---- other operations ------------------------------------------------------------------------
    def _commit_others(
        self,
        connection: Connection,
        operations: Sequence[Operation],
        places: Sequence[int],
        outcomes: list[Done | None],
        tries: int = 3,
    ) -> None:
        """Run operations in one transaction, or, if that fails, each in one of its own."""
        tables = PostgresTables(connection.cursor(binary=True), self._lease)
        try:
            connection.execute(statements.BEGIN_WRITE)
            tables.lock_runs(_name_runs([operations[place] for place in places]))
            done = [attempt(operations[place], tables) for place in places]
            tables.flush()
            connection.execute(statements.COMMIT)
        except Exception as error:
            self._undo(connection)
            if connection.closed:
                raise
            if len(places) > 1:
                for place in places:
                    self._commit_others(connection, operations, [place], outcomes)
            # Of two that wait for each other one is refused, and may go second.
            elif isinstance(error, psycopg.errors.DeadlockDetected) and tries:
                self._commit_others(connection, operations, places, outcomes, tries - 1)
            else:
                outcomes[places[0]] = Done(error=explain(error, self._session.address.place))
            return
        for place, outcome in zip(places, done, strict=True):
            outcomes[place] = outcome
        self._keep_heads(tables)
        self._lease.release_late(connection.cursor(binary=True))
        self._notify(connection, tables.mailed)
        self._announcements.note([row.run_id for row in tables.runs])

    def _keep_heads(self, tables: PostgresTables) -> None:
        """Keep the ends of the runs that a transaction read, as far as they are owned here."""
        for row in tables.runs:
            if row.owner and self._lease.owns(tables.process_of(row.id)) and not row.is_erased:
                self._heads[row.run_id] = _Head(
                    row.id, row.owner, row.epoch, row.last_seq, row.link, row.salt, row.status,
                    row.key_id,
                )  # fmt: skip
            else:
                self._heads.pop(row.run_id, None)

    def _undo(self, connection: Connection) -> None:
        """Roll back, and forget the rows that may not have been written."""
        self._lease.forget()
        if not connection.closed:
            connection.execute(statements.ROLLBACK)

    def _notify(self, connection: Connection, run_ids: set[str]) -> None:
        """Tell all processes that runs got letters; one that does not hear of it looks itself."""
        for run_id in sorted(run_ids):
            connection.execute(statements.NOTIFY, (run_id,))


def _columns(rows: Sequence[Sequence[Any]], count: int) -> list[list[Any]]:
    """Return the columns of rows, of which there may be none."""
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(count)]


def _name_runs(operations: Sequence[Operation]) -> list[str]:
    """Return the runs that operations begin with, as far as they say so."""
    return list({each.run_id: None for each in operations if isinstance(each, OfRun | Append)})


def _continues(append: Append, head: _Head) -> bool:
    """Return whether an append continues a chain by the lease and the key that it is known by."""
    lease = append.lease
    if (lease.owner, lease.epoch) != (head.owner, head.epoch):
        return False
    has_key = not head.key_id or (append.key is not None and append.key.id == head.key_id)
    return has_key and append.expected_last_seq == head.last_seq


def _extend(head: _Head, append: Append, secret: bytes | None) -> tuple[_Head, list[_RecordValues]]:
    """Return the end of a chain after an append, and the rows of its records.

    A copy of what `operations.append` does to a row.
    """
    link, records = head.link, list[_RecordValues]()
    for seq, (kind, body) in enumerate(append.entries, head.last_seq + 1):
        link = codec.next_link(link, seq, kind, codec.digest(body, head.salt), secret)
        records.append((head.id, seq, kind, body, link))
    last_seq, status = head.last_seq + len(records), append.status or head.status
    after = _Head(head.id, head.owner, head.epoch, last_seq, link, head.salt, status, head.key_id)
    return after, records

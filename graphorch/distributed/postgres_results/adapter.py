"""Results in a PostgreSQL database: notes that survive every process.

Theory of operation:

1. All posts that begin while a commit is under way share the next one, so a thousand cost what a
   few cost.
2. A notification makes commits wait for each other, so it is sent after the commit, and at most
   about 50 times a second from one process. It names the topics, and is only a hint: while anything
   is watched, each process looks once a second as well.
3. A look asks for the notes of all transactions that were not over at the look before, since a
   transaction that began earlier may commit later. What was given out already is left out by its
   number.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from graphorch.distributed.postgres_results.notes_table import (
    CHANNEL,
    NotesTable,
    Place,
    StoredNote,
)
from graphorch.distributed.results import Note, Take
from graphorch.errors import JournalError
from graphorch.journal.postgres.announcements import Announcements
from graphorch.journal.postgres.attendant import Attendant
from graphorch.journal.postgres.connection import (
    PATIENCE,
    Address,
    Session,
    build_refusal,
    explain,
    open_connection,
)
from graphorch.journal.postgres.process_lease import ProcessLease
from graphorch.journal.postgres.setup import check_schema, check_server
from graphorch.journal.postgres.store import PostgresStore
from graphorch.journal.runners.database_thread import DatabaseThread, Done

_LOG = logging.getLogger(__name__)
LOOK_SECONDS: Final = 1.0  # between two looks without a notification
_NOTIFY_SECONDS: Final = 0.02  # between two notifications of one process
_TOGETHER: Final = 10.0  # notifications at once, after a pause
_CLEAN_SECONDS: Final = 60.0  # between two looks for notes that no owner drops
_BATCH: Final = 500
_BYTES: Final = 16_000_000  # of the notes of one statement, or a single larger one

Operation = Callable[[NotesTable], Any]


@dataclass(frozen=True, slots=True)
class _Post:
    """The posting of a note, which shares a statement with others."""

    note: Note

    def __call__(self, table: NotesTable) -> bool:
        return table.post([self.note])[0]


@dataclass(frozen=True, slots=True)
class _Find:
    """The reading of all notes of a topic, which shares a statement with others."""

    topic: str

    def __call__(self, table: NotesTable) -> list[StoredNote]:
        return table.find([self.topic])[self.topic]


@dataclass(frozen=True, slots=True)
class _Has:
    """The question whether a note is stored, which shares a statement with others."""

    place: Place

    def __call__(self, table: NotesTable) -> bool:
        return self.place in table.list_stored([self.place])


_SHARED: Final = (_Post, _Find, _Has)


class PostgresResults:
    """Notes in one database. Open it with `await PostgresResults.open(url)`, and close it."""

    def __init__(self, session: Session, store: PostgresStore | None) -> None:
        own = Attendant(session.address, ProcessLease(), Announcements()) if store is None else None
        self._own_attendant, self._store = own, store
        self._session = session
        self._thread: DatabaseThread[NotesTable] = DatabaseThread(
            "graphorch notes", self._transact, session.close, batch=_BATCH
        )
        self._loop = asyncio.get_running_loop()
        self._watched: dict[str, Take] = {}
        self._since = 0  # the transaction from which on the next look has to look
        self._given: dict[int, int] = {}  # notes that were given out, with their transactions
        self._has_news = asyncio.Event()
        self._to_notify: set[str] = set()  # changed by the thread alone
        self._room, self._refilled = _TOGETHER, time.monotonic()  # for notifications
        self._notifying: asyncio.Task[None] | None = None
        self._looking = self._loop.create_task(self._look_again())
        for hearing in (own, store):
            if hearing is not None:
                hearing.listen(CHANNEL, self._hint)

    @classmethod
    async def open(cls, url: str, *, store: PostgresStore | None = None) -> PostgresResults:
        """Open the notes of a database that has the tables of graphorch (`graphorch db init`).

        With an open `store` of that database they listen on its connection for notifications, and
        have to be closed before it; otherwise on one of their own. Raises `StoreNotOpened` and its
        kinds, and `StoreReadOnly`.
        """
        return cls(await asyncio.to_thread(_open_session, Address(url)), store)

    # ---- the port --------------------------------------------------------------------------------
    async def post(self, note: Note) -> bool:
        """Store a note unless one with its topic and key is there; return whether it counts."""
        counts = await self._thread.run(_Post(note))
        if self._to_notify and self._notifying is None:
            self._notifying = self._loop.create_task(self._notify())
        return counts

    async def watch(self, topic: str, take: Take) -> None:
        """Give the notes of a topic to a function: those that are there now, then all others."""
        self._watched[topic] = take
        try:
            self._give(await self._thread.run(_Find(topic)))
        except JournalError:
            self._watched.pop(topic, None)
            raise

    async def has(self, topic: str, key: str) -> bool:
        """Return whether a note with this topic and key is stored."""
        return await self._thread.run(_Has(Place(topic, key)))

    def unwatch(self, topic: str) -> None:
        """Stop giving the notes of a topic to its function."""
        self._watched.pop(topic, None)

    async def drop(self, run: str, keys: Collection[str] | None = None) -> None:
        """Delete the notes to the owner of a run with these keys; without keys, all of the run."""
        await self._thread.run(lambda table: table.drop(run, keys))

    async def close(self) -> None:
        """Release all connections; notes stay."""
        tasks = [task for task in (self._looking, self._notifying) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._store is not None:
            self._store.end_listening(CHANNEL)
        if self._own_attendant is not None:
            await asyncio.to_thread(self._own_attendant.close)
        await self._thread.close()

    # ---- waking ----------------------------------------------------------------------------------
    async def _notify(self) -> None:
        """Wake the watchers of what was posted since the last notification, in a moment."""
        try:
            await asyncio.sleep(_NOTIFY_SECONDS)
            await self._thread.run(self._notify_now)
        except JournalError:
            pass  # a process that waits looks by itself
        finally:
            self._notifying = None

    def _notify_now(self, table: NotesTable) -> None:
        """Wake the watchers of what was posted, on the thread."""
        topics, self._to_notify = self._to_notify, set()
        if topics:
            self._room -= 1.0
            table.notify(topics)

    def _has_room(self) -> bool:
        """Return whether a notification may be sent at once: 50 a second, some of them together."""
        now = time.monotonic()
        refilled = self._room + (now - self._refilled) / _NOTIFY_SECONDS
        self._room, self._refilled = min(refilled, _TOGETHER), now
        return self._room >= 1.0

    def _hint(self, topics: str) -> None:
        """Take the hint of another thread that some topics have news."""
        watched = self._watched
        if watched and (not topics or any(topic in watched for topic in topics.split("\n"))):
            with suppress(RuntimeError):  # the loop is gone, and its tasks with it
                self._loop.call_soon_threadsafe(self._has_news.set)

    # ---- looking ---------------------------------------------------------------------------------
    async def _look_again(self) -> None:
        cleaned = time.monotonic()
        while True:
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._has_news.wait()
            except TimeoutError:
                pass
            self._has_news.clear()
            try:
                if self._watched:
                    await self._look()
                if time.monotonic() > cleaned + _CLEAN_SECONDS:
                    cleaned = time.monotonic()
                    await self._thread.run(lambda table: table.drop_old())
            except JournalError as error:  # a later look finds it
                _LOG.warning("looking for notes: %s", error)
            except Exception:  # a bug must not leave those who watch without notes for ever
                _LOG.exception("looking for notes ended with an unexpected error, and begins again")

    async def _look(self) -> None:
        """Give out what was posted since the last look."""
        topics, since, known = list(self._watched), self._since, list(self._given)
        mark, stored = await self._thread.run(lambda table: table.look(topics, since, known))
        self._give(stored)
        self._since = mark
        self._given = {number: at for number, at in self._given.items() if at >= mark}

    def _give(self, stored: Sequence[StoredNote]) -> None:
        for number, posted_in, note in stored:
            take = self._watched.get(note.topic)
            if take is not None:
                self._given[number] = posted_in
                take(note)

    # ---- on the thread ---------------------------------------------------------------------------
    def _transact(self, operations: Sequence[Operation]) -> Sequence[Done]:
        """Run operations in their order, or each alone if they fail together."""
        until = time.monotonic() + PATIENCE
        while True:
            try:
                table = NotesTable(self._session.acquire(until))
                done = [Done(result) for result in _run_all(table, operations)]
                self._to_notify.update(_list_posted(operations))
                if self._has_room():
                    self._notify_now(table)
                return done
            # The border of the thread: every error goes to the caller, and the thread goes on.
            except Exception as error:
                if self._session.drop_if_lost() and time.monotonic() < until:
                    continue
                if len(operations) > 1:
                    return [self._transact([operation])[0] for operation in operations]
                return [Done(error=explain(error, self._session.address.place))]


def _run_all(table: NotesTable, operations: Sequence[Operation]) -> list[Any]:
    """Run operations in their order; posts and readings between others share statements.

    A reading may also get what is posted at the same time, and all may be repeated.
    """
    results: list[Any] = []
    shared: list[_Post | _Find | _Has] = []
    for operation in operations:
        if isinstance(operation, _SHARED):
            shared.append(operation)
        else:
            results += _run_shared(table, shared)
            results.append(operation(table))
            shared = []
    return results + _run_shared(table, shared)


def _list_posted(operations: Sequence[Operation]) -> Iterator[str]:
    """Yield the topics of the notes that are posted."""
    for operation in operations:
        if isinstance(operation, _Post):
            yield operation.note.topic


def _run_shared(table: NotesTable, operations: Sequence[_Post | _Find | _Has]) -> list[Any]:
    notes = [operation.note for operation in operations if isinstance(operation, _Post)]
    counted = iter(_post_all(table, notes))
    topics = {operation.topic for operation in operations if isinstance(operation, _Find)}
    found = table.find(topics) if topics else {}
    places = {operation.place for operation in operations if isinstance(operation, _Has)}
    stored = table.list_stored(places) if places else frozenset[Place]()
    results: list[Any] = []
    for operation in operations:
        if isinstance(operation, _Post):
            results.append(next(counted))
        elif isinstance(operation, _Find):
            results.append(found[operation.topic])
        else:
            results.append(operation.place in stored)
    return results


def _post_all(table: NotesTable, notes: Sequence[Note]) -> list[bool]:
    counted: list[bool] = []
    batch: list[Note] = []
    size = 0
    for note in notes:
        if batch and size + len(note.body) > _BYTES:
            counted += table.post(batch)
            batch, size = [], 0
        batch.append(note)
        size += len(note.body)
    return counted + (table.post(batch) if batch else [])


def _open_session(address: Address) -> Session:
    connection = open_connection(address)
    try:
        check_server(connection, address.place)
        check_schema(connection, address.place)
    except BaseException as error:
        connection.close()
        raise build_refusal(error, address.place) from None
    return Session(address, connection)

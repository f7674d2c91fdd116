"""Store for many machines: a PostgreSQL database, with a writing and a reading connection.

Theory of operation. Many runs share one statement and one wait for the disk, see `committer.py`.
All time is the database's, so clocks of machines do not matter. Lost connections are made again,
and what was under way is repeated; a server that is away for longer fails the calls with
`StoreUnavailable`.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol, TypeVar

from graphorch.journal import codec
from graphorch.journal.chain_key import ChainKey, build_key, read_key
from graphorch.journal.codec import BodyLimits
from graphorch.journal.completion import Completion
from graphorch.journal.errors import StoreUnavailable
from graphorch.journal.operations import ReadHead
from graphorch.journal.postgres import statements
from graphorch.journal.postgres.announcements import Announcements
from graphorch.journal.postgres.attendant import Attendant, KeptLease
from graphorch.journal.postgres.committer import Committer, configure_writing
from graphorch.journal.postgres.connection import (
    PATIENCE,
    PAUSE,
    Address,
    Connection,
    Session,
    build_refusal,
    explain,
    open_connection,
)
from graphorch.journal.postgres.process_lease import ProcessLease
from graphorch.journal.postgres.setup import (
    check_pooling,
    check_schema,
    check_server,
    read_identity,
)
from graphorch.journal.postgres.tables import PostgresTables, Values
from graphorch.journal.records import Lease
from graphorch.journal.runners.database_thread import DatabaseThread, Done, Operation, attempt
from graphorch.journal.store import TableStore
from graphorch.journal.tables import Tables
from graphorch.journal.validation import check_seconds

T = TypeVar("T")


class Closable(Protocol):
    """What has connections of its own to the database of a store."""

    async def close(self) -> None:
        """Release them."""
        ...


K = TypeVar("K", bound=Closable)


class PostgresRunner:
    """Runs operations on two connections to one database, each on a thread of its own."""

    def __init__(
        self,
        writing: Session,
        reading: Session,
        lease: ProcessLease,
        patience: float,
        announcements: Announcements,
    ) -> None:
        self._reading = reading
        self._patience = patience
        committer = Committer(writing, lease, patience, announcements)
        self._writer = DatabaseThread(
            "graphorch journal writer", committer.commit_all, committer.close, batch=1000
        )
        self._reader = DatabaseThread(
            "graphorch journal reader", self._read_batch, reading.close, batch=100
        )

    def write_now(self, operation: Callable[[Tables], Any], size: int) -> bool:
        """See `Runner.write_now`: a server is always waited for."""
        return False

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
        """See `Runner.read_mark`: other processes notify this one."""
        return None

    async def close(self) -> None:
        """See `Runner.close`."""
        await self._reader.close()
        await self._writer.close()

    def _read_batch(self, operations: Sequence[Operation]) -> Sequence[Done]:
        """Read for several callers in one transaction, or for each alone if that fails."""
        until = time.monotonic() + self._patience
        while True:
            try:
                return _read_at_once(self._reading.acquire(until), operations)
            # The border of the thread: every error goes to the caller, and the thread goes on.
            except Exception as error:
                is_lost = self._reading.drop_if_lost()
                if is_lost and time.monotonic() < until and not isinstance(error, StoreUnavailable):
                    time.sleep(PAUSE)
                    continue
                if len(operations) > 1 and not is_lost:
                    return [self._read_batch([operation])[0] for operation in operations]
                failure = explain(error, self._reading.address.place)
                return [Done(error=failure) for _ in operations]


def _read_at_once(connection: Connection, operations: Sequence[Operation]) -> Sequence[Done]:
    tables = PostgresTables(connection.cursor(binary=True), None)
    if len(operations) == 1 and isinstance(operations[0], ReadHead):
        return [attempt(operations[0], tables)]  # one statement, which reads at one instant
    connection.execute(statements.BEGIN_READ)
    try:
        return [attempt(operation, tables) for operation in operations]
    finally:
        if not connection.closed:
            connection.execute(statements.ROLLBACK)


class PostgresStore(TableStore):
    """`Store` in one database.

    Open it with `await PostgresStore.open(url)`, close it with `await store.close()`.
    """

    def __init__(
        self,
        address: Address,
        runner: PostgresRunner,
        lease: ProcessLease,
        *,
        identity: str,
        limits: BodyLimits,
        key: ChainKey | None,
        announcements: Announcements,
    ) -> None:
        super().__init__(runner, limits=limits, key=key)
        self.identity = identity
        self._address = address
        self._lease = lease
        self._announcements = announcements
        self._attendant = Attendant(address, lease, announcements)
        self._kept: dict[type[Closable], Closable] = {}
        self._lock = threading.Lock()  # callers may be on several threads

    def __repr__(self) -> str:
        return f"PostgresStore({self._address.place!r})"

    @property
    def url(self) -> str:
        """URL of the database, for the driver: it may hold a password, so it is never shown."""
        return self._address.url

    @property
    def process_name(self) -> str:
        """Name of this process in the table of processes."""
        return self._lease.name

    def is_in_place(self) -> bool:
        """Return whether the URL still names the database that was opened."""
        return True

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        limits: BodyLimits = codec.LIMITS,
        key: str | bytes | None = None,
        patience: float = PATIENCE,
    ) -> PostgresStore:
        """Open a database that has the tables of graphorch (`graphorch db init`).

        `key` protects the chains of runs against people who can write the database (see
        `chain_key.py`); without one it is that of the variable GRAPHORCH_JOURNAL_KEY, if that is
        set. `patience` is how many seconds a call waits for a server that cannot be reached.

        Raises `InvalidName` for an empty key, `StoreNotOpened` (also `NotAJournal`,
        `NewerFormat`), `StoreReadOnly`; the database is then unchanged.
        """
        chain_key = read_key() if key is None else build_key(key)
        address = Address(url)
        lease, announcements = ProcessLease(), Announcements()
        runner, identity = await asyncio.to_thread(
            _open_runner, address, lease, patience, announcements
        )
        return cls(
            address,
            runner,
            lease,
            identity=identity,
            limits=limits,
            key=chain_key,
            announcements=announcements,
        )

    @asynccontextmanager
    async def keep_alive(
        self, seconds: float, lost: Callable[[str], object]
    ) -> AsyncGenerator[KeptLease]:
        """Have all leases of this store last so long, and renew them on a thread meanwhile.

        The thread needs no event loop. A lease that expired, since the server was away, goes on
        when it is back. But if another process has claimed a run of this one meanwhile, it calls
        `lost` with the reason: stop working on all runs. At the end, runs that were not released
        are free.

        Raises `StoreUnavailable` if the server cannot be reached.
        """
        check_seconds(seconds, "length of a lease", 0)
        kept = await asyncio.to_thread(self._attendant.keep_alive, seconds, lost)
        try:
            if kept is None:
                raise StoreUnavailable(
                    f"'{self._address.place}' cannot be reached, so no lease was begun. "
                    "Start the server, and this process again."
                )
            yield kept
        finally:
            await asyncio.to_thread(self._attendant.let_go)

    async def fetch(
        self, statement: statements.Statement, values: Values = (), *, writes: bool = True
    ) -> list[tuple[Any, ...]]:
        """Return the rows of a statement on tables of workers, in a transaction of its own.

        One that `writes` shares the commits of the journal; others do not hold them up. If its
        connection is lost, it is sent again, so it has to be repeatable. Raises `StoreUnavailable`
        and its kinds.
        """

        def operation(tables: Tables) -> list[tuple[Any, ...]]:
            assert isinstance(tables, PostgresTables)
            return tables.fetch(statement, values)

        runner = self._runner
        return await (runner.write(operation) if writes else runner.read(operation))

    async def release(self, lease: Lease) -> None:
        """See `Store.release`. One that fails is made up for when the server is there again."""
        try:
            await super().release(lease)
        except StoreUnavailable:
            self._lease.release_later(lease)
            raise

    async def release_unless_mail(self, lease: Lease) -> bool:
        """See `Store.release_unless_mail`. One that fails is made up for, as that of `release`."""
        try:
            return await super().release_unless_mail(lease)
        except StoreUnavailable:
            self._lease.release_later(lease)
            raise

    def watch_mail(self, run_id: str, wake: Callable[[], None]) -> Callable[[], None]:
        """See `Store.watch_mail`. Letters of other processes are heard of by a notification."""
        end = super().watch_mail(run_id, wake)
        self._attendant.watch(self._notify, self._is_watching)
        return end

    def watch_regions(self, run_id: str, wake: Callable[[], None]) -> Callable[[], None]:
        """See `Store.watch_regions`. That another process left one is heard of as well."""
        end = super().watch_regions(run_id, wake)
        self._attendant.watch(self._notify, self._is_watching)
        return end

    def _notify(self, run_id: str) -> None:
        self._mail_watch.notify(run_id)
        self._region_watch.notify(run_id)

    def _is_watching(self) -> bool:
        return self._mail_watch.is_watching() or self._region_watch.is_watching()

    def keep(self, kind: type[K], make: Callable[[], K]) -> K:
        """Return what is kept beside this store and closed with it, made at the first call."""
        with self._lock:
            kept = self._kept.get(kind)
            if not isinstance(kept, kind):
                kept = self._kept[kind] = make()
            return kept

    def watch_records(self, run_id: str, wake: Callable[[], None]) -> Callable[[], None]:
        """See `Store.watch_records`. Other processes announce records of runs that are watched."""
        end = super().watch_records(run_id, wake)
        self._announcements.follow(run_id)
        self._attendant.listen("graphorch_records", self._pass_on_records)

        def leave() -> None:
            self._announcements.leave(run_id)
            end()

        return leave

    def _pass_on_records(self, run_id: str) -> None:
        self._record_watch.notify(run_id or None)

    def listen(self, channel: statements.Statement, hint: Callable[[str], None]) -> None:
        """Call `hint`, on a thread, with each notification of a channel; "" if some were lost.

        It takes no further connection.
        """
        self._attendant.listen(channel, hint)

    def end_listening(self, channel: statements.Statement) -> None:
        """Hear of a channel no more."""
        self._attendant.end_listening(channel)

    async def close(self) -> None:
        """See `Store.close`."""
        with self._lock:
            kept, self._kept = self._kept, {}
        for each in kept.values():
            await each.close()
        await asyncio.to_thread(self._attendant.close)
        await super().close()


def _open_runner(
    address: Address, lease: ProcessLease, patience: float, announcements: Announcements
) -> tuple[PostgresRunner, str]:
    """Return the runner of a database, and the identity of its tables."""
    connections: list[Connection] = []
    try:
        connections.append(open_connection(address))
        check_server(connections[0], address.place)
        check_schema(connections[0], address.place)
        identity = read_identity(connections[0])
        connections.append(open_connection(address))
        check_pooling(connections[0], connections[1], address.place)
    except BaseException as error:
        for connection in connections:
            connection.close()
        raise build_refusal(error, address.place) from None
    writing = Session(address, connections[0], configure_writing)
    reading = Session(address, connections[1])
    return PostgresRunner(writing, reading, lease, patience, announcements), identity

"""Port to the storage of runs, and the part of every store that does not depend on the storage.

Theory of operation. `Store` is the port. `TableStore` implements it over a `Runner`: it checks the
arguments, encodes bodies, and turns each call into one of `operations.py`, a function over `Tables`
inside one transaction. A storage provides `Tables` and a `Runner`, and nothing else.

Promises of a `Store`, for every storage:

1. A call that returned is durable. A call that raised a `JournalError` changed nothing, except that
   after `StoreUnavailable` (or a timeout of the caller) it may have taken effect: repeating it with
   the same values notices that, and does nothing twice.
2. `append` is all or nothing, and only the current lease commits: never two owners of one run.
3. `load` returns what was appended, in order, from the requested record to the end. Anything else
   raises `JournalDamaged`.
4. Bodies are plain JSON and come back equal, the keys of objects in their order.
5. Of the runs of a store, one at most is in an exclusive region by a lease that runs.
6. A letter whose `post` returned is in the mailbox of its run until the owner settles it, which
   happens together with the records that follow from it, or not at all.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

from graphorch.journal import codec, operations
from graphorch.journal.chain_key import ChainKey
from graphorch.journal.codec import BodyLimits
from graphorch.journal.completion import Completion
from graphorch.journal.errors import LeaseHeld
from graphorch.journal.operations import Append, OfRun, ReadHead
from graphorch.journal.records import (
    Lease,
    Letter,
    NewLetter,
    NewRun,
    Pruned,
    Record,
    RunHead,
    RunLog,
    RunPage,
    RunQuery,
    Settlement,
    Snapshot,
)
from graphorch.journal.run_watch import MailWatch, RunWatch
from graphorch.journal.tables import Pruning, Tables
from graphorch.journal.validation import (
    check_letter,
    check_new_run,
    check_number,
    check_query,
    check_records,
    check_run_id,
    check_seconds,
    check_text,
)

T = TypeVar("T")

PRUNED_AT_ONCE = 100  # runs per transaction, so that appends of running ones get in between


class Store(Protocol):
    """Storage of the records of runs.

    Every method may raise `StoreUnavailable` or `StoreClosed` beside the errors that it names.
    """

    @property
    def limits(self) -> BodyLimits:
        """Size and depth of the bodies that the store accepts."""
        ...

    async def create(self, run: NewRun) -> RunHead:
        """Create a run; repeating the call returns the same run.

        Raises `InvalidName`, and `RunExists` if another run has the id.
        """
        ...

    async def claim(self, run_id: str, owner: str, *, ttl: float) -> Lease:
        """Become the only owner who may append, for `ttl` seconds.

        `owner` must be a unique name; its older leases end. A lease of a clock that was ahead
        keeps others out for its own length at most, see `Lease.is_running`.

        Raises `LeaseHeld` while another owner's lease runs, `RunNotFound`, `RunErased`,
        `WrongKey`, `JournalDamaged`.
        """
        ...

    async def renew(self, lease: Lease, *, ttl: float) -> Lease:
        """Extend a lease to `ttl` seconds from now, even if it has expired.

        Raises `LeaseLost` if another owner claimed the run.
        """
        ...

    async def release(self, lease: Lease) -> None:
        """Make the run available to other owners at once.

        Does nothing if the lease is not the current one.
        """
        ...

    async def release_unless_mail(self, lease: Lease) -> bool:
        """Release a lease unless letters without an outcome are in the mailbox of the run.

        Returns whether it was released. So no letter comes between the last look of an owner at the
        mailbox and its end. A lease that is not the current one counts as released.

        Raises `RunNotFound`.
        """
        ...

    async def append(
        self,
        lease: Lease,
        records: Sequence[Record],
        *,
        expected_last_seq: int,
        status: str | None = None,
        settled: Sequence[Settlement] = (),
    ) -> None:
        """Add records after record `expected_last_seq`, set the run's status, and settle letters.

        All of that or nothing. Returns when it is durable. Repeating the call with the same records
        succeeds and changes nothing; a letter that is settled keeps its outcome.

        Raises `InvalidRecord`, `LeaseLost`, `LeaseExpired`, and `AppendConflict` if the run ends
        elsewhere.
        """
        ...

    def append_soon(
        self,
        lease: Lease,
        records: Sequence[Record],
        *,
        expected_last_seq: int,
        status: str | None = None,
        settled: Sequence[Settlement] = (),
    ) -> Completion | None:
        """Begin an `append` on the running event loop.

        Returns None if it is durable already, otherwise its `Completion`, which cannot be cancelled
        half-way. Raises as `append` does, at once or through the completion. A store without a
        faster way than its `append` returns `Completion.of(self.append(…))`.
        """
        ...

    async def post(self, letter: NewLetter) -> Letter:
        """Put a letter into the mailbox of a run, whose owner, now or later, takes it in.

        Repeating the call returns the letter that is there.

        Raises `InvalidName`, `InvalidRecord`, `RunNotFound`, `RunErased`, `WrongKey`,
        `JournalDamaged`.
        """
        ...

    async def list_letters(self, run_id: str, *, after: int = 0) -> tuple[Letter, ...]:
        """Return the letters of a run after a number, in order, with their outcomes.

        Raises `RunNotFound`, `WrongKey`.
        """
        ...

    def watch_mail(self, run_id: str, wake: Callable[[], None]) -> Callable[[], None]:
        """Call `wake` on the running event loop whenever a run may have got a letter.

        That is at once if it was posted through this store, and soon otherwise; it may be called
        without a letter. What came before is not announced. Returns a function that ends it.
        """
        ...

    def watch_records(self, run_id: str, wake: Callable[[], None]) -> Callable[[], None]:
        """Call `wake` on the running event loop whenever records of a run may have been added.

        That is at once if they were added through this store, and usually within some milliseconds
        otherwise; look now and then as well, since an announcement may be lost. What came before is
        not announced. Returns a function that ends it.
        """
        ...

    async def enter_regions(
        self, lease: Lease, names: Sequence[str], *, is_nested: bool = False
    ) -> bool:
        """Have a run be alone in exclusive regions, in all of them or in none.

        Returns whether it is. A region is taken while another run that entered it has not left it,
        and the lease that it entered by still runs. A run may enter a region again. One that was
        not let in has a place in the queue, as long as its lease runs: it asks again, and runs that
        came later are not let in before it. What runs inside of an attempt that is in a region
        itself (`is_nested`) waits for no queue.

        Raises `InvalidName`, `RunNotFound`, `LeaseLost`, `LeaseExpired`.
        """
        ...

    async def leave_regions(self, lease: Lease, names: Sequence[str]) -> None:
        """Free exclusive regions that a run entered by this lease; others are left alone.

        A run that waits for them gives up its place. Raises `InvalidName`.
        """
        ...

    def watch_regions(self, run_id: str, wake: Callable[[], None]) -> Callable[[], None]:
        """Call `wake` on the running event loop whenever a run may have its turn in a region.

        That is at once if the region was left through this store, and soon otherwise; it may be
        called in vain, and is not if a lease ends. Returns a function that ends it.
        """
        ...

    async def load(self, run_id: str, *, after_seq: int = 0) -> RunLog:
        """Return a run's head and its records after `after_seq`.

        Raises `RunNotFound`, `WrongKey`, and `JournalDamaged` with the first damaged record.
        """
        ...

    async def read_head(self, run_id: str) -> RunHead:
        """Return a run's head alone, for callers that look at it often.

        Raises `RunNotFound`, `WrongKey`, and `JournalDamaged` for a head that was altered.
        """
        ...

    async def save_snapshot(self, lease: Lease, snapshot: Snapshot) -> None:
        """Store a summary of the records up to a number; it replaces an earlier one.

        Raises as `append` does.
        """
        ...

    async def load_snapshot(self, run_id: str) -> Snapshot | None:
        """Return the latest summary.

        Raises `RunNotFound`, and `JournalDamaged` if it does not fit the records, which still load.
        """
        ...

    async def list_runs(self, query: RunQuery | None = None) -> RunPage:
        """Return a page of runs, newest first."""
        ...

    async def erase(self, run_id: str) -> None:
        """Delete all content of a run for good.

        Hashes stay, so that its records can still be counted and verified.

        Raises `LeaseHeld` while the run has an owner, `RunNotFound`, `WrongKey`.
        """
        ...

    async def prune(
        self, *, before: float, statuses: Sequence[str], any_key: bool = False
    ) -> Pruned:
        """Delete runs without an owner, of these statuses, last changed before a time.

        Runs of a key that is not at hand are kept, and named, unless `any_key` is set.
        """
        ...

    async def close(self) -> None:
        """Finish all calls and release the storage; calling it again does nothing."""
        ...


class Runner(Protocol):
    """Runs operations over the rows of one storage, each in a transaction."""

    def write_now(self, operation: Callable[[Tables], Any], size: int) -> bool:
        """Run it at once, if that needs no waiting; it is durable on return.

        Returns False if it would have to wait, or may not be durable: `write` it then. `size` is
        about how many bytes it writes. Raises what the operation raises.
        """
        ...

    def write_soon(self, operation: Callable[[Tables], None]) -> Completion:
        """Begin to run it, as `write` does."""
        ...

    async def write(self, operation: Callable[[Tables], T]) -> T:
        """Run it alone, and return when its changes are durable."""
        ...

    async def read(self, operation: Callable[[Tables], T]) -> T:
        """Run it over the rows as they are at one instant."""
        ...

    def read_soon(self, operation: Callable[[Tables], None]) -> Completion:
        """Begin to run it, as `read` does."""
        ...

    def read_mark(self) -> object:
        """Return a value that changes when another process writes; None if that cannot happen."""
        ...

    async def close(self) -> None:
        """Finish all operations, and stop."""
        ...


class TableStore:
    """`Store` over a `Runner`: checks arguments, and turns each call into an operation.

    With a `key` it chains new runs with it, and reads those of that key and those without one.
    `identity` is a name that no other database has, for files that are made of what is in it; it is
    empty where the storage itself can hold them, or is gone with its process.
    """

    identity = ""

    def __init__(
        self,
        runner: Runner,
        *,
        limits: BodyLimits = codec.LIMITS,
        key: ChainKey | None = None,
    ) -> None:
        self._runner = runner
        self._key = key
        self._mail_watch = MailWatch(self._read_newest_letter, runner.read_mark)
        self._region_watch = MailWatch(self._read_queue_mark, runner.read_mark)
        self._record_watch = RunWatch(runner.read_mark)
        self.limits = limits

    @property
    def is_keyed(self) -> bool:
        """Whether new runs are chained with a key."""
        return self._key is not None

    async def create(self, run: NewRun) -> RunHead:
        """See `Store.create`."""
        check_new_run(run)
        salt = secrets.token_bytes(codec.SALT_BYTES)
        return await self._runner.write(
            OfRun(run.run_id, lambda tables: operations.create(tables, run, salt, self._key))
        )

    async def claim(self, run_id: str, owner: str, *, ttl: float) -> Lease:
        """See `Store.claim`."""
        check_run_id(run_id)
        check_text(owner, "owner")
        check_seconds(ttl, "time to live", 0)
        return await self._write_if_free(
            run_id,
            lambda tables: operations.claim(tables, run_id, owner, ttl, self._key),
        )

    async def renew(self, lease: Lease, *, ttl: float) -> Lease:
        """See `Store.renew`."""
        check_run_id(lease.run_id)
        check_seconds(ttl, "time to live", 0)
        return await self._runner.write(
            OfRun(lease.run_id, lambda tables: operations.renew(tables, lease, ttl))
        )

    async def release(self, lease: Lease) -> None:
        """See `Store.release`."""
        check_run_id(lease.run_id)
        operation = OfRun(lease.run_id, partial(operations.release, lease=lease))
        if not self._runner.write_now(operation, 0):
            await self._runner.write(operation)

    async def release_unless_mail(self, lease: Lease) -> bool:
        """See `Store.release_unless_mail`."""
        check_run_id(lease.run_id)
        is_released = False

        def release(tables: Tables) -> None:
            nonlocal is_released
            is_released = operations.release_unless_mail(tables, lease)

        operation = OfRun(lease.run_id, release)
        if not self._runner.write_now(operation, 0):
            await self._runner.write(operation)
        return is_released

    async def append(
        self,
        lease: Lease,
        records: Sequence[Record],
        *,
        expected_last_seq: int,
        status: str | None = None,
        settled: Sequence[Settlement] = (),
    ) -> None:
        """See `Store.append`.

        Bodies are encoded before this returns to the event loop, so they may change afterwards.
        """
        operation, size = self._prepare_append(lease, records, expected_last_seq, status, settled)
        if not self._runner.write_now(operation, size):
            await self._runner.write(operation)
        if self._record_watch.loops:
            self._record_watch.notify(lease.run_id)

    def append_soon(
        self,
        lease: Lease,
        records: Sequence[Record],
        *,
        expected_last_seq: int,
        status: str | None = None,
        settled: Sequence[Settlement] = (),
    ) -> Completion | None:
        """See `Store.append_soon`."""
        operation, size = self._prepare_append(lease, records, expected_last_seq, status, settled)
        if self._runner.write_now(operation, size):
            if self._record_watch.loops:
                self._record_watch.notify(lease.run_id)
            return None
        completion = self._runner.write_soon(operation)
        if self._record_watch.loops:
            completion.add_done_callback(lambda _: self._record_watch.notify(lease.run_id))
        return completion

    async def post(self, letter: NewLetter) -> Letter:
        """See `Store.post`."""
        check_letter(letter)
        body = codec.dump(letter.body, self.limits)
        posted = await self._runner.write(
            OfRun(letter.run_id, lambda tables: operations.post(tables, letter, body, self._key))
        )
        self._mail_watch.notify(letter.run_id)
        return posted

    async def list_letters(self, run_id: str, *, after: int = 0) -> tuple[Letter, ...]:
        """See `Store.list_letters`."""
        check_run_id(run_id)
        check_number(after, "letter to start after")
        return await self._runner.read(
            lambda tables: operations.list_letters(tables, run_id, after, self._key, self.limits)
        )

    def watch_mail(self, run_id: str, wake: Callable[[], None]) -> Callable[[], None]:
        """See `Store.watch_mail`."""
        check_run_id(run_id)
        return self._mail_watch.watch(run_id, wake)

    def watch_records(self, run_id: str, wake: Callable[[], None]) -> Callable[[], None]:
        """See `Store.watch_records`."""
        check_run_id(run_id)
        return self._record_watch.watch(run_id, wake)

    async def enter_regions(
        self, lease: Lease, names: Sequence[str], *, is_nested: bool = False
    ) -> bool:
        """See `Store.enter_regions`."""
        check_run_id(lease.run_id)
        for name in names:
            check_text(name, "name of a region")
        enter = partial(operations.enter_regions, lease=lease, names=names, is_nested=is_nested)
        return await self._runner.write(OfRun(lease.run_id, enter))

    async def leave_regions(self, lease: Lease, names: Sequence[str]) -> None:
        """See `Store.leave_regions`."""
        check_run_id(lease.run_id)
        for name in names:
            check_text(name, "name of a region")
        leave = partial(operations.leave_regions, lease=lease, names=tuple(names))
        for run_id in await self._runner.write(leave):
            self._region_watch.notify(run_id)

    def watch_regions(self, run_id: str, wake: Callable[[], None]) -> Callable[[], None]:
        """See `Store.watch_regions`."""
        check_run_id(run_id)
        return self._region_watch.watch(run_id, wake)

    async def load(self, run_id: str, *, after_seq: int = 0) -> RunLog:
        """See `Store.load`."""
        check_run_id(run_id)
        check_number(after_seq, "record to start after")
        return await self._runner.read(
            lambda tables: operations.load(tables, run_id, after_seq, self._key, self.limits)
        )

    async def read_head(self, run_id: str) -> RunHead:
        """See `Store.read_head`."""
        check_run_id(run_id)
        return await self._runner.read(ReadHead(run_id, self._key))

    async def save_snapshot(self, lease: Lease, snapshot: Snapshot) -> None:
        """See `Store.save_snapshot`."""
        check_run_id(lease.run_id)
        check_number(snapshot.seq, "record of a snapshot", 1)
        body = codec.dump(snapshot.body, self.limits)
        await self._runner.write(
            lambda tables: operations.save_snapshot(tables, lease, snapshot.seq, body, self._key)
        )

    async def load_snapshot(self, run_id: str) -> Snapshot | None:
        """See `Store.load_snapshot`."""
        check_run_id(run_id)
        return await self._runner.read(
            lambda tables: operations.load_snapshot(tables, run_id, self._key, self.limits)
        )

    async def list_runs(self, query: RunQuery | None = None) -> RunPage:
        """See `Store.list_runs`."""
        checked = query or RunQuery()
        check_query(checked)
        return await self._runner.read(
            lambda tables: operations.list_runs(tables, checked, self._key)
        )

    async def erase(self, run_id: str) -> None:
        """See `Store.erase`."""
        check_run_id(run_id)
        await self._write_if_free(
            run_id, lambda tables: operations.erase(tables, run_id, self._key)
        )

    async def prune(
        self, *, before: float, statuses: Sequence[str], any_key: bool = False
    ) -> Pruned:
        """See `Store.prune`."""
        check_seconds(before, "time")
        for status in statuses:
            check_text(status, "status")
        key_id = None if any_key else self._key.id if self._key else b""
        pruning = Pruning(before, tuple(statuses), key_id)
        count, dropped = 0, PRUNED_AT_ONCE
        while dropped == PRUNED_AT_ONCE:  # more may be left
            dropped = await self._runner.write(
                partial(operations.prune, pruning=pruning, limit=PRUNED_AT_ONCE)
            )
            count += dropped
        refused = await self._runner.read(lambda tables: operations.list_refused(tables, pruning))
        return Pruned(count, tuple(refused))

    async def close(self) -> None:
        """See `Store.close`."""
        await self._runner.close()

    def _read_queue_mark(self, take: Callable[[int], None]) -> Completion:
        return self._runner.read_soon(lambda tables: take(tables.queue_mark()))

    def _read_newest_letter(self, take: Callable[[int], None]) -> Completion:
        return self._runner.read_soon(lambda tables: take(tables.newest_letter()))

    async def _write_if_free(self, run_id: str, operation: Callable[[Tables], T]) -> T:
        """Run an operation that raises `LeaseHeld` while the run has an owner."""
        try:
            return await self._runner.write(OfRun(run_id, operation))
        except LeaseHeld:
            # An operation that raised has changed nothing, so this is another one.
            await self._runner.write(partial(operations.shorten_lease, run_id=run_id))
            raise

    def _prepare_append(
        self,
        lease: Lease,
        records: Sequence[Record],
        expected_last_seq: int,
        status: str | None,
        settled: Sequence[Settlement],
    ) -> tuple[Append, int]:
        """Return the operation of an append, checked and encoded, and the bytes that it writes."""
        check_run_id(lease.run_id)
        check_records(records, expected_last_seq, status, settled)
        entries = [(record.kind, codec.dump(record.body, self.limits)) for record in records]
        size = sum([len(body) for _, body in entries])
        return Append(lease, expected_last_seq, entries, status, settled, self._key), size

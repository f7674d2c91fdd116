"""The port to whatever keeps runs, and the part of every store that does not depend on where it keeps them.

Promises of a `Store`, wherever it keeps its rows:

- A call that returned is durable. A call that raised a `JournalError` changed nothing, except that after `StoreUnavailable` (or a timeout
  of the caller's) it may have taken effect: repeating it with the same values then finds that, and does nothing twice.
- `append` is all or nothing, and only the current lease commits. Two owners of a run never both do.
- What `load` returns is what was appended, in order, from the record asked for to the end: everything else raises `JournalDamaged`.
- Bodies are plain JSON and come back equal, the keys of objects in their order.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

from graphorch.journal import codec, operations
from graphorch.journal.codec import BodyLimits
from graphorch.journal.completion import Completion
from graphorch.journal.records import (
    Lease,
    NewRun,
    Record,
    RunHead,
    RunLog,
    RunPage,
    RunQuery,
    Snapshot,
)
from graphorch.journal.tables import Tables
from graphorch.journal.validation import (
    check_new_run,
    check_number,
    check_query,
    check_records,
    check_run_id,
    check_seconds,
    check_text,
)

T = TypeVar("T")
Clock = Callable[[], float]
"""Seconds since 1970; a store may call it from a thread of its own."""

PRUNED_AT_ONCE = 100  # runs per transaction, so that appends of running ones get in between


class Store(Protocol):
    """Keeps the records of runs. Every method may raise `StoreUnavailable` or `StoreClosed` beside what it says."""

    async def create(self, run: NewRun) -> RunHead:
        """Make a run; the same one again is found. Raises `InvalidName`, and `RunExists` if another run has the id."""
        ...

    async def claim(self, run_id: str, owner: str, *, ttl: float) -> Lease:
        """Become the only one who may append, for `ttl` seconds. `owner` is a name that nobody else uses; its older leases end.

        Raises `LeaseHeld` while another owner's lease runs, `RunNotFound`, `RunErased`, `JournalDamaged`.
        """
        ...

    async def renew(self, lease: Lease, *, ttl: float) -> Lease:
        """The same lease with `ttl` seconds from now, also if it ran out. Raises `LeaseLost` if somebody else took the run."""
        ...

    async def release(self, lease: Lease) -> None:
        """Let others have the run at once; does nothing if the lease is not the current one."""
        ...

    async def append(
        self,
        lease: Lease,
        records: Sequence[Record],
        *,
        expected_last_seq: int,
        status: str | None = None,
    ) -> None:
        """Add records, all or none, behind record `expected_last_seq` and set the run's status; returns when that is durable.

        The same records in the same place again are a success, without adding or setting anything. Raises `InvalidRecord`, `LeaseLost`,
        `LeaseExpired`, and `AppendConflict` if the run ends elsewhere.
        """
        ...

    def append_soon(
        self,
        lease: Lease,
        records: Sequence[Record],
        *,
        expected_last_seq: int,
        status: str | None = None,
    ) -> Completion | None:
        """Begin to `append` on the running event loop: None if it is durable already, without waiting for anything, else how it will end.

        Nothing of it can be cancelled half-way: `Answer` says why. Raises as `append` does, at once or by the answer. A store that has
        nothing quicker than its `append` returns `Answer.of(self.append(…))`.
        """
        ...

    async def load(self, run_id: str, *, after_seq: int = 0) -> RunLog:
        """The run's head and its records after one. Raises `RunNotFound`, and `JournalDamaged` with the first damaged record."""
        ...

    async def save_snapshot(self, lease: Lease, snapshot: Snapshot) -> None:
        """Keep a summary of the records up to one instead of an earlier summary. Raises as `append` does."""
        ...

    async def load_snapshot(self, run_id: str) -> Snapshot | None:
        """The latest summary. Raises `RunNotFound`, and `JournalDamaged` if it does not fit the records, which then load without it."""
        ...

    async def list_runs(self, query: RunQuery | None = None) -> RunPage:
        """A page of runs, the newest first."""
        ...

    async def erase(self, run_id: str) -> None:
        """Delete all content of a run for good; hashes stay, so that its records can still be counted and verified.

        Raises `LeaseHeld` while somebody works on it, `RunNotFound`.
        """
        ...

    async def prune(self, *, before: float, statuses: Sequence[str]) -> int:
        """Delete the runs of these statuses that changed last before a time and that nobody has. Returns how many."""
        ...

    async def close(self) -> None:
        """Finish what was asked and let go of the storage; calling it again does nothing."""
        ...


class Runner(Protocol):
    """Runs operations over the rows of one storage."""

    def write_now(self, operation: Callable[[Tables], Any], size: int) -> bool:
        """Run it alone, without waiting for anything: it is durable on return. False if it has to wait, or may not be durable: `write` it.

        `size` is how many bytes it writes, about. Raises what the operation raises.
        """
        ...

    def write_soon(self, operation: Callable[[Tables], None]) -> Completion:
        """Begin to write it."""
        ...

    async def write(self, operation: Callable[[Tables], T]) -> T:
        """Run it alone, and return when what it wrote is durable."""
        ...

    async def read(self, operation: Callable[[Tables], T]) -> T:
        """Run it over the rows as they were at one instant."""
        ...

    async def close(self) -> None:
        """Finish what was asked, and stop."""
        ...


class TableStore:
    """A `Store` over a `Runner`: checks what it is given, and turns each call into an operation."""

    def __init__(
        self, runner: Runner, *, clock: Clock = time.time, limits: BodyLimits = codec.LIMITS
    ) -> None:
        self._runner = runner
        self._clock = clock
        self._limits = limits

    async def create(self, run: NewRun) -> RunHead:
        """See `Store.create`."""
        check_new_run(run)
        salt = secrets.token_bytes(codec.SALT_BYTES)
        return await self._runner.write(
            lambda tables: operations.create(tables, run, salt, self._clock())
        )

    async def claim(self, run_id: str, owner: str, *, ttl: float) -> Lease:
        """See `Store.claim`."""
        check_run_id(run_id)
        check_text(owner, "owner")
        check_seconds(ttl, "time to live", 0)
        return await self._runner.write(
            lambda tables: operations.claim(tables, run_id, owner, ttl, self._clock())
        )

    async def renew(self, lease: Lease, *, ttl: float) -> Lease:
        """See `Store.renew`."""
        check_run_id(lease.run_id)
        check_seconds(ttl, "time to live", 0)
        return await self._runner.write(
            lambda tables: operations.renew(tables, lease, ttl, self._clock())
        )

    async def release(self, lease: Lease) -> None:
        """See `Store.release`."""
        check_run_id(lease.run_id)
        operation = partial(operations.release, lease=lease)
        if not self._runner.write_now(operation, 0):
            await self._runner.write(operation)

    async def append(
        self,
        lease: Lease,
        records: Sequence[Record],
        *,
        expected_last_seq: int,
        status: str | None = None,
    ) -> None:
        """See `Store.append`. The bodies are read before this returns to the event loop, so they may change afterwards."""
        operation, size = self._appending(lease, records, expected_last_seq, status)
        if not self._runner.write_now(operation, size):
            await self._runner.write(operation)

    def append_soon(
        self,
        lease: Lease,
        records: Sequence[Record],
        *,
        expected_last_seq: int,
        status: str | None = None,
    ) -> Completion | None:
        """See `Store.append_soon`."""
        operation, size = self._appending(lease, records, expected_last_seq, status)
        return (
            None if self._runner.write_now(operation, size) else self._runner.write_soon(operation)
        )

    async def load(self, run_id: str, *, after_seq: int = 0) -> RunLog:
        """See `Store.load`."""
        check_run_id(run_id)
        check_number(after_seq, "record to start after")
        return await self._runner.read(
            lambda tables: operations.load(tables, run_id, after_seq, self._limits)
        )

    async def save_snapshot(self, lease: Lease, snapshot: Snapshot) -> None:
        """See `Store.save_snapshot`."""
        check_run_id(lease.run_id)
        check_number(snapshot.seq, "record of a snapshot", 1)
        body = codec.dump(snapshot.body, self._limits)
        await self._runner.write(
            lambda tables: operations.save_snapshot(
                tables, lease, snapshot.seq, body, self._clock()
            )
        )

    async def load_snapshot(self, run_id: str) -> Snapshot | None:
        """See `Store.load_snapshot`."""
        check_run_id(run_id)
        return await self._runner.read(
            lambda tables: operations.load_snapshot(tables, run_id, self._limits)
        )

    async def list_runs(self, query: RunQuery | None = None) -> RunPage:
        """See `Store.list_runs`."""
        asked = query or RunQuery()
        check_query(asked)
        return await self._runner.read(lambda tables: operations.list_runs(tables, asked))

    async def erase(self, run_id: str) -> None:
        """See `Store.erase`."""
        check_run_id(run_id)
        await self._runner.write(lambda tables: operations.erase(tables, run_id, self._clock()))

    async def prune(self, *, before: float, statuses: Sequence[str]) -> int:
        """See `Store.prune`."""
        check_seconds(before, "time")
        for status in statuses:
            check_text(status, "status")
        count = 0
        while True:
            found = await self._runner.write(
                lambda tables: operations.prune(
                    tables, before, statuses, self._clock(), PRUNED_AT_ONCE
                )
            )
            count += found
            if found < PRUNED_AT_ONCE:
                return count

    async def close(self) -> None:
        """See `Store.close`."""
        await self._runner.close()

    def _appending(
        self, lease: Lease, records: Sequence[Record], expected_last_seq: int, status: str | None
    ) -> tuple[Callable[[Tables], None], int]:
        """What an append does, checked and encoded, and the bytes that it writes."""
        check_run_id(lease.run_id)
        check_records(records, expected_last_seq, status)
        entries = [(record.kind, codec.dump(record.body, self._limits)) for record in records]
        size = sum([len(body) for _, body in entries])
        return lambda tables: operations.append(
            tables, lease, expected_last_seq, entries, status, self._clock()
        ), size

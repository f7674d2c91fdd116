"""Stores around another store: one that forwards every call, and one that masks secrets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from graphorch.journal.codec import BodyLimits
from graphorch.journal.completion import Completion
from graphorch.journal.errors import InvalidName
from graphorch.journal.records import (
    Body,
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
from graphorch.journal.store import Store


def is_traced(store: Store) -> bool:
    """Return whether a store sends the spans of its runs to receivers; most keep records only."""
    return isinstance(store, ForwardingStore) and store.is_traced


class ForwardingStore:
    """`Store` that forwards every call to another one; subclasses change or watch some of them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def limits(self) -> BodyLimits:
        """See `Store.limits`."""
        return self._store.limits

    @property
    def is_traced(self) -> bool:
        """Whether spans of the runs are sent to receivers, so that what they call can join them."""
        return is_traced(self._store)

    async def create(self, run: NewRun) -> RunHead:
        """See `Store.create`."""
        return await self._store.create(run)

    async def claim(self, run_id: str, owner: str, *, ttl: float) -> Lease:
        """See `Store.claim`."""
        return await self._store.claim(run_id, owner, ttl=ttl)

    async def renew(self, lease: Lease, *, ttl: float) -> Lease:
        """See `Store.renew`."""
        return await self._store.renew(lease, ttl=ttl)

    async def release(self, lease: Lease) -> None:
        """See `Store.release`."""
        await self._store.release(lease)

    async def release_unless_mail(self, lease: Lease) -> bool:
        """See `Store.release_unless_mail`."""
        return await self._store.release_unless_mail(lease)

    async def append(
        self,
        lease: Lease,
        records: Sequence[Record],
        *,
        expected_last_seq: int,
        status: str | None = None,
        settled: Sequence[Settlement] = (),
    ) -> None:
        """See `Store.append`."""
        await self._store.append(
            lease, records, expected_last_seq=expected_last_seq, status=status, settled=settled
        )

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
        return self._store.append_soon(
            lease, records, expected_last_seq=expected_last_seq, status=status, settled=settled
        )

    async def post(self, letter: NewLetter) -> Letter:
        """See `Store.post`."""
        return await self._store.post(letter)

    async def list_letters(self, run_id: str, *, after: int = 0) -> tuple[Letter, ...]:
        """See `Store.list_letters`."""
        return await self._store.list_letters(run_id, after=after)

    def watch_mail(self, run_id: str, wake: Callable[[], None]) -> Callable[[], None]:
        """See `Store.watch_mail`."""
        return self._store.watch_mail(run_id, wake)

    def watch_records(self, run_id: str, wake: Callable[[], None]) -> Callable[[], None]:
        """See `Store.watch_records`."""
        return self._store.watch_records(run_id, wake)

    async def enter_regions(
        self, lease: Lease, names: Sequence[str], *, is_nested: bool = False
    ) -> bool:
        """See `Store.enter_regions`."""
        return await self._store.enter_regions(lease, names, is_nested=is_nested)

    async def leave_regions(self, lease: Lease, names: Sequence[str]) -> None:
        """See `Store.leave_regions`."""
        await self._store.leave_regions(lease, names)

    def watch_regions(self, run_id: str, wake: Callable[[], None]) -> Callable[[], None]:
        """See `Store.watch_regions`."""
        return self._store.watch_regions(run_id, wake)

    async def load(self, run_id: str, *, after_seq: int = 0) -> RunLog:
        """See `Store.load`."""
        return await self._store.load(run_id, after_seq=after_seq)

    async def read_head(self, run_id: str) -> RunHead:
        """See `Store.read_head`."""
        return await self._store.read_head(run_id)

    async def save_snapshot(self, lease: Lease, snapshot: Snapshot) -> None:
        """See `Store.save_snapshot`."""
        await self._store.save_snapshot(lease, snapshot)

    async def load_snapshot(self, run_id: str) -> Snapshot | None:
        """See `Store.load_snapshot`."""
        return await self._store.load_snapshot(run_id)

    async def list_runs(self, query: RunQuery | None = None) -> RunPage:
        """See `Store.list_runs`."""
        return await self._store.list_runs(query)

    async def erase(self, run_id: str) -> None:
        """See `Store.erase`."""
        await self._store.erase(run_id)

    async def prune(
        self, *, before: float, statuses: Sequence[str], any_key: bool = False
    ) -> Pruned:
        """See `Store.prune`."""
        return await self._store.prune(before=before, statuses=statuses, any_key=any_key)

    async def close(self) -> None:
        """See `Store.close`."""
        await self._store.close()


Mask = Callable[[Body], Body]
"""Returns plain JSON data without secrets.

It must not change its argument, and must return equal data for equal arguments.
"""


class MaskedStore(ForwardingStore):
    """`Store` that masks what is stored: bodies of records, letters and snapshots, tags of runs.

    An exception of `mask` is raised by the call, and nothing is stored.
    """

    def __init__(self, store: Store, mask: Mask) -> None:
        super().__init__(store)
        self._mask = mask

    async def create(self, run: NewRun) -> RunHead:
        """See `Store.create`.

        Raises `InvalidName` if the mask returns anything but a dict of texts.
        """
        tags = self._mask(dict(run.tags))
        if not isinstance(tags, dict):
            raise InvalidName(
                f"The mask returned a {type(tags).__name__} for the tags of run '{run.run_id}'. "
                "Return a dict of texts for a dict of texts."
            )
        return await self._store.create(replace(run, tags=tags))

    async def append(
        self,
        lease: Lease,
        records: Sequence[Record],
        *,
        expected_last_seq: int,
        status: str | None = None,
        settled: Sequence[Settlement] = (),
    ) -> None:
        """See `Store.append`."""
        await self._store.append(
            lease,
            self._masked(records),
            expected_last_seq=expected_last_seq,
            status=status,
            settled=settled,
        )

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
        return self._store.append_soon(
            lease,
            self._masked(records),
            expected_last_seq=expected_last_seq,
            status=status,
            settled=settled,
        )

    async def post(self, letter: NewLetter) -> Letter:
        """See `Store.post`. The run gets the letter as it is stored."""
        return await self._store.post(replace(letter, body=self._mask(letter.body)))

    async def save_snapshot(self, lease: Lease, snapshot: Snapshot) -> None:
        """See `Store.save_snapshot`."""
        await self._store.save_snapshot(lease, replace(snapshot, body=self._mask(snapshot.body)))

    def _masked(self, records: Sequence[Record]) -> list[Record]:
        return [replace(record, body=self._mask(record.body)) for record in records]

"""Store whose n-th call fails, times out, or takes effect and loses its reply."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, TypeVar

from graphorch.journal.codec import BodyLimits
from graphorch.journal.completion import Completion
from graphorch.journal.errors import StoreUnavailable
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
from graphorch.journal.store import Store

T = TypeVar("T")
Fault = Literal["fails", "times out", "loses the reply"]


class FaultyStore:
    """Store that hands all calls to another one, except the n-th (the first is 1).

    `calls` counts them; n = 0 lets all of them pass.
    """

    def __init__(self, store: Store, fault: Fault, n: int) -> None:
        self.calls = 0
        self._store = store
        self._fault: Fault = fault
        self._n = n

    @property
    def limits(self) -> BodyLimits:
        return self._store.limits

    async def _call(self, call: Awaitable[T]) -> T:
        self.calls += 1
        if self.calls != self._n:
            return await call
        if self._fault == "loses the reply":
            await call
            raise TimeoutError("no reply")
        call.close()  # type: ignore[attr-defined]
        if self._fault == "times out":
            raise TimeoutError("nothing happened")
        raise StoreUnavailable("the n-th call fails")

    async def create(self, run: NewRun) -> RunHead:
        return await self._call(self._store.create(run))

    async def claim(self, run_id: str, owner: str, *, ttl: float) -> Lease:
        return await self._call(self._store.claim(run_id, owner, ttl=ttl))

    async def renew(self, lease: Lease, *, ttl: float) -> Lease:
        return await self._call(self._store.renew(lease, ttl=ttl))

    async def release(self, lease: Lease) -> None:
        await self._call(self._store.release(lease))

    async def release_unless_mail(self, lease: Lease) -> bool:
        return await self._call(self._store.release_unless_mail(lease))

    async def append(
        self,
        lease: Lease,
        records: Sequence[Record],
        *,
        expected_last_seq: int,
        status: str | None = None,
        settled: Sequence[Settlement] = (),
    ) -> None:
        await self._call(
            self._store.append(
                lease, records, expected_last_seq=expected_last_seq, status=status, settled=settled
            )
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
        return Completion.of(
            self.append(
                lease, records, expected_last_seq=expected_last_seq, status=status, settled=settled
            )
        )

    async def post(self, letter: NewLetter) -> Letter:
        return await self._call(self._store.post(letter))

    async def list_letters(self, run_id: str, *, after: int = 0) -> tuple[Letter, ...]:
        return await self._call(self._store.list_letters(run_id, after=after))

    def watch_mail(self, run_id: str, wake: Callable[[], None]) -> Callable[[], None]:
        return self._store.watch_mail(run_id, wake)

    def watch_records(self, run_id: str, wake: Callable[[], None]) -> Callable[[], None]:
        return self._store.watch_records(run_id, wake)

    async def enter_regions(
        self, lease: Lease, names: Sequence[str], *, is_nested: bool = False
    ) -> bool:
        return await self._call(self._store.enter_regions(lease, names, is_nested=is_nested))

    async def leave_regions(self, lease: Lease, names: Sequence[str]) -> None:
        await self._call(self._store.leave_regions(lease, names))

    def watch_regions(self, run_id: str, wake: Callable[[], None]) -> Callable[[], None]:
        return self._store.watch_regions(run_id, wake)

    async def read_head(self, run_id: str) -> RunHead:
        return await self._call(self._store.read_head(run_id))

    async def load(self, run_id: str, *, after_seq: int = 0) -> RunLog:
        return await self._call(self._store.load(run_id, after_seq=after_seq))

    async def save_snapshot(self, lease: Lease, snapshot: Snapshot) -> None:
        await self._call(self._store.save_snapshot(lease, snapshot))

    async def load_snapshot(self, run_id: str) -> Snapshot | None:
        return await self._call(self._store.load_snapshot(run_id))

    async def list_runs(self, query: RunQuery | None = None) -> RunPage:
        return await self._call(self._store.list_runs(query))

    async def erase(self, run_id: str) -> None:
        await self._call(self._store.erase(run_id))

    async def prune(
        self, *, before: float, statuses: Sequence[str], any_key: bool = False
    ) -> Pruned:
        return await self._call(
            self._store.prune(before=before, statuses=statuses, any_key=any_key)
        )

    async def close(self) -> None:
        await self._call(self._store.close())

"""Calls of the store whose connection is cut at any moment take effect once."""

from __future__ import annotations

import asyncio
import time

import pytest

from graphorch.journal.errors import LeaseHeld, StoreUnavailable
from graphorch.journal.postgres.store import PostgresStore
from graphorch.journal.records import NewLetter, Outcome, Record, Settlement, Snapshot
from tests.contracts.faulty_store import Fault, FaultyStore
from tests.contracts.store_contract import Bench, entries
from tests.journal.test_faults import CALLS, whole_life
from tests.postgres.proxies import CuttingProxy, running


@pytest.mark.parametrize("fault", ["fails", "times out", "loses the reply"])
@pytest.mark.parametrize("n", range(CALLS + 1))
def test_nth_faulty_call_keeps_journal_equal(url: str, fault: Fault, n: int) -> None:
    """The journal is equal, whichever call fails."""

    async def lived() -> None:
        store = await PostgresStore.open(url)
        faulty = FaultyStore(store, fault, n)
        log, snapshot = await whole_life(faulty)
        assert faulty.calls == CALLS + (n > 0)
        assert log.records == (*entries("a", "b"), Record(3, "ended", {}))
        assert (log.head.last_seq, log.head.lease, snapshot) == (3, None, Snapshot(3, "all"))
        await store.close()

    asyncio.run(lived())


@pytest.mark.parametrize("marker", ["COMMIT", "first body", "third body", "read_by_owner", "BEGIN"])
def test_lost_reply_takes_effect_once(url: str, marker: str) -> None:
    """A request that the server ran, and whose reply was cut off, is not run twice."""
    proxy = CuttingProxy(url)

    async def main() -> None:
        store = await PostgresStore.open(proxy.url)
        bench = Bench(store)
        proxy.marker, proxy.cuts = marker.encode(), 1
        lease = await bench.begin()
        await bench.add(lease, "first body")
        await bench.add(lease, "second body", after=1, status="waiting")
        letter = await store.post(NewLetter("run-1", "l", "read_by_owner", {}))
        settled = [Settlement(letter.number, Outcome())]
        await store.append(
            lease, entries("third body", after=2), expected_last_seq=2, settled=settled
        )
        assert await store.release_unless_mail(lease)
        assert proxy.cuts == 0
        assert await bench.bodies() == ["first body", "second body", "third body"]
        [only] = await store.list_letters("run-1")
        assert only.outcome == Outcome()
        await store.close()

    with running(proxy):
        asyncio.run(main())


def test_cut_batch_commits_each_append_once(url: str) -> None:
    """Appends of many runs in one statement, whose reply was cut off, are committed once."""
    proxy = CuttingProxy(url)

    async def main() -> None:
        store = await PostgresStore.open(proxy.url)
        bench = Bench(store)
        leases = [await bench.begin(f"run-{number}") for number in range(20)]
        proxy.marker, proxy.cuts = b"body of 7", 2
        for last in range(3):
            await asyncio.gather(
                *(
                    bench.add(lease, f"body of {number}", after=last)
                    for number, lease in enumerate(leases)
                )
            )
        for number in range(20):
            assert await bench.bodies(f"run-{number}") == [f"body of {number}"] * 3
        await store.close()

    with running(proxy):
        asyncio.run(main())


def test_server_that_is_away_fails_calls(url: str) -> None:
    """While the server is away calls fail after a bounded time, and work again afterwards."""
    proxy = CuttingProxy(url)

    async def main() -> None:
        store = await PostgresStore.open(proxy.url, patience=0.5)
        bench = Bench(store)
        lease = await bench.begin()
        proxy.is_open = False
        proxy.marker, proxy.cuts = b"body", 1
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match="cannot be reached"):
            await bench.add(lease, "body")
        assert time.monotonic() - began < 3
        proxy.is_open = True
        await bench.add(lease, "body")
        assert await bench.bodies() == ["body"]
        await store.close()

    with running(proxy):
        asyncio.run(main())


def test_failed_release_is_made_up_for(url: str) -> None:
    """A release that failed does not keep the run for as long as its process lives."""
    proxy = CuttingProxy(url)

    async def main() -> None:
        store = await PostgresStore.open(proxy.url, patience=0.3)
        other = await PostgresStore.open(url)
        bench = Bench(store)
        lease, second = await bench.begin(), await bench.begin("run-2")
        proxy.is_open = False
        proxy.marker, proxy.cuts = b"BEGIN", 1
        with pytest.raises(StoreUnavailable):
            await store.release(lease)
        proxy.is_open = True
        with pytest.raises(LeaseHeld):
            await other.claim("run-1", "other", ttl=30)
        await store.renew(second, ttl=60)
        assert await other.claim("run-1", "other", ttl=30)
        await store.close()
        await other.close()

    with running(proxy):
        asyncio.run(main())

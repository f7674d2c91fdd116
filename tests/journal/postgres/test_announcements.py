"""Processes that share a database hear of each other's records, of runs that they follow."""

from __future__ import annotations

import asyncio
import time

import psycopg

from graphorch.journal.postgres.announcements import Announcements
from graphorch.journal.postgres.store import PostgresStore
from graphorch.journal.records import Lease, NewRun, Record


async def begin(store: PostgresStore, run_id: str) -> Lease:
    """Create a run, and drive it like a process that hears of letters."""
    await store.create(NewRun(run_id, "flow", "print", 6))
    store.watch_mail(run_id, lambda: None)
    return await store.claim(run_id, "owner", ttl=60)


async def add(store: PostgresStore, lease: Lease, seq: int) -> None:
    record = Record(seq, "continued", {"at": 1.0})
    await store.append(lease, [record], expected_last_seq=seq - 1)


def test_records_of_other_process_are_announced(url: str) -> None:
    """Each addition to a run that is followed elsewhere wakes who follows it."""

    async def main() -> None:
        here, there = await PostgresStore.open(url), await PostgresStore.open(url)
        lease = await begin(there, "run")
        news = asyncio.Event()
        end = here.watch_records("run", news.set)
        await asyncio.sleep(0.5)  # until the other process has heard of it
        for seq in range(1, 4):
            news.clear()
            await add(there, lease, seq)
            async with asyncio.timeout(10):
                await news.wait()
        end()
        await here.close()
        await there.close()

    asyncio.run(main())


def test_run_that_nobody_follows_is_silent(url: str) -> None:
    """No notification is sent of a run that is not followed."""

    async def main() -> list[str]:
        here, there = await PostgresStore.open(url), await PostgresStore.open(url)
        followed, lease = await begin(there, "followed"), await begin(there, "other")
        end = here.watch_records("followed", lambda: None)
        await asyncio.sleep(0.5)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("LISTEN graphorch_records")
            await add(there, lease, 1)
            await add(there, followed, 1)
            payloads = [each.payload for each in connection.notifies(timeout=2.0, stop_after=1)]
        end()
        await here.close()
        await there.close()
        return payloads

    assert asyncio.run(main()) == ["followed"]


def test_following_ends_with_its_last_call() -> None:
    """A process stops announcing a run some seconds after it was followed last."""
    now = time.monotonic()
    announcements = Announcements(lambda: now)
    woken: list[bool] = []
    announcements.wake = lambda: woken.append(True)
    announcements.hear("a")
    announcements.note(["a", "b"])
    assert woken == [True]
    now += 60
    announcements.hear("b")
    announcements.note(["a"])
    assert woken == [True]

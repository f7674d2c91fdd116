"""The thread that keeps a process alive and hears of letters, beside its event loops."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time

import psycopg
import pytest

from graphorch.journal.errors import LeaseHeld, LeaseLost
from graphorch.journal.postgres.announcements import Announcements
from graphorch.journal.postgres.attendant import Attendant
from graphorch.journal.postgres.connection import Address, Connection
from graphorch.journal.postgres.process_lease import ProcessLease
from graphorch.journal.postgres.store import PostgresStore
from graphorch.journal.records import NewLetter
from tests.contracts.store_contract import NEW, entries
from tests.postgres.proxies import CuttingProxy, running

_SLEEPING = "SELECT 1 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(0.5)'"


def execute(url: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def block(seconds: float) -> None:
    """Keep the event loop from everything else."""
    time.sleep(seconds)


def test_blocked_loop_keeps_its_runs(url: str) -> None:
    """The lease of a process goes on while its event loop is blocked, and ends with it."""

    async def main() -> None:
        store, other = await PostgresStore.open(url), await PostgresStore.open(url)
        await store.create(NEW)
        reasons: list[str] = []
        async with store.keep_alive(0.6, reasons.append):
            lease = await store.claim("run-1", "me", ttl=30)
            assert lease.seconds == 0.6
            block(1.2)
            with pytest.raises(LeaseHeld):
                await other.claim("run-1", "other", ttl=30)
            await store.append(lease, entries("a"), expected_last_seq=0)
            assert await store.renew(lease, ttl=30)
        assert (await other.claim("run-1", "other", ttl=30)).epoch == 2
        with pytest.raises(LeaseLost):
            await store.append(lease, entries("b", after=1), expected_last_seq=1)
        assert reasons == []
        await store.close()
        await other.close()

    asyncio.run(main())


def test_notification_during_statement_is_passed_on(url: str) -> None:
    """A notification that comes while a statement is answered does not wait for the next one."""

    class Slow(Announcements):
        def send(self, connection: Connection) -> float | None:
            if began.is_set():  # not at the first time, after which the call below wakes the thread
                connection.execute("SELECT pg_sleep(0.5)")
                sent.set()
            began.set()
            return None

    began, sent, heard = threading.Event(), threading.Event(), threading.Event()
    attendant = Attendant(Address(url), ProcessLease(), Slow())
    attendant.listen("graphorch_records", lambda payload: heard.set() if payload == "run" else None)
    while not execute(url, _SLEEPING):
        time.sleep(0.01)
    execute(url, "NOTIFY graphorch_records, 'run'")
    assert sent.wait(5)
    assert heard.wait(0.4)
    attendant.close()


def test_bereft_process_is_reported(url: str) -> None:
    """A process hears, once, that another one claimed a run of it after its lease had expired."""

    async def main() -> None:
        store, other = await PostgresStore.open(url), await PostgresStore.open(url)
        await store.create(NEW)
        lost, reasons = asyncio.Event(), list[str]()
        loop = asyncio.get_running_loop()

        def report(reason: str) -> None:
            reasons.append(reason)
            loop.call_soon_threadsafe(lost.set)

        async with store.keep_alive(3.0, report):
            await store.claim("run-1", "me", ttl=30)
            await _claim_from_expired(url, other)
            await asyncio.wait_for(lost.wait(), 20)
            await asyncio.sleep(0.5)
        [reason] = reasons
        assert reason.startswith(f"Process '{store.process_name}' was not heard of for longer than")
        await store.close()
        await other.close()

    asyncio.run(main())


async def _claim_from_expired(url: str, other: PostgresStore) -> None:
    """Claim the run of a process whose lease expired, before that process renews it."""
    for _ in range(50):
        execute(url, "UPDATE graphorch.processes SET expires_at = 0")
        with contextlib.suppress(LeaseHeld):
            await other.claim("run-1", "other", ttl=30)
            return
    raise AssertionError("the process always renewed its lease first")


def test_expired_process_goes_on(url: str) -> None:
    """A process that no other one took a run of goes on, however long the server was away.

    Meanwhile it is not certain that its runs are its own.
    """
    proxy = CuttingProxy(url)

    async def main() -> None:
        store = await PostgresStore.open(proxy.url)
        other = await PostgresStore.open(url)
        await store.create(NEW)
        reasons: list[str] = []
        async with store.keep_alive(0.6, reasons.append) as kept:
            lease = await store.claim("run-1", "me", ttl=30)
            assert kept.is_certain
            proxy.is_open = False
            proxy.marker, proxy.cuts = b"processes", 1
            await asyncio.sleep(1.5)
            assert not kept.is_certain
            proxy.is_open = True
            await asyncio.sleep(0.5)
            assert kept.is_certain
            with pytest.raises(LeaseHeld):
                await other.claim("run-1", "other", ttl=30)
            await store.append(lease, entries("a"), expected_last_seq=0)
        assert reasons == []
        await store.close()
        await other.close()

    with running(proxy):
        asyncio.run(main())


def test_letter_of_other_process_wakes_at_once(url: str) -> None:
    """A letter that another store posts is heard of well before the next look."""

    async def main() -> None:
        store, other = await PostgresStore.open(url), await PostgresStore.open(url)
        await store.create(NEW)
        woken = asyncio.Event()
        end = store.watch_mail("run-1", woken.set)
        await asyncio.sleep(0.3)
        woken.clear()
        began = time.monotonic()
        await other.post(NewLetter("run-1", "l", "stop", {}))
        await asyncio.wait_for(woken.wait(), 5)
        assert time.monotonic() - began < 1.5
        end()
        await store.close()
        await other.close()

    asyncio.run(main())


@pytest.mark.slow
def test_letter_without_notification_is_found(url: str) -> None:
    """A letter whose notification was lost is found, also if its transaction began long before."""

    async def main() -> None:
        store, other = await PostgresStore.open(url), await PostgresStore.open(url)
        await store.create(NEW)
        woken = asyncio.Event()
        end = store.watch_mail("run-1", woken.set)
        await asyncio.sleep(0.3)
        woken.clear()
        with psycopg.connect(url) as slow:
            slow.execute(
                "INSERT INTO graphorch.letters (run, letter_id, kind, body, sent_at, message, seal)"
                " SELECT id, 'l', 'stop', 'null', 1, '', '' FROM graphorch.runs"
            )
            await asyncio.sleep(2.2)
            assert not woken.is_set()
        await asyncio.wait_for(woken.wait(), 5)
        end()
        await store.close()
        await other.close()

    asyncio.run(main())


def test_listener_survives_lost_connection(url: str) -> None:
    """After its connection was cut the thread listens again, and finds what came meanwhile."""

    async def main() -> None:
        store, other = await PostgresStore.open(url), await PostgresStore.open(url)
        await store.create(NEW)
        woken = asyncio.Event()
        end = store.watch_mail("run-1", woken.set)
        await asyncio.sleep(0.3)
        await other.post(NewLetter("run-1", "l", "stop", {}))
        await asyncio.wait_for(woken.wait(), 5)
        execute(
            url,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE query LIKE 'LISTEN%' OR query LIKE '%posted_in%' AND pid <> pg_backend_pid()",
        )
        woken.clear()
        await other.post(NewLetter("run-1", "m", "stop", {}))
        await asyncio.wait_for(woken.wait(), 5)
        end()
        await store.close()
        await other.close()

    asyncio.run(main())


@pytest.mark.slow
def test_idle_process_asks_little(url: str) -> None:
    """A process that keeps itself alive and watches a run makes few statements."""
    count = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"

    async def main() -> None:
        store = await PostgresStore.open(url)
        async with store.keep_alive(2.5, lambda reason: None):
            end = store.watch_mail("run-1", lambda: None)
            await asyncio.sleep(1.2)  # statistics are reported once a second
            [(before,)] = execute(url, count)
            await asyncio.sleep(2.5)
            [(after,)] = execute(url, count)
            end()
        assert isinstance(before, int)
        assert isinstance(after, int)
        assert after - before <= 3 + 2.5 * 5
        await store.close()

    asyncio.run(main())

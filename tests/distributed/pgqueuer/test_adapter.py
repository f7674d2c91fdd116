"""The engine on PgQueuer's tables keeps the contract on a real server, and over its failures."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable

import psycopg
import pytest

from graphorch.distributed.engine import Engine, Job
from graphorch.distributed.errors import EngineNotReady, EngineUnavailable, NotificationsLost
from graphorch.distributed.pgqueuer.adapter import PgQueuerEngine
from graphorch.distributed.pgqueuer.statements import PRUNE_LOG
from graphorch.errors import InputError
from tests.contracts.engine_contract import (
    Bench,
    Scenario,
    Work,
    every_scenario,
    job,
    jobs,
    run,
    serving,
    until_gone,
)
from tests.distributed.pgqueuer.fixtures import Worker, queue, shared, start_worker
from tests.distributed.pgqueuer.proxy import Proxy
from tests.postgres.cluster import Cluster

__all__ = ["queue", "shared", "start_worker"]

TIMEOUT = 0.6
Starting = Callable[[str, float, float], Worker]


@every_scenario
def test_contract(check: Scenario, queue: str) -> None:
    """The engine on PgQueuer's tables keeps the contract."""

    async def connect() -> Engine:
        return await PgQueuerEngine.open(queue, timeout=TIMEOUT)

    asyncio.run(run(check, Bench(connect, timeout=TIMEOUT, moment=0.15)))


# ---------------------------------------------------------------- workers that fail


def test_killed_worker_loses_jobs(queue: str, start_worker: Starting) -> None:
    """The jobs of a worker that was killed begin again elsewhere soon after its timeout."""
    worker = start_worker(queue, TIMEOUT, 60.0)

    async def main() -> float:
        engine, work = await PgQueuerEngine.open(queue, timeout=TIMEOUT), Work()
        try:
            await engine.put(jobs(3))
            for each in jobs(3):
                await asyncio.to_thread(worker.wait_for, f"begun {each.key}")
            async with serving(engine, work):
                await asyncio.sleep(2 * TIMEOUT)
                assert work.keys == []
                worker.process.kill()
                began = time.monotonic()
                await work.until_ended(3)
                return time.monotonic() - began
        finally:
            await engine.close()

    assert asyncio.run(main()) < TIMEOUT + 0.5


def test_stopped_worker_cannot_end_job(queue: str, start_worker: Starting) -> None:
    """A worker that was taken for dead knows it, and leaves the job to its successor."""
    worker = start_worker(queue, TIMEOUT, 0.5)

    async def main() -> None:
        engine, work = await PgQueuerEngine.open(queue, timeout=TIMEOUT), Work(is_open=False)
        try:
            await engine.put([job("k")])
            await asyncio.to_thread(worker.wait_for, "begun k")
            worker.process.send_signal(signal.SIGSTOP)
            async with serving(engine, work):
                await work.until_begun(1)
                worker.process.send_signal(signal.SIGCONT)
                await asyncio.to_thread(worker.wait_for, "lost k")
                await asyncio.to_thread(worker.wait_for, "ended k")
                await asyncio.sleep(0.3)
                assert await engine.list_alive(["k"]) == {"k"}
                work.gate.set()
                await work.until_ended(1)
                await until_gone(engine, ["k"])
        finally:
            await engine.close()

    asyncio.run(main())


def test_blocked_loop_keeps_jobs(queue: str) -> None:
    """A handler that blocks the event loop for longer than the timeout keeps the worker's jobs."""

    async def main() -> list[str]:
        first = await PgQueuerEngine.open(queue, timeout=TIMEOUT)
        second = await PgQueuerEngine.open(queue, timeout=TIMEOUT)
        begun: list[str] = []

        async def handle(job: Job) -> None:
            begun.append(job.key)
            await asyncio.sleep(0.1)
            if job.key == "blocks":
                time.sleep(2.5 * TIMEOUT)  # noqa: ASYNC251

        try:
            await first.put([job("blocks"), job("waits")])
            async with serving(first, handle):
                await asyncio.sleep(0.05)
                async with serving(second, handle):
                    await asyncio.sleep(0.3)
                    await until_gone(first, ["blocks", "waits"])
        finally:
            await first.close()
            await second.close()
        return begun

    assert sorted(asyncio.run(main())) == ["blocks", "waits"]


# ---------------------------------------------------------------- servers that fail


def test_restart_interrupts_no_job(cluster: Cluster, queue: str) -> None:
    """Over a crash of the server, jobs under way go on, no worker takes those of another one, and
    new jobs are handed out soon after it is back.
    """

    async def main() -> None:
        first = await PgQueuerEngine.open(queue, timeout=TIMEOUT)
        second = await PgQueuerEngine.open(queue, timeout=TIMEOUT)
        held, work = Work(is_open=False), Work()
        try:
            await first.put(jobs(3))
            async with serving(first, held, slots=3):
                await held.until_begun(3)
                async with serving(second, work):
                    await asyncio.sleep(0.7)  # what does not wait for the disk is there by then
                    with cluster.away():
                        with pytest.raises(
                            EngineUnavailable, match="Repeat the call once"
                        ) as caught:
                            await first.put([job("new")])
                        assert "://postgres@127" in str(caught.value)
                        await asyncio.sleep(2 * TIMEOUT)
                    began = time.monotonic()
                    await second.put([job("new")])
                    await work.until_ended(1)
                    assert time.monotonic() - began < 2.0
                    await asyncio.sleep(2 * TIMEOUT)
                    assert (work.keys, len(held.keys)) == (["new"], 3)
                    held.gate.set()
                    await until_gone(second, [*held.keys, "new"])
        finally:
            await first.close()
            await second.close()

    asyncio.run(main())


@pytest.mark.slow
def test_ends_arrive_after_restart(cluster: Cluster, queue: str) -> None:
    """A job that ends while the server is away is over when it is back."""

    async def main() -> list[str]:
        engine, work = await PgQueuerEngine.open(queue, timeout=TIMEOUT), Work(is_open=False)
        try:
            await engine.put([job("k")])
            async with serving(engine, work):
                await work.until_begun(1)
                await asyncio.sleep(0.7)
                with cluster.away():
                    work.gate.set()
                    await work.until_ended(1)
                await until_gone(engine, ["k"])
                await asyncio.sleep(2 * TIMEOUT)
        finally:
            await engine.close()
        return work.keys

    assert asyncio.run(main()) == ["k"]


@pytest.mark.slow
def test_idle_worker_is_cheap(cluster: Cluster, queue: str) -> None:
    """An idle worker has two connections for two services, and asks about once a second."""
    name = queue.rpartition("/")[2]

    def count(query: str) -> int:
        with psycopg.connect(cluster.url()) as connection:
            row = connection.execute(query.encode(), (name,)).fetchone()
        assert row is not None
        return row[0]

    async def main() -> tuple[int, int]:
        engine, work = await PgQueuerEngine.open(queue), Work()
        try:
            async with serving(engine, work), serving(engine, work, kinds=["run:a"]):
                await asyncio.sleep(1.5)
                connections = count("SELECT count(*) FROM pg_stat_activity WHERE datname = %s")
                begun = count("SELECT xact_commit FROM pg_stat_database WHERE datname = %s")
                await asyncio.sleep(3)
                ended = count("SELECT xact_commit FROM pg_stat_database WHERE datname = %s")
        finally:
            await engine.close()
        return connections, ended - begun

    connections, statements = asyncio.run(main())
    assert connections == 2
    assert statements <= 8


def test_old_log_is_pruned(queue: str) -> None:
    """Of PgQueuer's log, the last minutes stay."""
    with psycopg.connect(queue, autocommit=True) as connection:
        connection.execute("TRUNCATE graphorch.pgqueuer_log")
        connection.execute(
            "INSERT INTO graphorch.pgqueuer_log (created, job_id, status, priority, entrypoint) "
            "SELECT now() - age, 1, 'queued', 0, 'a' "
            "FROM unnest(ARRAY['1 h', '0 s']::interval[]) age"
        )
        connection.execute(PRUNE_LOG.encode())
        rows = connection.execute("SELECT count(*) FROM graphorch.pgqueuer_log").fetchone()
    assert rows == (1,)


def test_cut_connections_are_renewed(queue: str) -> None:
    """A worker whose connections are cut, by whatever is in between, has new ones at once."""

    async def main() -> None:
        async with Proxy(queue) as proxy:
            engine, work = await PgQueuerEngine.open(proxy.url, timeout=TIMEOUT), Work()
            other = await PgQueuerEngine.open(queue)
            try:
                async with serving(engine, work):
                    for number in range(3):
                        await other.put([job(f"k{number}")])
                        await work.until_ended(number + 1)
                        proxy.cut()
                    await until_gone(engine, work.keys)
            finally:
                await engine.close()
                await other.close()

    asyncio.run(main())


# ---------------------------------------------------------------- what does not fit


def test_swallowed_notifications_are_refused(queue: str) -> None:
    """A worker behind a pooler that swallows notifications does not begin to serve."""

    async def main() -> None:
        async with Proxy(queue, swallows_notifications=True) as proxy:
            engine = await PgQueuerEngine.open(proxy.url)
            try:
                await engine.put([job("k")])
                with pytest.raises(NotificationsLost, match="pool_mode=transaction"):
                    await engine.serve(["node:a"], 1, Work())
            finally:
                await engine.close()

    asyncio.run(main())


def test_missing_tables_are_named(database: str) -> None:
    """A database without tables for jobs is refused with the command that makes them."""
    with pytest.raises(
        EngineNotReady, match=r"no tables for jobs.*`graphorch db init --db postgres"
    ):
        asyncio.run(PgQueuerEngine.open(database))


def test_dropped_tables_end_service(database: str) -> None:
    """A worker whose tables are dropped ends with an error."""
    from graphorch.distributed.pgqueuer.setup import install_queue

    async def main() -> None:
        await install_queue(database)
        engine, work = await PgQueuerEngine.open(database), Work(is_open=False)
        try:
            await engine.put([job("k")])
            serving = asyncio.ensure_future(engine.serve(["node:a"], 2, work))
            await work.until_begun(1)
            with psycopg.connect(database, autocommit=True) as connection:
                connection.execute("DROP SCHEMA graphorch CASCADE")
            with pytest.raises(EngineNotReady, match="no tables for jobs"):
                await serving
        finally:
            await engine.close()

    asyncio.run(main())


def test_unreachable_server_is_named(queue: str) -> None:
    """A server that does not answer, or refuses, is named without the password."""
    address = queue.replace("postgres@", "postgres:secret@")
    for url in (
        address.replace("127.0.0.1:", "127.0.0.1:1"[:-1] + "1"),
        address.rpartition("/")[0] + "/missing",
    ):
        with pytest.raises(EngineUnavailable, match="cannot be reached") as caught:
            asyncio.run(PgQueuerEngine.open(url))
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["postgresql://u:secret@h:1/d?nonsense=1", "runs.sqlite"])
def test_wrong_url_is_refused(url: str) -> None:
    """What is no URL of PostgreSQL is refused without showing the password."""
    with pytest.raises(InputError) as caught:
        asyncio.run(PgQueuerEngine.open(url))
    assert "secret" not in str(caught.value)


def test_wrong_options_are_refused(queue: str) -> None:
    """A timeout or slots of zero, and no kinds, are refused."""

    async def main() -> None:
        with pytest.raises(InputError, match="seconds above 0"):
            await PgQueuerEngine.open(queue, timeout=0)
        engine = await PgQueuerEngine.open(queue)
        try:
            for kinds, slots in (([], 1), (["a"], 0)):
                with pytest.raises(InputError, match="nothing to do"):
                    await engine.serve(kinds, slots, Work())
        finally:
            await engine.close()

    asyncio.run(main())

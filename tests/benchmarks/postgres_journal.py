"""Figures of the journal on PostgreSQL, on a private server that waits for the disk.

`python -m tests.benchmarks.postgres_journal` prints them; no test depends on a time.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
from pydantic import BaseModel

from graphorch import Flow, Graph, node
from graphorch.journal.postgres.setup import initialize
from graphorch.journal.postgres.store import PostgresStore
from graphorch.journal.records import NewRun, Record
from tests.postgres.cluster import Cluster

BODY = "x" * 1024
SECONDS = 4.0


class Number(BaseModel):
    n: int = 0


class A(BaseModel):
    a: int = 0


class B(BaseModel):
    b: int = 0


class C(BaseModel):
    c: int = 0


class D(BaseModel):
    d: int = 0


class State(Number, A, B, C, D):
    pass


@node
async def one(number: Number) -> A:
    return A(a=number.n + 1)


@node
async def two(a: A) -> B:
    return B(b=a.a + 1)


@node
async def three(b: B) -> C:
    return C(c=b.b + 1)


@node
async def four(c: C) -> D:
    return D(d=c.c + 1)


@node
async def five(d: D) -> Number:
    return Number(n=d.d + 1)


def build_flow() -> Flow[Number, Number]:
    """Return a chain of five nodes that do next to nothing."""
    graph = Graph("five", State, input=Number, output=Number)
    return graph.chain(one, two, three, four, five).build()


def measure_fsync(folder: Path, count: int = 100) -> float:
    """Return the median time that the disk takes for a write of 8 KB, in milliseconds."""
    times: list[float] = []
    descriptor = os.open(folder / "probe", os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        for _ in range(count):
            os.pwrite(descriptor, os.urandom(8192), 0)
            began = time.perf_counter()
            os.fdatasync(descriptor)
            times.append(time.perf_counter() - began)
    finally:
        os.close(descriptor)
    return statistics.median(times) * 1000


async def measure_commits(store: PostgresStore, runs: int) -> tuple[float, float]:
    """Return fenced commits of 1 KB a second of so many runs at once, and their median in ms."""
    times: list[float] = []
    names = [f"c{runs}-{number}" for number in range(runs)]
    await asyncio.gather(*(store.create(NewRun(name, "flow", "f", 1)) for name in names))
    leases = await asyncio.gather(*(store.claim(name, name, ttl=30) for name in names))
    end = time.perf_counter() + SECONDS

    async def commit(number: int) -> None:
        seq, lease = 0, leases[number]
        while (began := time.perf_counter()) < end:
            done = store.append_soon(
                lease, [Record(seq + 1, "commit", BODY)], expected_last_seq=seq
            )
            assert done is not None
            await done
            seq += 1
            times.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(commit(number) for number in range(runs)))
    seconds = time.perf_counter() - began
    await asyncio.gather(*(store.release(lease) for lease in leases))
    return len(times) / seconds, statistics.median(times) * 1000


async def measure_runs(store: PostgresStore, count: int, at_once: int) -> float:
    """Return runs of five nodes a second."""
    flow, slots = build_flow(), asyncio.Semaphore(at_once)

    async def run(number: int) -> None:
        async with slots:
            result = await flow.run(Number(n=number), durable=store)
            assert result.output == Number(n=number + 5)

    began = time.perf_counter()
    await asyncio.gather(*(run(number) for number in range(count)))
    return count / (time.perf_counter() - began)


async def measure_idle(store: PostgresStore, url: str) -> tuple[float, int]:
    """Return statements a second and connections of a store that keeps its process alive."""
    count = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
    connections = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    seconds = 10
    async with store.keep_alive(2.5, print):
        end = store.watch_mail("nobody", lambda: None)
        await asyncio.sleep(2)
        with psycopg.connect(url, autocommit=True) as probe:
            before = probe.execute(count).fetchone()
            await asyncio.sleep(seconds)
            after = probe.execute(count).fetchone()
            number = probe.execute(connections).fetchone()
        end()
    assert before is not None
    assert after is not None
    assert number is not None
    return (after[0] - before[0]) / seconds, number[0]


async def main() -> None:
    """Print all figures."""
    with TemporaryDirectory(prefix="graphorch-postgres-") as name:
        folder = Path(name)
        cluster = Cluster.start(folder / "cluster", is_durable=True)
        try:
            url = cluster.create_database()
            initialize(url)
            print(f"load {os.getloadavg()[0]:.1f}")
            store = await PostgresStore.open(url)
            for runs in (1, 8, 50, 500, 2000):
                sync = measure_fsync(folder)
                rate, median = await measure_commits(store, runs)
                print(
                    f"commits of 1 KB, {runs:5} runs at once: {rate:8,.0f}/s, median {median:5.1f} "
                    f"ms, fsync {sync:.1f} ms"
                )
            for count, at_once in ((100, 1), (1000, 200), (2000, 500)):
                rate = await measure_runs(store, count, at_once)
                print(f"runs of five nodes, {at_once:4} at once: {rate:6,.0f}/s")
            rate, connections = await measure_idle(store, url)
            print(f"idle: {rate:.1f} transactions/s, {connections} connections")
            await store.close()
        finally:
            cluster.stop("immediate")


if __name__ == "__main__":
    asyncio.run(main())

"""Cost of the store beside a bare append log, both measured here (`-s` shows the figures)."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest

from graphorch.journal import codec
from graphorch.journal.records import NewRun, Record
from graphorch.journal.runners.database_thread import DatabaseThread, Done
from graphorch.journal.sqlite.store import SqliteStore

pytestmark = pytest.mark.slow

Sync = Literal["full", "normal"]
BODY = {"node": "write", "update": {"draft": "x" * 970}, "attempt": 1}  # 1 KB as JSON
DATA = codec.dump(BODY)


def bare_log(path: Path, sync: Sync) -> DatabaseThread:
    """Return the least that an append log in SQLite can do: an insert per append, on a thread."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {sync}")
    connection.execute("CREATE TABLE log (seq INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT")

    def transact(bodies: Sequence[Any]) -> Sequence[Done]:
        connection.execute("BEGIN IMMEDIATE")
        for body in bodies:
            connection.execute("INSERT INTO log (body) VALUES (?)", (body,))
        connection.execute("COMMIT")
        return [Done() for _ in bodies]

    return DatabaseThread("bare log", transact, connection.close, batch=1000)


async def bare(path: Path, sync: Sync, runs: int, appends: int) -> list[float]:
    """Return the seconds of each append to a bare log, encoding included, and of all of them."""
    log = bare_log(path, sync)
    taken: list[float] = []

    async def append() -> None:
        for _ in range(appends):
            began = time.perf_counter()
            await log.run(json.dumps(BODY).encode())  # type: ignore[arg-type]
            taken.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(append() for _ in range(runs)))
    taken.append(time.perf_counter() - began)
    await log.close()
    return taken


async def ours(path: Path, sync: Sync, runs: int, appends: int) -> list[float]:
    """Return the seconds of each append to the store, and of all of them."""
    store = await SqliteStore.open(path, sync=sync)
    taken: list[float] = []

    async def append(number: int) -> None:
        run_id = f"run-{number}"
        await store.create(NewRun(run_id, "flow", "f", 1))
        lease = await store.claim(run_id, "me", ttl=1e6)
        for last in range(appends):
            began = time.perf_counter()
            await store.append(lease, [Record(last + 1, "commit", BODY)], expected_last_seq=last)
            taken.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(append(number) for number in range(runs)))
    taken.append(time.perf_counter() - began)
    await store.close()
    return taken


def rounds(
    tmp_path: Path, sync: Sync, runs: int, appends: int, count: int
) -> tuple[list[list[float]], list[list[float]]]:
    """Measure the bare log and the store in turns, so that a busy moment hits both."""
    logs: list[list[float]] = []
    stores: list[list[float]] = []
    for number in range(count):
        logs.append(asyncio.run(bare(tmp_path / f"bare-{number}.db", sync, runs, appends)))
        stores.append(asyncio.run(ours(tmp_path / f"ours-{number}.db", sync, runs, appends)))
    return logs, stores


def test_hundred_runs_commit_rate(
    tmp_path: Path,
) -> None:
    """The store reaches 10,000 commits per second, or half of the bare log's on a busy machine."""
    logs, stores = rounds(tmp_path, "full", runs=100, appends=60, count=5)
    log, store = (6000 / min(taken[-1] for taken in item) for item in (logs, stores))
    print(f"\n100 runs, full sync: bare log {log:,.0f} commits/s, store {store:,.0f}")
    assert store >= min(10_000, log / 2)


def test_append_overhead_is_at_most_60_us(tmp_path: Path) -> None:
    """The least difference of three rounds counts: a busy machine wakes threads late."""
    differences: list[float] = []
    for number in range(3):
        folder = tmp_path / str(number)
        folder.mkdir()
        logs, stores = rounds(folder, "normal", runs=1, appends=1000, count=3)
        log, store = (
            min(statistics.median(taken[:-1]) for taken in item) * 1e6 for item in (logs, stores)
        )
        print(
            f"\none run, normal sync: bare log {log:.0f} µs, store {store:.0f} µs, "
            f"difference {store - log:.0f} µs"
        )
        differences.append(store - log)
    assert min(differences) <= 60


def test_file_size_of_200_records(tmp_path: Path) -> None:
    """200 records of 1 KB take at most 1.3 times the bytes of a bare log."""
    rounds(tmp_path, "normal", runs=1, appends=200, count=1)
    log, store = ((tmp_path / f"{name}-0.db").stat().st_size for name in ("bare", "ours"))
    print(
        f"\n200 records of {len(DATA)} bytes: bare log {log:,} bytes, store {store:,}, "
        f"{store / log:.2f} times"
    )
    assert store <= 1.3 * log


def test_load_time_of_10_000_records(tmp_path: Path) -> None:
    """10,000 records load in a second."""

    async def loaded() -> float:
        store = await SqliteStore.open(tmp_path / "runs.db", sync="normal")
        await store.create(NewRun("run-1", "flow", "f", 1))
        lease = await store.claim("run-1", "me", ttl=1e6)
        for last in range(0, 10_000, 1000):
            await store.append(
                lease,
                [Record(last + number, "commit", BODY) for number in range(1, 1001)],
                expected_last_seq=last,
            )
        times: list[float] = []
        for _ in range(3):
            began = time.perf_counter()
            assert len((await store.load("run-1")).records) == 10_000
            times.append(time.perf_counter() - began)
        await store.close()
        return min(times)

    seconds = asyncio.run(loaded())
    print(f"\n10,000 records of {len(DATA)} bytes load and verify in {seconds:.2f} s")
    assert seconds <= 1

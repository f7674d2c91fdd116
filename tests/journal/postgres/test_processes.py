"""Real processes on one database: killed, stopped, with wrong clocks, and a server that crashes."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path

import pytest

from graphorch.journal.postgres.setup import initialize
from graphorch.journal.postgres.store import PostgresStore
from tests.postgres.cluster import Cluster

ROOT = Path(__file__).parents[3]
RUNS = 6
CODE_OF_LOSS = 75


class Writer:
    """A process of `writer.py`, and what it reported."""

    def __init__(self, url: str, ahead: float = 0.0) -> None:
        command = [sys.executable, "-m", "tests.journal.postgres.writer", url, str(RUNS)]
        self.process = subprocess.Popen(
            [*command, str(ahead)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        self.stored: list[tuple[str, int, str]] = []
        self.is_ready = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self.is_ready.wait(30)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line == "ready\n":
                self.is_ready.set()
            elif line.endswith("\n"):
                _, run_id, seq, owner = line.rstrip("\n").split(" ", 3)
                self.stored.append((run_id, int(seq), owner))

    def wait_for(self, count: int) -> None:
        """Wait until so many more records were acknowledged."""
        target, end = len(self.stored) + count, time.monotonic() + 20
        while len(self.stored) < target:
            assert time.monotonic() < end, "nothing is stored any more"
            assert self.process.poll() is None, "the writer ended by itself"
            time.sleep(0.01)

    def kill(self) -> None:
        """Kill it, and read what it said."""
        self.process.kill()
        self.end()

    def end(self) -> None:
        """Wait for its end, and read what it said."""
        self.process.wait(10)
        self._reader.join(10)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def url(database: str) -> str:
    initialize(database)
    return database


def check_runs(url: str, writers: list[Writer]) -> None:
    """Each acknowledged record is there, once, in its place; the chains are whole."""
    acknowledged: dict[str, dict[int, str]] = defaultdict(dict)
    for writer in writers:
        for run_id, seq, owner in writer.stored:
            assert seq not in acknowledged[run_id], f"record {seq} of {run_id} committed twice"
            acknowledged[run_id][seq] = owner

    async def check() -> None:
        store = await PostgresStore.open(url)
        for number in range(RUNS):
            run_id = f"run-{number}"
            log = await store.load(run_id)
            for seq, record in enumerate(log.records, 1):
                assert record.body["seq"] == seq
                assert acknowledged[run_id].get(seq, record.body["by"]) == record.body["by"]
            assert max(acknowledged[run_id], default=0) <= log.head.last_seq
        await store.close()

    asyncio.run(check())


def test_killed_process_loses_nothing(url: str) -> None:
    """Runs of a killed process go on in another one within its lease, whatever their clocks say."""
    writers = [Writer(url), Writer(url, ahead=86_400.0)]
    rng = random.Random(7)
    for _ in range(3):
        writers[-2].wait_for(rng.randrange(20, 60))
        writers[-2].kill()
        killed = time.monotonic()
        writers[-1].wait_for(1)
        assert time.monotonic() - killed < 10  # it takes one; other programs may run here
        writers.append(Writer(url, ahead=rng.uniform(-1e6, 1e6)))
    for writer in writers[-2:]:
        writer.kill()
    check_runs(url, writers)


@pytest.mark.slow
def test_stopped_process_commits_nothing_more(url: str) -> None:
    """A process that was stopped past its lease commits nothing once it goes on, and ends."""
    first, second = Writer(url), Writer(url)
    first.wait_for(20)
    os.kill(first.process.pid, signal.SIGSTOP)
    second.wait_for(60)
    os.kill(first.process.pid, signal.SIGCONT)
    first.end()
    assert first.process.returncode == CODE_OF_LOSS
    second.wait_for(20)
    second.kill()
    check_runs(url, [first, second])


@pytest.mark.slow
def test_crash_of_server_is_survived(cluster: Cluster, url: str) -> None:
    """After a crash of the server, processes whose leases lasted go on by themselves.

    The others end, and a new one takes their runs.
    """
    writers = [Writer(url)]
    writers[0].wait_for(30)
    cluster.restart("immediate")
    back = time.monotonic()
    writers.append(Writer(url))
    while not writers[1].stored and writers[0].process.poll() is not None:
        assert time.monotonic() - back < 5
        time.sleep(0.01)
    living = [writer for writer in writers if writer.process.poll() is None]
    end = time.monotonic() + 5
    seen = sum(len(writer.stored) for writer in writers)
    while sum(len(writer.stored) for writer in writers) < seen + 50:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert living
    for writer in writers:
        writer.kill()
    check_runs(url, writers)


@pytest.mark.slow
def test_many_kills_lose_nothing(url: str) -> None:
    """40 kills at random moments lose nothing and commit nothing twice."""
    rng = random.Random(11)
    writers = [Writer(url)]
    for _ in range(40):
        writers.append(Writer(url))
        time.sleep(rng.uniform(0, 0.4))
        writers[-2].kill()
    writers[-1].wait_for(20)
    writers[-1].kill()
    check_runs(url, writers)

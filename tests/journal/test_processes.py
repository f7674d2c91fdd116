"""Killed and stopped processes lose no acknowledged record and tear none."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from graphorch.journal.records import Record
from graphorch.journal.sqlite.store import SqliteStore
from tests.contracts.store_contract import NEW
from tests.journal.writer import PER_APPEND, RUNS, body_of

ROOT = Path(__file__).parents[2]


def start(*arguments: str) -> subprocess.Popen[str]:
    """Start a process of `writer.py` that talks by lines."""
    command = [sys.executable, "-m", "tests.journal.writer", *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )


def send(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()


def receive(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


def end(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    process.stdout.close()
    assert process.wait(10) == 0


@pytest.fixture
def forks() -> Iterator[subprocess.Popen[str]]:
    process = start("fork")
    yield process
    end(process)


def kill_a_writer(
    forks: subprocess.Popen[str], path: Path, seed: int, rng: random.Random, longest: int, sync: str
) -> dict[int, int]:
    """Kill a writer after some acknowledgements, and return the last one of each run."""
    send(forks, f"{path} {seed} {sync}")
    acknowledged = dict.fromkeys(range(RUNS), 0)
    left, pid = rng.randrange(longest), 0
    while True:
        words = receive(forks).split()
        if words[0] == "gone":
            return acknowledged
        if words[0] == "started":
            pid = int(words[1])
        else:
            acknowledged[int(words[1])] = int(words[2])
            left -= 1
        if pid and left < 0:
            for _ in range(rng.randrange(30_000)):  # a moment that no commit decides
                pass
            os.kill(pid, signal.SIGKILL)
            pid = 0


async def check_what_is_left(path: Path, seed: int, acknowledged: dict[int, int]) -> int:
    """Open the store as the next process would, and count the unacknowledged records."""
    store = await SqliteStore.open(path, sync="normal")
    runs = {head.run_id for head in (await store.list_runs()).runs}
    beyond = 0
    for run, last in acknowledged.items():
        if f"run-{run}" not in runs:
            assert last == 0
            continue
        log = await store.load(f"run-{run}")
        stored = log.head.last_seq
        assert stored >= last
        assert stored % PER_APPEND == 0
        assert log.records == tuple(
            Record(seq, "commit", body_of(run, seq, seed)) for seq in range(1, stored + 1)
        )
        assert log.head.status == (f"at-{stored}" if stored else "running")
        beyond += stored - last
    await store.close()
    return beyond


def kill_many(
    forks: subprocess.Popen[str], tmp_path: Path, kills: int, sync: str, *, longest: int = 40
) -> None:
    """Kill writers at random points, some of them between a commit and its reply.

    Without a thread in between that is a moment so short that only many kills are sure to meet it.
    """
    rng, beyond = random.Random(kills), 0
    for number in range(kills):
        path = tmp_path / f"{number}.db"
        acknowledged = kill_a_writer(forks, path, number, rng, longest, sync)
        beyond += (
            asyncio.run(check_what_is_left(path, number, acknowledged)) if path.exists() else 0
        )
        for suffix in ("", "-wal", "-shm"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
    assert beyond > 0 or (sync == "normal" and kills < 100)


# by the thread, and where it was asked for
either_sync = pytest.mark.parametrize("sync", ["full", "normal"])


@either_sync
def test_60_kills_lose_no_acknowledged_record(
    forks: subprocess.Popen[str], tmp_path: Path, sync: str
) -> None:
    """60 kills lose nothing that was acknowledged."""
    kill_many(forks, tmp_path, 60, sync)


@pytest.mark.slow
@either_sync
def test_300_kills_lose_no_acknowledged_record(
    forks: subprocess.Popen[str], tmp_path: Path, sync: str
) -> None:
    """300 kills lose nothing that was acknowledged."""
    kill_many(forks, tmp_path, 300, sync)


@pytest.mark.slow
@either_sync
def test_kills_during_checkpoint_lose_nothing(
    forks: subprocess.Popen[str], tmp_path: Path, sync: str
) -> None:
    """Kills lose nothing when the log was moved into the file once or twice before."""
    kill_many(forks, tmp_path, 15, sync, longest=4000)


def test_stopped_owner_commits_nothing_after_lease(
    tmp_path: Path,
) -> None:
    """An owner that was stopped past its lease commits nothing once it goes on."""
    path, clock = tmp_path / "runs.db", tmp_path / "clock"
    clock.write_text("1000")

    async def take_over() -> None:
        store = await SqliteStore.open(path, clock=lambda: float(clock.read_text("utf-8")))
        lease = await store.claim("run-1", "second", ttl=10)
        await store.append(lease, [Record(2, "commit", "second")], expected_last_seq=1)
        await store.close()

    async def stored() -> list[object]:
        store = await SqliteStore.open(path)
        bodies = [record.body for record in (await store.load("run-1")).records]
        await store.close()
        return bodies

    first = start("obey", str(path), str(clock))
    assert receive(first) == "claimed"
    send(first, "0")
    assert receive(first) == "stored"
    os.kill(first.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, first.pid, os.WSTOPPED | os.WNOWAIT)
    send(first, "1")  # what it is about to do when it is stopped
    send(first, "2")
    clock.write_text("1011")
    asyncio.run(take_over())
    os.kill(first.pid, signal.SIGCONT)
    for _ in range(2):
        assert receive(first) == (
            "LeaseLost: Run 'run-1': 'first' had it in epoch 1, now 'second' has it in "
            "epoch 2. Stop working on it, or claim it again."
        )
    end(first)
    assert asyncio.run(stored()) == ["first", "second"]


def test_claim_under_same_name_takes_over(tmp_path: Path) -> None:
    """A restarted process need not wait for its old lease, which is lost."""
    path, clock = tmp_path / "runs.db", tmp_path / "clock"
    clock.write_text("1000")
    first = start("obey", str(path), str(clock))
    assert receive(first) == "claimed"
    second = start("obey", str(path), str(clock))
    assert receive(second) == "claimed"
    send(first, "0")
    assert receive(first).startswith("LeaseLost")
    send(second, "0")
    assert receive(second) == "stored"
    end(first)
    end(second)


COMES_AND_GOES = """
import asyncio, sys
from graphorch.journal.sqlite.store import SqliteStore

async def main():
    store = await SqliteStore.open(sys.argv[1])
    print(len((await store.list_runs()).runs))
    await store.close()

asyncio.run(main())
"""


def seen_by_another(path: Path) -> int:
    """Return how many runs another process sees that opens the file and ends."""
    done = subprocess.run(
        [sys.executable, "-c", COMES_AND_GOES, str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


@pytest.mark.parametrize(
    "more", ["no other store", "another one that stays", "another one that was closed"]
)
def test_leaving_process_keeps_log(tmp_path: Path, more: str) -> None:
    """A process that ends does not remove the log while a store has the file open.

    The locks of a process end with the first descriptor that it closes. Without them, the process
    that leaves would take itself for the last one.
    """
    path = tmp_path / "runs.db"

    async def main() -> None:
        store = await SqliteStore.open(path)
        await store.create(replace(NEW, run_id="one"))
        other = None if more == "no other store" else await SqliteStore.open(path)
        if more == "another one that was closed" and other is not None:
            await other.close()
        log = os.stat(f"{path}-wal").st_ino
        assert seen_by_another(path) == 1
        assert os.stat(f"{path}-wal").st_ino == log
        await store.create(replace(NEW, run_id="two"))
        assert seen_by_another(path) == 2
        await store.close()
        if more == "another one that stays" and other is not None:
            await other.close()

    asyncio.run(main())
    assert seen_by_another(path) == 2

"""Process that appends to a store, and reports to its parent what was acknowledged.

`python -m tests.journal.writer fork` is a server that forks such a process per line of its input (a
path, a seed, and how to sync), since a fresh interpreter would take most of the time. `python -m
tests.journal.writer obey PATH CLOCK` does one thing per line, at the time that the file CLOCK
names.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from graphorch.journal.errors import LeaseLost
from graphorch.journal.records import NewRun, Record
from graphorch.journal.sqlite.store import SqliteStore

RUNS = 5
PER_APPEND = 3


def body_of(run: int, seq: int, seed: int) -> dict[str, object]:
    """Return the body of record `seq` of a run, which a reader can compute again."""
    return {
        "run": run,
        "seq": seq,
        "text": "x" * ((seed * 7919 + run * 104_729 + seq * 1_299_709) % 6000),
    }


def say(line: str) -> None:
    """Send a line to the parent, in a single write."""
    os.write(1, f"{line}\n".encode())


async def write_forever(path: Path, seed: int, sync: Any) -> None:
    """Append to several runs at once until this process is killed."""
    store = await SqliteStore.open(path, sync=sync)

    async def write(run: int) -> None:
        await store.create(NewRun(f"run-{run}", "flow", "f", 1))
        lease = await store.claim(f"run-{run}", f"process {os.getpid()}", ttl=1e6)
        last = 0
        while True:
            seqs = range(last + 1, last + 1 + PER_APPEND)
            await store.append(
                lease,
                [Record(seq, "commit", body_of(run, seq, seed)) for seq in seqs],
                expected_last_seq=last,
                status=f"at-{seqs[-1]}",
            )
            last = seqs[-1]
            say(f"stored {run} {last}")
            await asyncio.sleep(0)  # an append that need not wait yields to no other task

    async with asyncio.TaskGroup() as writers:
        for run in range(RUNS):
            writers.create_task(write(run))


def serve_forks() -> None:
    """Fork a writer per line; report its process id, and its end."""
    for line in sys.stdin:
        path, seed, sync = line.split()
        child = os.fork()
        if child == 0:
            asyncio.run(write_forever(Path(path), int(seed), sync))
        say(f"started {child}")
        os.waitpid(child, 0)
        say("gone")


async def obey(path: Path, clock: Callable[[], float]) -> None:
    """Claim a run, append behind record N for each line N, and report the outcomes."""
    store = await SqliteStore.open(path, clock=clock)
    await store.create(NewRun("run-1", "flow", "f", 1))
    lease = await store.claim("run-1", "first", ttl=10)
    say("claimed")
    for line in sys.stdin:
        last = int(line)
        try:
            await store.append(lease, [Record(last + 1, "commit", "first")], expected_last_seq=last)
            say("stored")
        except LeaseLost as error:
            say(f"{type(error).__name__}: {error}")
    await store.close()


if __name__ == "__main__":
    if sys.argv[1] == "fork":
        serve_forks()
    else:
        asyncio.run(obey(Path(sys.argv[2]), lambda: float(Path(sys.argv[3]).read_text("utf-8"))))

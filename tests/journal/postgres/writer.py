"""Process that appends to runs in a database, and reports what was acknowledged.

`python -m tests.journal.postgres.writer URL RUNS AHEAD` takes the runs one after the other as soon
as they are free, and goes on where they end. Its clock is AHEAD seconds ahead.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time

from graphorch.journal.errors import LeaseHeld, LeaseLost
from graphorch.journal.postgres.store import PostgresStore
from graphorch.journal.records import NewRun, Record


def say(line: str) -> None:
    """Send a line to the parent, in a single write."""
    os.write(1, f"{line}\n".encode())


async def write(store: PostgresStore, run_id: str) -> None:
    """Own a run and append to it, for ever; wait while another process owns it."""
    owner = f"process {os.getpid()}"
    await store.create(NewRun(run_id, "flow", "f", 1))
    while True:
        try:
            lease = await store.claim(run_id, owner, ttl=30)
            last = (await store.load(run_id)).head.last_seq
            while True:
                record = Record(last + 1, "commit", {"by": owner, "seq": last + 1})
                await store.append(lease, [record], expected_last_seq=last)
                last += 1
                say(f"stored {run_id} {last} {owner}")
        except (LeaseHeld, LeaseLost):
            await asyncio.sleep(0.05)


async def main(url: str, runs: int) -> None:
    """Write to all runs at once, as a worker whose lease is short."""
    store = await PostgresStore.open(url)
    async with store.keep_alive(0.6, lambda reason: os._exit(75)), asyncio.TaskGroup() as writers:
        say("ready")
        for number in range(runs):
            writers.create_task(write(store, f"run-{number}"))


if __name__ == "__main__":
    ahead, real_time = float(sys.argv[3]), time.time
    time.time = lambda: real_time() + ahead
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))

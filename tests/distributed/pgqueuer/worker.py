"""A worker process of the tests: it serves a queue, and says on standard output what it does.

Run as `python worker.py URL TIMEOUT SECONDS`: each of its jobs lasts so many seconds.
"""

from __future__ import annotations

import asyncio
import sys

from graphorch.distributed.engine import Job
from graphorch.distributed.pgqueuer.adapter import PgQueuerEngine


async def main(url: str, timeout: float, seconds: float) -> None:
    async def handle(job: Job) -> None:
        print("begun", job.key, flush=True)
        await asyncio.sleep(seconds)
        print("held" if await engine.keep(job.key) else "lost", job.key, flush=True)
        print("ended", job.key, flush=True)

    engine = await PgQueuerEngine.open(url, timeout=timeout)
    print("ready", flush=True)
    await engine.serve(["node:a"], 50, handle)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2]), float(sys.argv[3])))

"""A worker process of the tests: it serves a pool on a cluster of Dask.

Run as `python worker.py URL SECONDS`: each of its jobs lasts so many seconds.
"""

from __future__ import annotations

import asyncio
import sys

from graphorch.distributed.dask.adapter import DaskEngine
from graphorch.distributed.engine import Job


async def main(url: str, seconds: float) -> None:
    async def handle(job: Job) -> None:
        print("begun", job.key, flush=True)
        await asyncio.sleep(seconds)

    engine = await DaskEngine.open(url)
    await engine.serve(["node:a"], 50, handle)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2])))

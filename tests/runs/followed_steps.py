"""A flow of slow steps, and a process that runs or resumes it.

Start it as `followed_steps.py FILE run|resume`.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

from pydantic import BaseModel

from graphorch import Flow, Graph, node
from graphorch.journal.sqlite.store import SqliteStore

STEPS = 8
_SECONDS = 0.1  # of a step


class Count(BaseModel):
    count: int = 0


def build_steps() -> Flow[Any, Any, Any]:
    """Return a chain of slow steps, each of which prints a line when it begins."""

    @node
    async def step(count: Count) -> Count:
        print(count.count, flush=True)
        await asyncio.sleep(_SECONDS)
        return Count(count=count.count + 1)

    graph = Graph("steps", Count, input=Count, output=Count)
    return graph.chain(*[step.named(f"step{number}") for number in range(STEPS)]).build()


async def main(database: str, verb: str) -> None:
    """Run the flow, or resume its run, by a clock at which the lease of its process has ended."""
    flow = build_steps()
    if verb == "run":
        await flow.run(Count(), run_id="r", durable=database)
        return
    store = await SqliteStore.open(database, clock=lambda: time.time() + 60)
    await flow.resume("r", durable=store)
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

"""Processes that run a flow until the cap of the day refuses it.

`python -m tests.distributed.limits.spender COUNT DATABASE`, in a folder with a configuration, forks
so many of them, since a fresh interpreter each would take most of the time. It prints their ids,
and returns when all have ended.
"""

from __future__ import annotations

import asyncio
import os
import sys

import openai  # noqa: F401
from pydantic import BaseModel

# Loaded before the fork: what a run on a database needs.
import graphorch.distributed.limits.shared_limits
import graphorch.journal.postgres.store
import graphorch.models.config.loader
import graphorch.runs.durable
import graphorch.runs.payers  # noqa: F401
from graphorch import Graph, RunFailed, agent
from graphorch.models.budgets.budget import CapReached

REFUSED = 3
AT_ONCE = 2


class Topic(BaseModel):
    topic: str = "tides"


class Draft(BaseModel):
    draft: str = ""


class Essay(Topic, Draft): ...


@agent(output=Draft, model="m")
def write(topic: Topic) -> str:
    return f"Write about {topic.topic}"


FLOW = Graph("essay", Essay, input=Topic, output=Draft).chain(write).build()


async def spend(database: str) -> int:
    """Run the flow again and again, three at once, until each is refused."""

    async def run_again() -> None:
        while True:
            try:
                await FLOW.run(Topic(), durable=database)
            except RunFailed as error:
                if error.subgroup(CapReached) is None:
                    raise
                return

    await asyncio.gather(*(run_again() for _ in range(AT_ONCE)))
    return REFUSED


def main(count: int, database: str) -> None:
    children: list[int] = []
    for _ in range(count):
        if (child := os.fork()) == 0:
            os._exit(asyncio.run(spend(database)))
        children.append(child)
    print(*children, flush=True)
    for child in children:
        _, status = os.waitpid(child, 0)
        print(child, os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])

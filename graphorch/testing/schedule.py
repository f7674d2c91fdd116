"""One way in which time may pass: how long each node takes, and how many run at once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, TypeVar, Unpack
from zlib import crc32

from pydantic import BaseModel

from graphorch.engine.settings import Limits
from graphorch.flow.flow import Flow
from graphorch.graph.context import Context
from graphorch.runs.options import RunOptions
from graphorch.runs.result import Result
from graphorch.testing.faults import Call, around_nodes
from graphorch.testing.virtual_clock import run_virtual

In = TypeVar("In", bound=BaseModel)
Out = TypeVar("Out", bound=BaseModel)
State = TypeVar("State", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Schedule:
    """A way in which time may pass: each attempt takes up to `longest` seconds more.

    A hash of the seed and the activation decides how many. `concurrency` is the number of nodes
    that run at once, None for all that can.

        result = run_under(Schedule(7, concurrency=2), flow, Topic(topic="tides"))
    """

    seed: int
    concurrency: int | None = None
    longest: float = 1.0

    def seconds(self, key: str, attempt: int = 1) -> float:
        """Return the delay of an attempt; a quarter of them take no time at all."""
        drawn = crc32(f"{self.seed} {key} {attempt}".encode()) % 1000 / 1000
        return max(0.0, (drawn - 0.25) / 0.75) * self.longest

    async def around(self, ctx: Context[Any], call: Call) -> Any:
        """Wait before the node runs; for `around_nodes`."""
        await asyncio.sleep(self.seconds(ctx.key, ctx.attempt))
        return await call()


def run_under(
    schedule: Schedule, flow: Flow[In, Out, State], input: In, **options: Unpack[RunOptions]
) -> Result[Out, State]:
    """Run a flow under a schedule, on a virtual clock.

    Raises the errors of `Flow.run`, and `Deadlock`.
    """
    limits = options.get("limits") or Limits(concurrency=schedule.concurrency)
    return run_virtual(
        around_nodes(flow, schedule.around).run(input, **{**options, "limits": limits}),
        seed=schedule.seed,
    )

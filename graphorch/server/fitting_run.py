"""A run whose flow is loaded and fits it, for what needs the code of the flow."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from graphorch.graph.plan import Plan
from graphorch.server.context import ServerContext, require_served
from graphorch.server.problems import Problem
from graphorch.views.reading.open_run import OpenRun
from graphorch.views.reasons.flow_fit import describe_fit


@asynccontextmanager
async def open_fitting(
    context: ServerContext, run_id: str, what: str
) -> AsyncGenerator[tuple[OpenRun, Plan]]:
    """Return a run, and the plan of its flow, for `what` needs its code.

    Raises `Problem` unless the flow is loaded and its graph reads the run.
    """
    async with context.reader.open_run(run_id) as run:
        plan = require_served(context, run.head.flow, what).flow.plan
        fit = describe_fit(run, plan)
        if not fit.fits:
            raise Problem(
                409,
                "flow-does-not-fit",
                f"{what} needs the graph that wrote the run. {fit.problem}",
                extra={"flow": fit.name},
            )
        yield run, plan

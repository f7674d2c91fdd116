"""What needs the code of a run's flow: its state, why something happened, its critical path."""

from __future__ import annotations

import asyncio
from typing import Annotated

from pydantic import Field

from graphorch.journal.records import RunLog
from graphorch.server.context import ServerContext
from graphorch.server.endpoint import Call, Endpoint, NoQuery, RequestModel
from graphorch.server.fitting_run import open_fitting
from graphorch.views.reasons.critical_path import RunCriticalPath, read_critical_path
from graphorch.views.reasons.state import StateView, read_output, read_state
from graphorch.views.reasons.why import Explanation, explain
from graphorch.views.runs.run_page import RunOutput

_LARGEST = 2**53


class StateQuery(RequestModel):
    """After which record; without one, after the last."""

    at: Annotated[int, Field(ge=1, le=_LARGEST)] | None = None


class WhyQuery(RequestModel):
    """About which node, by its name or path; the whole run without one."""

    path: Annotated[str, Field(max_length=2_000)] = ""


def build_endpoints(context: ServerContext) -> list[Endpoint]:
    """Return the endpoints of one run that need the code of its flow."""

    async def describe_state(call: Call[StateQuery, None]) -> StateView:
        """Describe the state after a record, and what that record changed."""
        async with open_fitting(context, call.names["id"], "The state") as (run, plan):
            seq = run.seq if call.query.at is None else call.query.at
            return await asyncio.to_thread(read_state, run, plan, seq)

    async def describe_output(call: Call[NoQuery, None]) -> RunOutput:
        """Read the output of a run, however long the run is."""
        async with open_fitting(context, call.names["id"], "The output") as (run, plan):
            return await asyncio.to_thread(read_output, run, plan)

    async def explain_node(call: Call[WhyQuery, None]) -> Explanation:
        """Explain why a node ran or did not, or how the run ended."""
        async with open_fitting(context, call.names["id"], "An explanation") as (run, plan):
            log = RunLog(run.head, tuple(run.records))
            return await asyncio.to_thread(explain, log, plan, call.query.path)

    async def find_critical_path(call: Call[NoQuery, None]) -> RunCriticalPath:
        """Find what the time of a run went into, and what would shorten it."""
        async with open_fitting(context, call.names["id"], "The critical path") as (run, plan):
            log = RunLog(run.head, tuple(run.records))
            return await asyncio.to_thread(read_critical_path, log, plan)

    run, refuses = "/api/runs/{id}", (404, 409, 422)
    return [
        Endpoint(
            "GET", f"{run}/state", describe_state, StateView, query=StateQuery, refuses=refuses
        ),
        Endpoint("GET", f"{run}/output", describe_output, RunOutput, refuses=refuses),
        Endpoint("GET", f"{run}/why", explain_node, Explanation, query=WhyQuery, refuses=refuses),
        Endpoint("GET", f"{run}/critical", find_critical_path, RunCriticalPath, refuses=refuses),
    ]

"""Pictures of runs as SVG: what a run did on its flow, or how figures are spread over it."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from pydantic import Field

from graphorch.graph.plan import Plan
from graphorch.render.heat_map import Heat
from graphorch.server.context import ServerContext
from graphorch.server.endpoint import SVG, Call, Endpoint, RequestModel
from graphorch.server.problems import Problem
from graphorch.trace.analysis.selection import Selection
from graphorch.views.pictures.heats import measure_steps
from graphorch.views.pictures.run_pictures import PictureRequest, draw_heat, draw_run
from graphorch.views.reading.open_run import OpenRun
from graphorch.views.reasons.flow_fit import describe_fit

_LARGEST = 2**53


class PictureQuery(RequestModel):
    """What is drawn on the flow: what the run did (`overlay=run`), a figure, or nothing.

    `at` is the record after which the run is shown; without one, it is shown as it is. `closed` are
    paths of maps and sub-flows that are drawn as one box each, one a line.
    """

    overlay: Literal["", "run"] = ""
    heat: Literal["", "cost", "p50", "p95", "errors", "visits"] = ""
    theme: Literal["auto", "light", "dark"] = "auto"
    at: Annotated[int, Field(ge=1, le=_LARGEST)] | None = None
    closed: Annotated[str, Field(max_length=20_000)] = ""


def build_endpoints(context: ServerContext) -> list[Endpoint]:
    """Return the endpoint that draws a run."""

    async def draw_run_picture(call: Call[PictureQuery, None]) -> str:
        """Draw a run on its flow; on the description in its first record if that is not loaded."""
        query = call.query
        if query.heat and (query.overlay or query.at is not None):
            raise Problem(422, "input", "heat: draw either a figure, or what the run did.")
        async with context.reader.open_run(call.names["id"]) as run:
            plan = await asyncio.to_thread(_find_plan, context, run)
            closed = frozenset(query.closed.splitlines())
            request = PictureRequest(query.overlay == "run", query.theme, query.at, closed)
            if query.heat:
                heats = await _measure(context, run)
                return await asyncio.to_thread(draw_heat, run, plan, heats, query.heat, request)
            return await asyncio.to_thread(draw_run, run, plan, request)

    return [
        Endpoint(
            "GET",
            "/api/runs/{id}/picture.svg",
            draw_run_picture,
            str,
            query=PictureQuery,
            refuses=(404, 409, 422),
            media_type=SVG,
        )
    ]


def _find_plan(context: ServerContext, run: OpenRun) -> Plan | None:
    """Return the plan of a run's flow if it is loaded and fits: another one would be a guess."""
    served = context.find_flow(run.head.flow)
    if served is None or not describe_fit(run, served.flow.plan).fits:
        return None
    return served.flow.plan


async def _measure(context: ServerContext, run: OpenRun) -> dict[str, Heat]:
    """Return the figures of the steps of a run, from the same rows as the statistics."""
    async with context.reader.open_index() as index:
        await index.catch_up_runs(context.store, [run.head])
        return measure_steps(index, Selection(where={"run": run.head.run_id}))

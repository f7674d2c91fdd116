"""Two runs beside each other: in what they differ, one activation of both, and a picture."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from pydantic import Field

from graphorch.errors import GraphorchError
from graphorch.server.context import ServerContext
from graphorch.server.endpoint import SVG, Call, Endpoint, RequestModel
from graphorch.server.routes.parameters import require_run_id
from graphorch.views.comparison.comparison import ActivationDifference, Comparison
from graphorch.views.comparison.comparison_picture import draw_comparison
from graphorch.views.comparison.differences import RunPair
from graphorch.views.comparison.recorded_run import Place
from graphorch.views.comparison.run_comparison import (
    MOST_ACTIVATIONS,
    WantedActivations,
    compare_activation,
    compare_runs,
    open_pair,
)
from graphorch.views.reading.open_run import MANY_RECORDS, OpenRun
from graphorch.views.reasons.flow_fit import describe_fit
from graphorch.views.reasons.state import read_output

_LARGEST = 2**53


class PairQuery(RequestModel):
    """The ids of two runs: `a` is the left one, `b` the right one."""

    a: Annotated[str, Field(min_length=1)]
    b: Annotated[str, Field(min_length=1)]


class ComparisonQuery(PairQuery):
    """Activations from number `after` on; those that differ, or are in one run only, or all."""

    only: Literal["differences", "all"] = "differences"
    after: Annotated[int, Field(ge=0, le=_LARGEST)] = 0
    limit: Annotated[int, Field(ge=1, le=MOST_ACTIVATIONS)] = 200


class ActivationQuery(PairQuery):
    """The activation at `path` in its `round`, from 1."""

    path: Annotated[str, Field(min_length=1, max_length=2_000)]
    round: Annotated[int, Field(ge=1, le=_LARGEST)] = 1


class ComparisonPictureQuery(PairQuery):
    """The colours of the picture."""

    theme: Literal["auto", "light", "dark"] = "auto"


def build_endpoints(context: ServerContext) -> list[Endpoint]:
    """Return the endpoints that compare two runs. They need no code of a flow."""

    async def compare(call: Call[ComparisonQuery, None]) -> Comparison:
        """Compare two runs: aligned by the paths of activations and their rounds, not by time."""
        query = call.query
        wanted = WantedActivations(query.after, query.limit, query.only == "differences")
        async with open_pair(context.reader, *_read_ids(query)) as pair:
            outputs = await asyncio.to_thread(_read_outputs, context, pair)
            return await asyncio.to_thread(compare_runs, pair, wanted, outputs)

    async def compare_place(call: Call[ActivationQuery, None]) -> ActivationDifference:
        """Compare an activation of two runs: fields, routes, errors, and model calls."""
        query = call.query
        async with open_pair(context.reader, *_read_ids(query)) as pair:
            place = Place(query.path, query.round)
            return await asyncio.to_thread(compare_activation, pair, place)

    async def draw_picture(call: Call[ComparisonPictureQuery, None]) -> str:
        """Draw two runs on one picture: which boxes both came to, and which of these differ."""
        async with open_pair(context.reader, *_read_ids(call.query)) as pair:
            return await asyncio.to_thread(draw_comparison, pair, call.query.theme)

    comparison, refuses = "/api/comparison", (404, 409, 422)
    return [
        Endpoint("GET", comparison, compare, Comparison, query=ComparisonQuery, refuses=refuses),
        Endpoint(
            "GET",
            f"{comparison}/activation",
            compare_place,
            ActivationDifference,
            query=ActivationQuery,
            refuses=refuses,
        ),
        Endpoint(
            "GET",
            f"{comparison}/picture.svg",
            draw_picture,
            str,
            query=ComparisonPictureQuery,
            refuses=refuses,
            media_type=SVG,
        ),
    ]


def _read_ids(query: PairQuery) -> tuple[str, str]:
    """Return the ids of both runs. Raises `Problem` for what is none."""
    return require_run_id("a", query.a), require_run_id("b", query.b)


def _read_outputs(context: ServerContext, pair: RunPair) -> tuple[Any, Any] | None:
    """Return the results of both runs, cleaned; None unless both have one that can be read."""
    outputs = [_read_output(context, side.run) for side in (pair.left, pair.right)]
    return None if None in outputs else (outputs[0], outputs[1])


def _read_output(context: ServerContext, run: OpenRun) -> Any:
    """Return the result of a run whose flow is loaded and fits; None of another, or a long one."""
    served = context.find_flow(run.head.flow)
    if served is None or (run.seq > MANY_RECORDS and not run.is_rebuilt):
        return None
    plan = served.flow.plan
    if not describe_fit(run, plan).fits:
        return None
    try:
        return read_output(run, plan).value
    except GraphorchError:
        return None  # the page of that run says why

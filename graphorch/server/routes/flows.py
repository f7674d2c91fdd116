"""The served flows: what they take, what they cost, and runs of them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from graphorch.errors import GraphorchError, InputError
from graphorch.graph.estimate.estimator import worst_case
from graphorch.mcp_server.schemas import build_schema
from graphorch.runs.manager import RunManager
from graphorch.runs.options import RunOptions, check_options
from graphorch.server.actions.beginning import BegunRun, begin_run
from graphorch.server.actions.limits import BudgetBody, choose_budget
from graphorch.server.actions.request_ids import DESCRIBED_HEADER, identify
from graphorch.server.actions.values import check_value, parse_value
from graphorch.server.context import ServerContext
from graphorch.server.endpoint import SVG, Call, Endpoint, NoQuery, Reply, RequestModel
from graphorch.server.problems import Problem, refuse_mistakes
from graphorch.server.served_flow import ServedFlow
from graphorch.text import NAME_RULE, is_name, is_run_id
from graphorch.views.flows.flow_estimate import FlowEstimate, build_estimate
from graphorch.views.flows.flow_nodes import list_nodes
from graphorch.views.flows.flow_pages import (
    FlowList,
    FlowPage,
    FlowRow,
    InputCheck,
    InputMistake,
    SignalRow,
)
from graphorch.views.plain_json import to_plain

_LONGEST_WAIT = 30.0


class FlowQuery(RequestModel):
    """The estimate is made with `model` for every agent, if one is named."""

    model: Annotated[str, Field(max_length=200)] = ""


class PictureQuery(RequestModel):
    """How the flow is drawn."""

    theme: Literal["auto", "light", "dark"] = "auto"
    direction: Literal["TB", "LR"] = "TB"


class CheckBody(RequestModel):
    """An input to check, which may be any object; `model` is the one that every agent would ask."""

    input: dict[str, Any]
    model: Annotated[str, Field(max_length=200)] = ""


class BeginBody(RequestModel):
    """A run to begin.

    `budget` is at most that of the server. `model` replaces the model of every agent. `after` is
    the id of an earlier run, of which this one is the next turn. The response waits for the end of
    the run for `wait` seconds.
    """

    input: dict[str, Any]
    budget: BudgetBody | None = None
    model: Annotated[str, Field(max_length=200)] = ""
    tags: dict[str, str] = Field(default_factory=dict[str, str])
    after: Annotated[str, Field(max_length=200)] = ""
    wait: Annotated[float, Field(ge=0, le=_LONGEST_WAIT, allow_inf_nan=False)] = 0.0


def build_endpoints(context: ServerContext) -> list[Endpoint]:
    """Return the endpoints of flows."""

    async def list_flows(call: Call[NoQuery, None]) -> FlowList:
        """List the flows that this server runs."""
        return FlowList([_describe_row(served) for served in context.flows.values()])

    async def describe_flow(call: Call[FlowQuery, None]) -> FlowPage:
        """Describe a flow: schema of its input, sample, nodes, and what a run of it costs."""
        served = context.get_flow(call.names["flow"])
        return await asyncio.to_thread(_describe, context, served, call.query.model)

    async def draw_flow(call: Call[PictureQuery, None]) -> str:
        """Draw a flow."""
        flow = context.get_flow(call.names["flow"]).flow
        query = call.query
        return await asyncio.to_thread(
            lambda: flow.svg(theme=query.theme, direction=query.direction)
        )

    async def check_input(call: Call[NoQuery, CheckBody]) -> InputCheck:
        """Check an input with the model of the flow, without a run: every mistake at its place."""
        served = context.get_flow(call.names["flow"])
        return await asyncio.to_thread(_check, context, served, call.body)

    async def begin_flow(call: Call[NoQuery, BeginBody]) -> Reply:
        """Begin a run of a flow; it is stored before the response, and goes on by itself.

        With the header Idempotency-Key, the same request begins one run, however often it is sent.
        """
        return await _begin(context, call)

    flow = "/api/flows/{flow}"
    return [
        Endpoint("GET", "/api/flows", list_flows, FlowList),
        Endpoint("GET", flow, describe_flow, FlowPage, query=FlowQuery, refuses=(404, 422)),
        Endpoint(
            "GET",
            f"{flow}/picture.svg",
            draw_flow,
            str,
            query=PictureQuery,
            refuses=(404,),
            media_type=SVG,
        ),
        Endpoint(
            "POST",
            f"{flow}/check",
            check_input,
            InputCheck,
            body=CheckBody,
            refuses=(404, 422),
            changes=False,
        ),
        Endpoint(
            "POST",
            f"{flow}/runs",
            begin_flow,
            BegunRun,
            body=BeginBody,
            status=201,
            headers=DESCRIBED_HEADER,
            refuses=(400, 403, 404, 409, 422, 429, 503),
        ),
    ]


# ---- description ---------------------------------------------------------------------------------
def _describe_row(served: ServedFlow) -> FlowRow:
    plan = served.flow.plan
    return FlowRow(
        name=served.name,
        flow=served.flow.name,
        reference=served.reference,
        about=served.about,
        input=plan.input.__name__,
        output=plan.output.__name__,
        nodes=plan.end,
        has_sample=served.sample is not None,
    )


def _describe(context: ServerContext, served: ServedFlow, model: str) -> FlowPage:
    plan = served.flow.plan
    sample = served.sample
    return FlowPage(
        row=_describe_row(served),
        schema=_build_schema(plan.input, "validation"),
        output_schema=_build_schema(plan.output, "serialization"),
        sample=None if sample is None else to_plain(sample.model_dump(by_alias=True)),
        nodes=list_nodes(plan, worst_case(plan)),
        signals=[
            SignalRow(name=name, schema=_build_schema(spec.value, "validation") or {})
            for name, spec in sorted(plan.signals.items())
        ],
        estimate=_estimate(context, served, model),
    )


def _estimate(context: ServerContext, served: ServedFlow, model: str) -> FlowEstimate:
    chosen = model or context.settings.model
    limits = context.options.get("limits")
    return build_estimate(served.flow.estimate(model=chosen, limits=limits))


def _build_schema(
    model: type[BaseModel], mode: Literal["validation", "serialization"]
) -> dict[str, Any] | None:
    try:
        return build_schema(model, mode)
    except GraphorchError:
        return None


def _check(context: ServerContext, served: ServedFlow, body: CheckBody) -> InputCheck:
    flow = served.flow
    parsed, mistakes = check_value(flow.plan.input, body.input, "/input")
    if parsed is not None:
        try:
            RunManager(flow.plan).build_update(parsed)
        except InputError as error:
            parsed, mistakes = None, [{"where": "/input", "what": str(error)}]
    return InputCheck(
        fits=parsed is not None,
        mistakes=[InputMistake(mistake["where"], mistake["what"]) for mistake in mistakes],
        input=None if parsed is None else to_plain(parsed.model_dump(by_alias=True)),
        estimate=_estimate(context, served, body.model),
    )


# ---- new runs ------------------------------------------------------------------------------------
async def _begin(context: ServerContext, call: Call[NoQuery, BeginBody]) -> Reply:
    """Begin a run. Raises `Problem`, `InputError` and `JournalError`."""
    body, served = call.body, context.get_flow(call.names["flow"])
    asked = [served.flow.name, body.model_dump(mode="json", exclude={"wait"})]
    request = identify(call.headers, asked)
    value = parse_value(served.flow.plan.input, body.input, "/input")
    _check_names(body)
    own = RunOptions(run_id=request.run_id, tags={**body.tags, **request.tags})
    own["budget"] = choose_budget(context, body.budget, "/budget")
    if body.model:
        own["model"] = body.model
    if body.after:
        own["after"] = body.after
    check_options(own)

    def start(manager: RunManager, options: RunOptions) -> Coroutine[Any, Any, Any]:
        return manager.run(value, {**options, **own})

    return await begin_run(context, served.flow, request, start, body.wait)


def _check_names(body: BeginBody) -> None:
    """Raise `Problem` for names that no journal could hold."""
    for name, text in body.tags.items():
        if not is_name(name) or not is_name(text):
            what = f"This is not a tag: {NAME_RULE}"
            raise refuse_mistakes([{"where": f"/tags/{name[:80]}", "what": what}], "body")
    if body.after and not is_run_id(body.after):
        raise Problem(422, "input", "after: this is not the id of a run.")

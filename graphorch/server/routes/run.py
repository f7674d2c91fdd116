"""One run as its records tell of it; nothing here needs the code of its flow."""

from __future__ import annotations

import asyncio
from typing import Annotated

from pydantic import Field

from graphorch.errors import GraphorchError
from graphorch.journal.records import Letter
from graphorch.server.context import ServerContext
from graphorch.server.endpoint import Call, Endpoint, NoQuery, RequestModel
from graphorch.views.reading.call_pages import MOST_CALLS, list_calls
from graphorch.views.reading.conversations import WantedTurns
from graphorch.views.reading.journal_pages import MOST_RECORDS, list_records, read_text
from graphorch.views.reading.known_paths import require_path
from graphorch.views.reading.open_run import MANY_RECORDS, OpenRun
from graphorch.views.reading.run_lists import read_row
from graphorch.views.reading.run_pages import build_page
from graphorch.views.reasons.flow_fit import describe_fit
from graphorch.views.reasons.state import read_output
from graphorch.views.runs.calls import CallPage
from graphorch.views.runs.conversation import TurnPage
from graphorch.views.runs.moments import MomentPage
from graphorch.views.runs.records import RecordPage, TextPage
from graphorch.views.runs.run_page import FlowFit, RunOutput, RunPage
from graphorch.views.runs.run_row import RunRow
from graphorch.views.runs.timeline import Timeline, build_timeline

_LARGEST = 2**53

Seq = Annotated[int, Field(ge=0, le=_LARGEST)]


class MomentQuery(RequestModel):
    """Moments that records `after` a number tell of."""

    after: Seq = 0
    limit: Annotated[int, Field(ge=1, le=1_000)] = 200


class CallQuery(RequestModel):
    """Calls of the activation or node at `path` and what is inside it; of all without one."""

    path: Annotated[str, Field(max_length=2_000)] = ""
    after: Seq = 0
    limit: Annotated[int, Field(ge=1, le=MOST_CALLS)] = 50


class TurnQuery(RequestModel):
    """Turns of the node at `node` and what is inside it; of all without one."""

    node: Annotated[str, Field(max_length=2_000)] = ""
    after: Seq = 0
    limit: Annotated[int, Field(ge=1, le=500)] = 100


class TimelineQuery(RequestModel):
    """Bars that are open, or of activations with records `after` a number."""

    after: Seq = 0


class RecordQuery(RequestModel):
    """Records `after` a number."""

    after: Seq = 0
    limit: Annotated[int, Field(ge=1, le=MOST_RECORDS)] = 100


class TextQuery(RequestModel):
    """A long text of record `seq`, at a JSON pointer, from character `begin` on."""

    seq: Annotated[int, Field(ge=1, le=_LARGEST)]
    pointer: Annotated[str, Field(max_length=10_000)]
    begin: Annotated[int, Field(ge=0, le=_LARGEST)] = 0


def build_endpoints(context: ServerContext) -> list[Endpoint]:
    """Return the endpoints of one run that its records suffice for."""

    async def describe_run(call: Call[NoQuery, None]) -> RunPage:
        """Describe a run: status, nodes, sums, open questions, input and output."""
        run_id = call.names["id"]
        async with context.reader.open_run(run_id) as run:
            row = await read_row(context.reader, run.head, run.trace)
            letters = await context.store.list_letters(run_id)
            return await asyncio.to_thread(_describe, context, run, row, letters)

    async def list_moments(call: Call[MomentQuery, None]) -> MomentPage:
        """List what became of activations, in order, each with the number of its record."""
        async with context.reader.open_run(call.names["id"]) as run:
            return run.moments.list_moments(call.query.after, call.query.limit)

    async def list_run_calls(call: Call[CallQuery, None]) -> CallPage:
        """List calls of models and tools, with the decision of the policy that chose a model."""
        query = call.query
        async with context.reader.open_run(call.names["id"]) as run:
            return await asyncio.to_thread(list_calls, run, query.path, query.after, query.limit)

    async def list_turns(call: Call[TurnQuery, None]) -> TurnPage:
        """List what was said, in causal order."""
        query = call.query
        async with context.reader.open_run(call.names["id"]) as run:
            if query.node:
                require_path(run, query.node)
            conversation = await asyncio.to_thread(run.read_conversation)
            is_at_rest = not run.head.is_under_way
            wanted = WantedTurns(query.after, query.limit, query.node, is_at_rest)
            return conversation.list_turns(wanted, run.calls)

    async def draw_timeline(call: Call[TimelineQuery, None]) -> Timeline:
        """List the activations as bars over time, with their attempts and model calls."""
        now = context.clock()
        async with context.reader.open_run(call.names["id"]) as run:
            return await asyncio.to_thread(
                build_timeline, run.trace, now, call.query.after, run.last_seqs
            )

    async def list_run_records(call: Call[RecordQuery, None]) -> RecordPage:
        """List the records of a run, with secrets hidden and long texts cut."""
        query = call.query
        async with context.reader.open_run(call.names["id"]) as run:
            return await asyncio.to_thread(list_records, run, query.after, query.limit)

    async def read_record_text(call: Call[TextQuery, None]) -> TextPage:
        """Read a part of a long text in a record, with secrets hidden."""
        query = call.query
        async with context.reader.open_run(call.names["id"]) as run:
            return await asyncio.to_thread(read_text, run, query.seq, query.pointer, query.begin)

    run, unknown = "/api/runs/{id}", (404, 409)
    return [
        Endpoint("GET", run, describe_run, RunPage, refuses=unknown),
        Endpoint(
            "GET", f"{run}/moments", list_moments, MomentPage, query=MomentQuery, refuses=unknown
        ),
        Endpoint("GET", f"{run}/calls", list_run_calls, CallPage, query=CallQuery, refuses=unknown),
        Endpoint(
            "GET", f"{run}/conversation", list_turns, TurnPage, query=TurnQuery, refuses=unknown
        ),
        Endpoint(
            "GET", f"{run}/timeline", draw_timeline, Timeline, query=TimelineQuery, refuses=unknown
        ),
        Endpoint(
            "GET",
            f"{run}/records",
            list_run_records,
            RecordPage,
            query=RecordQuery,
            refuses=unknown,
        ),
        Endpoint(
            "GET", f"{run}/text", read_record_text, TextPage, query=TextQuery, refuses=unknown
        ),
    ]


def _describe(
    context: ServerContext, run: OpenRun, row: RunRow, letters: tuple[Letter, ...]
) -> RunPage:
    """Return the page of a run, with its output if its flow is loaded and fits."""
    served = context.find_flow(run.head.flow)
    plan = None if served is None else served.flow.plan
    fit, output = describe_fit(run, plan), RunOutput()
    if plan is not None and fit.fits:
        try:
            is_long = run.seq > MANY_RECORDS and not run.is_rebuilt
            output = RunOutput(is_left_out=True) if is_long else read_output(run, plan)
        except GraphorchError as error:
            fit = FlowFit(fit.name, is_loaded=True, fits=False, problem=str(error))
    return build_page(run, row, fit, letters, output)

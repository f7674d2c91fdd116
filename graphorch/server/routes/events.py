"""Streams of events: of one run, and of all runs of the journal."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from graphorch.server.context import ServerContext
from graphorch.server.endpoint import Call, Endpoint, NoQuery, RequestModel, StreamEvent
from graphorch.server.problems import Problem
from graphorch.server.routes.run import Seq
from graphorch.views.reading.run_events import follow_run
from graphorch.views.runs.run_events import RecordAdded, RunChanged, RunGone, TextPiece

_LAST_ID = "last-event-id"
_NAMES = {RunChanged: "run", RunGone: "gone", TextPiece: "text"}


class EventQuery(RequestModel):
    """Records `after` a number; a client that was cut off sends Last-Event-ID, which goes first."""

    after: Seq = 0


def build_endpoints(context: ServerContext) -> list[Endpoint]:
    """Return the endpoints that stream."""

    async def follow(call: Call[EventQuery, None]) -> AsyncIterator[StreamEvent]:
        """Stream what is added to a run: each record once, in order, by its number.

        Events are `record` (with the number as id), `status` when the status changes, and `ended`
        as the last of a run that nothing can continue. A run that waits or is at rest keeps the
        stream open.
        """
        run_id, after = call.names["id"], _read_after(call)
        await context.store.read_head(run_id)  # a run that is not there is no stream
        return _stream_run(context, run_id, after)

    async def follow_all(call: Call[NoQuery, None]) -> AsyncIterator[StreamEvent]:
        """Stream which runs change: `run` with the row of the list, `gone` for a deleted run.

        `text` is a piece of the answer that a model is writing in a run of this server.
        What was before the stream began is to be read from the list. A slow reader gets the last
        row of a run, and not all between.
        """
        await context.changes.begin()
        return _stream_changes(context)

    unknown = (404, 409, 429)
    return [
        Endpoint(
            "GET",
            "/api/runs/{id}/events",
            follow,
            RecordAdded | RunChanged,
            query=EventQuery,
            headers={"Last-Event-ID": "The id of the last event that came; `after` without one."},
            refuses=unknown,
            streams=True,
        ),
        Endpoint(
            "GET",
            "/api/events",
            follow_all,
            RunChanged | RunGone | TextPiece,
            refuses=(429,),
            streams=True,
        ),
    ]


async def _stream_run(
    context: ServerContext, run_id: str, after: int
) -> AsyncIterator[StreamEvent]:
    async with aclosing(follow_run(context.reader, run_id, after)) as events:
        async for event in events:
            if isinstance(event, RecordAdded):
                yield StreamEvent(event, "record", event.seq)
            else:
                yield StreamEvent(event, "ended" if event.is_final else "status")


async def _stream_changes(context: ServerContext) -> AsyncIterator[StreamEvent]:
    async with aclosing(context.changes.listen()) as changes:
        async for change in changes:
            yield StreamEvent(change, _NAMES[type(change)])


def _read_after(call: Call[EventQuery, None]) -> int:
    """Return the number of the last record that a client has. Raises `Problem`."""
    given = call.headers.get(_LAST_ID)
    if given is None:
        return call.query.after
    if not (given.isascii() and given.isdigit() and len(given) < 17):
        raise Problem(
            422,
            "input",
            f"Last-Event-ID is {given!r:.40}, and not the number of a record. Send the `id` of the "
            "last event, or none.",
        )
    return int(given)

"""The list of runs."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from graphorch.errors import did_you_mean
from graphorch.journal.records import Cursor, RunQuery
from graphorch.server.context import ServerContext
from graphorch.server.endpoint import Call, Endpoint, RequestModel
from graphorch.server.routes.parameters import Seconds, parse_tag, refuse_parameter
from graphorch.text import is_name, is_run_id
from graphorch.views.reading.run_lists import MOST_RUNS, list_runs, parse_cursor
from graphorch.views.runs.run_row import RUN_STATES, RunList


class ListQuery(RequestModel):
    """Which runs: by status, flow, tag (`name=value`) and time, in seconds since 1970.

    `since` ≤ beginning < `until`. `cursor` is the `next` of the page before.
    """

    status: str = ""
    flow: str = ""
    tag: str = ""
    since: Seconds | None = None
    until: Seconds | None = None
    cursor: str = ""
    limit: Annotated[int, Field(ge=1, le=MOST_RUNS)] = 50


def build_endpoints(context: ServerContext) -> list[Endpoint]:
    """Return the endpoint that lists runs."""

    async def list_stored_runs(call: Call[ListQuery, None]) -> RunList:
        """List runs, the newest first, with their costs, durations, errors and open questions.

        Runs that cannot be read are named, and hide no others.
        """
        return await list_runs(context.reader, _build_query(call.query))

    return [
        Endpoint("GET", "/api/runs", list_stored_runs, RunList, query=ListQuery, refuses=(422,))
    ]


def _build_query(query: ListQuery) -> RunQuery:
    """Return what a query asks of the store. Raises `Problem`."""
    if query.status and query.status not in RUN_STATES:
        hint = did_you_mean(query.status, RUN_STATES)
        raise refuse_parameter("status", f"No run has the status '{query.status[:80]}'. {hint}")
    if query.flow and not is_name(query.flow):
        raise refuse_parameter("flow", "This is not the name of a flow.")
    return RunQuery(
        status=query.status or None,
        flow=query.flow or None,
        tag=parse_tag(query.tag) if query.tag else None,
        created_from=query.since,
        created_until=query.until,
        after=_parse_place(query.cursor) if query.cursor else None,
        limit=query.limit,
    )


def _parse_place(cursor: str) -> Cursor:
    place = parse_cursor(cursor)
    if place is None or not is_run_id(place[1]):
        raise refuse_parameter(
            "cursor", "This is not a place in the list. Send the `next` of a page."
        )
    return place

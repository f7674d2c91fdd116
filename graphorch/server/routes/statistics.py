"""Figures of many runs: a table by group with its course over time, and a heat map of nodes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from graphorch.server.context import ServerContext
from graphorch.server.endpoint import Call, Endpoint, RequestModel
from graphorch.server.routes.parameters import Seconds, parse_tag, refuse_parameter
from graphorch.text import is_name
from graphorch.views.statistics.figures import Figures, Grouping, HeatMap
from graphorch.views.statistics.statistics import FigureQuery, read_figures, read_heat

_DAY = 86_400


class WindowQuery(RequestModel):
    """Which runs: by flow, tag (`name=value`) and time, in seconds since 1970.

    `since` ≤ time < `until`. Hours, days and months are those of a zone that is `utc_offset`
    seconds east of UTC.
    """

    since: Seconds | None = None
    until: Seconds | None = None
    flow: str = ""
    tag: str = ""
    utc_offset: Annotated[int, Field(gt=-_DAY, lt=_DAY)] = 0


class FiguresQuery(WindowQuery):
    """What the figures are grouped by, and which runs they are of.

    By tag, `name` is the name of the tag; without it, the one that most runs have.
    """

    by: Grouping = "flow"
    name: str = ""


def build_endpoints(context: ServerContext) -> list[Endpoint]:
    """Return the endpoints of figures."""

    async def read_statistics(call: Call[FiguresQuery, None]) -> Figures:
        """Add up what runs cost, how long they took, and how often they failed.

        Each call is counted once, in the run that paid for it. Runs that cannot be read are named.
        """
        query = call.query
        if query.name and (query.by != "tag" or not is_name(query.name)):
            raise refuse_parameter("name", "This is not the name of a tag to group by (by=tag).")
        return await read_figures(context.reader, query.by, _build_query(query), tag=query.name)

    async def read_heat_map(call: Call[WindowQuery, None]) -> HeatMap:
        """Show where time, money and errors are: each node by hour, day or month."""
        return await read_heat(context.reader, _build_query(call.query))

    return [
        Endpoint(
            "GET",
            "/api/statistics",
            read_statistics,
            Figures,
            query=FiguresQuery,
            refuses=(422,),
        ),
        Endpoint(
            "GET",
            "/api/statistics/heat",
            read_heat_map,
            HeatMap,
            query=WindowQuery,
            refuses=(422,),
        ),
    ]


def _build_query(query: WindowQuery) -> FigureQuery:
    """Return which runs a query asks for. Raises `Problem`."""
    if query.flow and not is_name(query.flow):
        raise refuse_parameter("flow", "This is not the name of a flow.")
    if query.since is not None and query.until is not None and query.until <= query.since:
        raise refuse_parameter("until", "The window ends before it begins: give a later `until`.")
    return FigureQuery(
        since=query.since,
        until=query.until,
        flow=query.flow,
        tag=parse_tag(query.tag) if query.tag else None,
        utc_offset=query.utc_offset,
    )

"""The server that offers flows as tools, for any transport."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp_types import ListToolsResult, PaginatedRequestParams

from graphorch._version import __version__
from graphorch.mcp_server.call_state import StateBoundary
from graphorch.mcp_server.calls import ToolCalls
from graphorch.mcp_server.served_flows import ServedFlow, index_flows
from graphorch.mcp_server.served_runs import ServedRuns

_NAME: Final = "graphorch"
_INSTRUCTIONS: Final = (
    "Each tool runs a flow, whose run is kept in a journal. A run may ask a person before it ends. "
    "Calling a tool again begins a new run, unless the call carries the requestState of the last "
    "leg."
)


def build_server(
    flows: Sequence[ServedFlow], runs: ServedRuns, *, key: bytes, leg_seconds: float
) -> tuple[Server[Any], ToolCalls]:
    """Return a server of flows, and its handler of calls.

    `key` seals what clients carry from leg to leg. Raises `InputError` if two flows would be one
    tool, or one has no schema, or lacks what its runs need.
    """
    tools = index_flows(flows)
    for served in flows:
        runs.check(served.flow)
    calls = ToolCalls(tools, runs, leg_seconds)

    async def list_tools(
        ctx: ServerRequestContext[Any, Any], params: PaginatedRequestParams | None
    ) -> ListToolsResult:
        return ListToolsResult(tools=[tool for _, tool in tools.values()])

    server: Server[Any] = Server(
        _NAME,
        version=__version__,
        instructions=_INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=calls,
    )
    server.middleware.append(StateBoundary(key, _NAME))
    return server, calls

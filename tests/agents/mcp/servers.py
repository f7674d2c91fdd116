"""Servers for tests: `hostile_server.py` as a program, and lists and calls of a server."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from graphorch.agents.mcp.declaration import McpLimits
from graphorch.agents.mcp.errors import McpError
from graphorch.agents.mcp.server import McpServer

HOSTILE = str(Path(__file__).with_name("hostile_server.py"))


def start_hostile(
    *behaviours: str,
    seconds: float = 20.0,
    start_seconds: float = 20.0,
    name: str = "files",
    **options: Any,
) -> McpServer:
    """Declare the hostile server with some behaviours."""
    limits = options.pop("limits", McpLimits(seconds=seconds, start_seconds=start_seconds))
    return McpServer.stdio(name, sys.executable, [HOSTILE, *behaviours], limits=limits, **options)


async def call_tool(server: McpServer, tool: str, **arguments: Any) -> str:
    """Call a tool of the server's current list."""
    listed = (await server.take_listing()).find(tool)
    assert listed is not None
    return await server.link.call(listed, arguments)


async def try_tool(server: McpServer, tool: str, **arguments: Any) -> str | McpError:
    """Return the result of a call, or the error of the server."""
    try:
        return await call_tool(server, tool, **arguments)
    except McpError as error:
        return error


def use(server: McpServer, work: Callable[[McpServer], Coroutine[Any, Any, Any]]) -> Any:
    """Return what some work with a server gives, which is held meanwhile."""

    async def main() -> Any:
        async with server.held():
            return await work(server)

    return asyncio.run(main())


def call_tools(server: McpServer, *tools: str, **arguments: Any) -> Sequence[str | McpError]:
    """Return the results of calls, one after the other."""

    async def work(server: McpServer) -> list[str | McpError]:
        return [await try_tool(server, tool, **arguments) for tool in tools]

    return use(server, work)

"""Connections that runs share: one for each event loop, opened when it is first needed.

Rules of this file:
1. A connection lives as long as a run or a program holds the server in its event loop.
2. One that ended is replaced at the next call, and not before.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from graphorch.agents.mcp.declaration import ServerDeclaration
from graphorch.errors import InputError

if TYPE_CHECKING:
    from graphorch.agents.mcp.connections.connection import Connection
    from graphorch.agents.mcp.listing import ListedTool, ToolListing
    from graphorch.agents.mcp.questions import ServerAnswer

_LIBRARY = ("graphorch.agents.mcp.connections.connection", "jsonschema")


class ServerLink:
    """The way to one server: it counts who holds it, and connects when it is needed."""

    def __init__(self, server: ServerDeclaration) -> None:
        self._server = server
        self._holders: WeakKeyDictionary[asyncio.AbstractEventLoop, int] = WeakKeyDictionary()
        self._connections: WeakKeyDictionary[asyncio.AbstractEventLoop, Connection] = (
            WeakKeyDictionary()
        )

    def hold(self) -> None:
        """Count one more that uses the server in the running event loop."""
        loop = asyncio.get_running_loop()
        self._holders[loop] = self._holders.get(loop, 0) + 1

    async def let_go(self) -> None:
        """Count one less; the last one closes the connection, and waits until it is closed."""
        loop = asyncio.get_running_loop()
        self._holders[loop] -= 1
        if self._holders[loop]:
            return
        del self._holders[loop]
        connection = self._connections.pop(loop, None)
        if connection is not None:
            await _finish(connection)

    async def take_listing(self) -> ToolListing:
        """Return the tools that the server offers now. Raises `McpError`."""
        return await (await self._connect()).wait_until_ready()

    async def call(
        self,
        tool: ListedTool,
        arguments: Mapping[str, Any],
        *,
        answers: Mapping[str, ServerAnswer] | None = None,
        state: str | None = None,
        consent: str = "",
    ) -> str:
        """Call a tool as `Connection.call` does, in a new session if the server ended the last."""
        from graphorch.agents.mcp.connections.failures import SessionEnded

        connection = await self._connect()
        try:
            return await connection.call(
                tool, arguments, answers=answers, state=state, consent=consent
            )
        except SessionEnded:
            # The server did not take the call, so it may be made once more.
            await self._drop(connection)
        connection = await self._connect()
        return await connection.call(tool, arguments, answers=answers, state=state, consent=consent)

    async def _connect(self) -> Connection:
        """Return the connection of the running event loop; a new one if there is none alive."""
        loop = asyncio.get_running_loop()
        if not self._holders.get(loop):
            raise InputError(
                f"MCP server '{self._server.name}' is not in use here. "
                "Call its tools from a run, or within `async with server.held():`."
            )
        connection = self._connections.get(loop)
        if connection is None or not connection.is_alive:
            await _load_library(self._server.name)
            # Another caller may have connected meanwhile.
            connection = self._connections.get(loop)
        if connection is None or not connection.is_alive:
            from graphorch.agents.mcp.connections.connection import Connection

            connection = self._connections[loop] = Connection(self._server)
        return connection

    async def _drop(self, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        if self._connections.get(loop) is connection:
            del self._connections[loop]
        await _finish(connection)


async def _load_library(server: str) -> None:
    """Load what a connection needs on a thread: it takes most of a second."""
    for name in _LIBRARY:
        if name in sys.modules:
            continue
        try:
            await asyncio.to_thread(import_module, name)
        except ImportError as error:
            raise InputError(
                f"MCP server '{server}' needs the package `mcp` ({error.name} is missing). "
                "Install it: pip install 'graphorch[mcp]'."
            ) from None


async def _finish(connection: Connection) -> None:
    """Close a connection to its end, also if the caller is cancelled meanwhile."""
    closing = asyncio.ensure_future(connection.close())
    try:
        await asyncio.shield(closing)
    except asyncio.CancelledError:
        await closing
        raise

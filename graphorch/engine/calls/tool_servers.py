"""Servers of tools that a run uses: listed once, kept with the run, let go at its end.

Rules of this file:
1. A run takes the list of a server once, when the first agent that uses it begins, and every agent
   is offered that list. It is in the journal before any request that shows it to a model.
2. A list that the journal holds is used as it is: a replay, or an agent whose answers are all kept,
   needs no server. Before a call is made anew, the connection compares the tool.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from graphorch.agents.mcp.listing import ToolListing, describe_listing, restore_listing
from graphorch.agents.tool_sources import ServerTools, ToolServer

if TYPE_CHECKING:
    from graphorch.agents.tool import Tool
    from graphorch.journal.record_kinds import ListedBody


class RunServers:
    """The servers of one run.

    `listings` are the lists that it took before, by server; `record` keeps one that it takes.
    """

    def __init__(
        self, listings: dict[str, ListedBody], record: Callable[[ListedBody], None]
    ) -> None:
        self._listings = listings
        self._record = record
        self._held: list[ToolServer] = []

    async def open_tools(self, servers: Sequence[ServerTools]) -> list[Tool]:
        """Return the tools of servers. Raises `McpError` if a server cannot be used."""
        tools: list[Tool] = []
        for choice in servers:
            tools += choice.build_tools(await self._find_listing(choice.server))
        return tools

    async def _find_listing(self, server: ToolServer) -> ToolListing:
        """Return the list that the run has of a server, or takes now."""
        if server not in self._held:
            server.hold()
            self._held.append(server)
        record = self._listings.get(server.name)
        if record is not None:
            return restore_listing(record)
        listing = await server.take_listing()
        # Another agent may have taken the list meanwhile.
        if server.name not in self._listings:
            body = self._listings[server.name] = describe_listing(listing)
            self._record(body)
        return restore_listing(self._listings[server.name])

    async def close(self) -> None:
        """Let all servers go; the last run that uses one closes its connection."""
        held, self._held = self._held, []
        for server in held:
            await server.let_go()

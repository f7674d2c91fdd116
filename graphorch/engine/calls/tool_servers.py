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
from graphorch.agents.tool_sources import HeldServer, ServerTools, ToolServer

if TYPE_CHECKING:
    from graphorch.agents.tool import Tool
    from graphorch.journal.record_kinds import ListedBody
    from graphorch.models.config.schema import Config


class RunServers:
    """The servers of one run.

    `listings` are the lists that it took before, by server; `record` keeps one that it takes.
    `config` is the configuration of the run, if it has one of its own.
    """

    def __init__(
        self,
        listings: dict[str, ListedBody],
        record: Callable[[ListedBody], None],
        config: Config | None,
    ) -> None:
        self._listings = listings
        self._record = record
        self._config = config
        self._held: dict[ToolServer, HeldServer] = {}

    async def open_tools(self, servers: Sequence[ServerTools]) -> list[Tool]:
        """Return the tools of servers. Raises `McpError` if a server cannot be used."""
        tools: list[Tool] = []
        for choice in servers:
            held = self._hold(choice.server)
            listing = await self._find_listing(choice.name, held)
            tools += held.build_tools(listing, choice.chosen, all_tools=choice.all_tools)
        return tools

    def _hold(self, server: ToolServer) -> HeldServer:
        if server not in self._held:
            self._held[server] = server.hold(self._config)
        return self._held[server]

    async def _find_listing(self, name: str, held: HeldServer) -> ToolListing:
        """Return the list that the run has of a server, or takes now."""
        record = self._listings.get(name)
        if record is not None:
            return restore_listing(record)
        listing = await held.take_listing()
        # Another agent may have taken the list meanwhile.
        if name not in self._listings:
            body = self._listings[name] = describe_listing(listing)
            self._record(body)
        return restore_listing(self._listings[name])

    async def close(self) -> None:
        """Let all servers go; the last run that uses one closes its connection."""
        held, self._held = self._held, {}
        for server in held.values():
            await server.let_go()

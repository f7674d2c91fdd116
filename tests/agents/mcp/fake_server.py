"""A server of tools without a process: it gives a list, and says the arguments of calls."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from graphorch.agents.mcp.listing import ToolListing
from graphorch.agents.tool import Tool, ToolOptions
from tests.agents.mcp.listings import TEXT, listed, listing


class FakeServer:
    """A `ToolServer` that counts its holders."""

    name = "files"
    untrusted = True

    def __init__(self, *tools: str) -> None:
        self.tools = tools or ("read",)
        self.holders = 0
        self.lists = 0

    def hold(self, config: object = None) -> FakeServer:
        self.holders += 1
        return self

    async def let_go(self) -> None:
        self.holders -= 1

    async def take_listing(self) -> ToolListing:
        self.lists += 1
        hints = {"readOnlyHint": True}
        return listing(*(listed(tool, output=TEXT, annotations=hints) for tool in self.tools))

    def build_tools(
        self, listing: ToolListing, chosen: Mapping[str, ToolOptions], *, all_tools: bool
    ) -> tuple[Tool, ...]:
        from graphorch.agents.mcp.declaration import ServerDeclaration, StdioLaunch
        from graphorch.agents.mcp.server_tools import build_server_tools

        declaration = ServerDeclaration(self.name, StdioLaunch("none"))
        link: Any = self
        return build_server_tools(declaration, listing, chosen, link, all_tools=all_tools)

    async def call(self, tool: object, arguments: Mapping[str, Any]) -> str:
        return json.dumps(arguments)

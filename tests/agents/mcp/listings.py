"""Lists of tools for tests."""

from __future__ import annotations

from typing import Any

from graphorch.agents.mcp.listing import ListedTool, ToolListing
from graphorch.agents.mcp.names import name_tool

TEXT: dict[str, Any] = {"type": "object", "properties": {"text": {"type": "string"}}}


def listed(tool: str, server: str = "files", **changes: Any) -> ListedTool:
    """Return a listed tool that takes a text, with some of its parts changed."""
    parts: dict[str, Any] = {
        "name": name_tool(server, tool),
        "tool": tool,
        "description": f"Tool {tool}.",
        "parameters": TEXT,
        "output": None,
        "annotations": {},
    }
    return ListedTool(**{**parts, **changes})


def listing(*tools: ListedTool) -> ToolListing:
    """Return the list of the server `files`."""
    return ToolListing("files", tools)

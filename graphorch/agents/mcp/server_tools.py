"""Tools of the seam made of a server's list: which ones an agent gets, and what a call does.

Rules of this file:
1. A list that was stored gives the same tools as the server did: no connection is made here.
2. What is wrong with the list is said before any tool is called, and never left out silently: a
   tool that is chosen and missing, a name that comes twice, a schema that is none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from graphorch.agents.mcp.arguments import SchemaArguments
from graphorch.agents.mcp.connections.sharing import ServerLink
from graphorch.agents.mcp.declaration import ServerDeclaration
from graphorch.agents.mcp.effects import choose_effect, needs_approval
from graphorch.agents.mcp.errors import ListingRefused, ToolFailed
from graphorch.agents.mcp.listing import ListedTool, ToolListing
from graphorch.agents.mcp.schemas import find_schema_problem
from graphorch.agents.tool import Tool, ToolOptions, make_tool
from graphorch.errors import did_you_mean
from graphorch.models.messages import ToolSpec
from graphorch.text import join_limited

if TYPE_CHECKING:
    from collections.abc import Mapping


def build_server_tools(
    server: ServerDeclaration,
    listing: ToolListing,
    chosen: Mapping[str, ToolOptions],
    link: ServerLink,
    *,
    all_tools: bool,
) -> tuple[Tool, ...]:
    """Return tools of a list: all, or only those that are chosen, which have options.

    Raises `ListingRefused` with everything that is wrong with them.
    """
    listed = [tool.tool for tool in listing.tools] if all_tools else []
    names = [*listed, *(name for name in chosen if name not in listed)]
    problems = list(_find_problems(listing, names))
    if problems:
        fix = " To use the others, choose them: server.tools(…)." if all_tools else ""
        raise ListingRefused(
            f"The tools of MCP server '{server.name}' cannot be used: "
            f"{join_limited(problems, 5)}.{fix}",
            server=server.name,
        )
    by_name = {tool.tool: tool for tool in listing.tools}
    return tuple(
        _build_tool(server, by_name[name], chosen.get(name, ToolOptions()), link) for name in names
    )


def _find_problems(listing: ToolListing, names: Sequence[str]) -> list[str]:
    counts = Counter(tool.tool for tool in listing.tools)
    model_names = Counter(tool.name for tool in listing.tools if tool.tool in names)
    problems: list[str] = []
    for name in dict.fromkeys(names):
        tool = listing.find(name)
        if tool is None:
            problems.append(f"there is no tool '{name}' ({did_you_mean(name, counts)})")
        elif counts[name] > 1:
            problems.append(f"{counts[name]} tools are called '{name}'")
        elif model_names[tool.name] > 1:
            problems.append(f"'{name}' has the name {tool.name} for models, like another one")
        elif problem := find_schema_problem(tool.parameters):
            problems.append(f"'{name}': {problem}")
    return problems


def _build_tool(
    server: ServerDeclaration, tool: ListedTool, declared: ToolOptions, link: ServerLink
) -> Tool:
    hints = tool.annotations
    effect = choose_effect(declared.get("effect"), hints, is_trusted=server.trust)
    approve = declared.get("approve", needs_approval(hints))
    tells = declared.get("tells", ())
    options: ToolOptions = {
        **declared,
        "effect": effect,
        "approve": approve,
        "untrusted": declared.get("untrusted", not server.trust),
        "tells": (ToolFailed, *(tells if isinstance(tells, tuple) else (tells,))),
    }
    spec = ToolSpec(name=tool.name, description=tool.description, parameters=dict(tool.parameters))

    async def call(**arguments: Any) -> str:
        return await link.call(tool, arguments)

    async def call_in_run(ctx: Any, /, **arguments: Any) -> str:
        return await link.call(tool, arguments, consent=ctx.consent)

    call.__name__ = call.__qualname__ = tool.name
    arguments = SchemaArguments(tool.parameters)
    return make_tool(call_in_run, spec, arguments, options, has_context=True, fn=call)

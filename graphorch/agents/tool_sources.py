"""Tools of an agent that are known only when a server was asked, beside its functions.

    @agent(output=Report, tools=[look_up, files, *tracker.tools("search", "comment")])

Here `files` stands for all tools of a server. The names of chosen tools are known at once, so those
that clash are found when the agent is made; the others when the run takes the list of the server.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from graphorch.errors import GraphError, Problem
from graphorch.graph.context import ToolSource

if TYPE_CHECKING:
    from graphorch.agents.mcp.listing import ToolListing
    from graphorch.agents.tool import Tool, ToolOptions
    from graphorch.models.config.schema import Config


class HeldServer(Protocol):
    """A server of tools while a run uses it."""

    async def let_go(self) -> None:
        """Count one run less; the last one closes the connection."""
        ...

    async def take_listing(self) -> ToolListing:
        """Return the tools that the server offers now."""
        ...

    def build_tools(
        self,
        listing: ToolListing,
        chosen: Mapping[str, ToolOptions],
        *,
        all_tools: bool,
    ) -> tuple[Tool, ...]:
        """Return the tools of a list: those chosen with options, or all, with these options."""
        ...


@runtime_checkable
class ToolServer(Protocol):
    """A server of tools, as an agent names it."""

    @property
    def name(self) -> str:
        """Name of the server, with which the names of its tools begin."""
        ...

    @property
    def untrusted(self) -> bool:
        """Whether results of its tools come from outside, unless their options say no."""
        ...

    def hold(self, config: Config | None = None) -> HeldServer:
        """Count one more run that uses the server in the running event loop.

        `config` is the configuration of the run; None for that of the current directory.
        """
        ...


@runtime_checkable
class ChosenTool(Protocol):
    """A tool of a server, chosen by its name there. `name` is the one that models call it by."""

    @property
    def name(self) -> str:
        """Name by which models call it."""
        ...

    @property
    def server(self) -> ToolServer:
        """The server that has it."""
        ...

    @property
    def tool(self) -> str:
        """Name that the server gives it."""
        ...

    @property
    def options(self) -> ToolOptions:
        """Options that the author gives it."""
        ...


@dataclass(frozen=True, slots=True)
class ServerTools:
    """The tools of one server that an agent gets: all, or the chosen ones. Options are by tool."""

    server: ToolServer
    chosen: Mapping[str, ToolOptions]
    all_tools: bool

    @property
    def name(self) -> str:
        """Name of the server."""
        return self.server.name

    @property
    def declares_untrusted(self) -> bool:
        """Whether the author says of a tool that its results come from outside."""
        return any(options.get("untrusted", False) for options in self.chosen.values())

    def list_untrusted(self) -> tuple[str, ...]:
        """Return tools whose results come from outside; the server for those not chosen."""
        default = self.server.untrusted
        names = [tool for tool, given in self.chosen.items() if given.get("untrusted", default)]
        if self.all_tools and default:
            names.append(self.name)
        return tuple(names)

    def list_acting(self) -> tuple[str, ...]:
        """Return tools that may act unasked; the server for those not chosen.

        What the server says of its tools is known only when a run asks it.
        """
        names = [
            tool
            for tool, given in self.chosen.items()
            if given.get("effect") != "pure" and given.get("approve") is not True
        ]
        if self.all_tools:
            names.append(self.name)
        return tuple(names)


def split_sources(
    sources: Sequence[Callable[..., Any] | ToolSource],
) -> tuple[list[Callable[..., Any]], tuple[ServerTools, ...]]:
    """Return the functions among the tools of an agent, and what it gets of each server.

    What is neither is left among the functions. Raises `GraphError` for what is no list, and for a
    server or a tool of one that is named twice.
    """
    if not isinstance(sources, Sequence) or isinstance(sources, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        what = f"tools={sources!r:.80} is not a list of functions"
        fix = "give a list: tools=[look_up]"
        raise GraphError("tools", [Problem("TOOL", "tools", what, fix)], "tools of an agent")
    functions: list[Any] = []
    servers: dict[str, ServerTools] = {}
    problems: list[Problem] = []
    for source in sources:
        part = _read_source(source)
        if part is None:
            functions.append(source)
            continue
        before = servers.get(part.name)
        if before is not None:
            problems += _find_clash(before, part)
            chosen = {**before.chosen, **part.chosen}
            part = ServerTools(part.server, chosen, before.all_tools or part.all_tools)
        servers[part.name] = part
    if problems:
        raise GraphError(problems[0].where, problems, problems[0].where)
    return functions, tuple(servers.values())


def _read_source(source: object) -> ServerTools | None:
    """Return what an element of `tools=` gives of a server; None for a function."""
    if isinstance(source, ServerTools):
        return source
    if isinstance(source, ToolServer):
        return ServerTools(source, {}, all_tools=True)
    if isinstance(source, ChosenTool):
        return ServerTools(source.server, {source.tool: source.options}, all_tools=False)
    return None


def _find_clash(first: ServerTools, second: ServerTools) -> list[Problem]:
    """Return what is wrong with two mentions of servers of one name."""
    where = f"MCP server '{first.name}'"
    if first.server is not second.server:
        fix = "rename one: the names of its tools begin with it"
        return [Problem("TOOL", where, "two servers have this name", fix)]
    twice = [f"its tool '{tool}'" for tool in second.chosen if tool in first.chosen]
    if first.all_tools and second.all_tools:
        twice.append("it")
    return [Problem("TOOL", where, f"{name} is in tools= twice", "name it once") for name in twice]


def list_known_names(sources: Iterable[object]) -> list[str]:
    """Return the names of the chosen tools of servers, which are known before a run."""
    return [source.name for source in sources if isinstance(source, ChosenTool)]


def check_tool_names(names: Iterable[str]) -> None:
    """Raise `GraphError` if two tools of an agent have one name."""
    what, fix = "tools have this name", "rename one: a model calls them by it"
    problems = [
        Problem("TOOL", f"tool '{name}'", f"{count} {what}", fix)
        for name, count in Counter(names).items()
        if count > 1
    ]
    if problems:
        raise GraphError(problems[0].where, problems, problems[0].where)

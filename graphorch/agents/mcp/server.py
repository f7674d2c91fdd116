"""MCP servers as a program declares them: a command to start, or an address.

    files = McpServer.stdio("files", "npx", ["-y", "@modelcontextprotocol/server-filesystem", "."])
    tracker = McpServer.http("tracker", "https://tracker.example/mcp", bearer_env="TRACKER_TOKEN")
    wiki = McpServer.configured("wiki")  # by [mcp.wiki] of graphorch.toml

    @agent(output=Report, tools=[files, *tracker.tools("search", "comment", approve=True)])

Nothing is started or asked before a run needs it. Secrets are named by their environment variables
and never part of a declaration, a message or a record.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Unpack, cast

from graphorch.agents.mcp.configured import declare_configured
from graphorch.agents.mcp.connections.sharing import ServerLink
from graphorch.agents.mcp.declaration import (
    HttpAddress,
    McpLimits,
    ServerDeclaration,
    StdioLaunch,
    Transport,
)
from graphorch.agents.mcp.listing import ToolListing
from graphorch.agents.mcp.names import name_tool
from graphorch.agents.mcp.questions import AnswerQuestion
from graphorch.errors import InputError
from graphorch.models.config.server_names import (
    SERVER_NAME_RULE,
    is_header_name,
    is_server_name,
    is_variable_name,
)
from graphorch.models.openai.addresses import find_plaintext_problem, find_url_problem
from graphorch.text import join_limited, truncate_repr

if TYPE_CHECKING:
    from graphorch.agents.tool import Tool, ToolOptions
    from graphorch.models.config.schema import Config


class ServerTool:
    """A tool of a server, chosen by name before the server was asked for its list."""

    def __init__(
        self, server: McpServer | ConfiguredServer, tool: str, options: ToolOptions
    ) -> None:
        self.server = server
        self.tool = tool
        self.options = options

    def __repr__(self) -> str:
        return f"ServerTool({self.name})"

    @property
    def name(self) -> str:
        """Name under which models call it."""
        return name_tool(self.server.name, self.tool)


class McpServer:
    """A server of tools. As an element of `tools=` it stands for all of its tools.

    Make one with `stdio`, `http` or `configured`. `trust=True` takes the server's word that a tool
    only reads or may be repeated; without it every call counts as an effect that happens once.
    """

    def __init__(self, declaration: ServerDeclaration) -> None:
        self.declaration = declaration
        self.link = ServerLink(declaration)

    def __repr__(self) -> str:
        return f"McpServer({self.name!r}, {self.declaration.transport!r})"

    @property
    def name(self) -> str:
        """Name of the server, with which the names of its tools begin."""
        return self.declaration.name

    @property
    def untrusted(self) -> bool:
        """Whether results of its tools come from outside, unless their options say no."""
        return not self.declaration.trust

    @classmethod
    def stdio(
        cls,
        name: str,
        command: str,
        args: Sequence[str] = (),
        *,
        env: Mapping[str, str] | None = None,
        env_from: Sequence[str] = (),
        cwd: str | None = None,
        trust: bool = False,
        limits: McpLimits | None = None,
        on_question: AnswerQuestion | None = None,
    ) -> McpServer:
        """Declare a server that is started as a program. Raises `InputError`.

        `env` holds variables and their values, `env_from` names variables of this process that the
        server may see too, such as the one with its key.
        """
        _check_texts(name, "args", args)
        _check_texts(name, "env_from", env_from)
        variables = dict(env or {})
        for variable in (*variables, *env_from):
            _check_variable(name, "env" if variable in variables else "env_from", variable)
        for variable, value in variables.items():
            if not isinstance(value, str) or "\0" in value:  # pyright: ignore[reportUnnecessaryIsInstance]
                raise _misdeclared(
                    name, f"env[{variable!r}] is not a text", "give the value as str"
                )
        if not isinstance(command, str) or not command.strip() or "\0" in command:  # pyright: ignore[reportUnnecessaryIsInstance]
            what = f"command={command!r:.80} names no program"
            raise _misdeclared(name, what, 'give its name or path, and its arguments as args=["…"]')
        launch = StdioLaunch(command, tuple(args), variables, tuple(env_from), cwd)
        return _declare(name, launch, trust, limits, on_question)

    @classmethod
    def http(
        cls,
        name: str,
        url: str,
        *,
        bearer_env: str | None = None,
        headers_env: Mapping[str, str] | None = None,
        trust: bool = False,
        limits: McpLimits | None = None,
        on_question: AnswerQuestion | None = None,
    ) -> McpServer:
        """Declare a server at an address. Raises `InputError`.

        `bearer_env` is the name of the environment variable that holds a token, `headers_env` maps
        names of further headers to the variables with their values. Neither goes over plain http
        to another machine.
        """
        headers = dict(headers_env or {})
        if not isinstance(url, str) or (problem := find_url_problem(url)):  # pyright: ignore[reportUnnecessaryIsInstance]
            problem = find_url_problem(url) if isinstance(url, str) else "is not a text"  # pyright: ignore[reportUnnecessaryIsInstance]
            raise _misdeclared(name, f"its url {problem}", "write https://host/mcp")
        if bearer_env is not None:
            _check_variable(name, "bearer_env", bearer_env)
        for header, variable in headers.items():
            if not is_header_name(header):  # pyright: ignore[reportUnnecessaryIsInstance]
                what = f"headers_env has the key {header!r:.80}, which is not a header's name"
                raise _misdeclared(name, what, 'write headers_env={"X-Api-Key": "MY_VARIABLE"}')
            _check_variable(name, f"headers_env[{header!r}]", variable)
        if (bearer_env or headers) and (problem := find_plaintext_problem(url, "a secret")):
            raise _misdeclared(
                name, f"its url {problem}", "use https, or an address of this machine"
            )
        return _declare(name, HttpAddress(url, bearer_env, headers), trust, limits, on_question)

    @classmethod
    def configured(
        cls, name: str, *, on_question: AnswerQuestion | None = None
    ) -> ConfiguredServer:
        """Return the server that `[mcp.NAME]` of `graphorch.toml` declares.

        The file is read when a run first needs the server. Raises `InputError` for what is no name.
        """
        _check_name(name)
        return ConfiguredServer(name, on_question)

    def tools(self, *names: str, **options: Unpack[ToolOptions]) -> tuple[ServerTool, ...]:
        """Choose tools by the names that the server gives them, with options like those of `@tool`.

        `effect` says what a call of them may do; without it a call happens at most once. Raises
        `InputError`.
        """
        return choose_tools(self, names, options)

    def hold(self, config: Config | None = None) -> McpServer:
        """Count one more that uses the server in the running event loop, and return it."""
        self.link.hold()
        return self

    async def let_go(self) -> None:
        """Count one less; the last one closes the connection, and waits until it is closed."""
        await self.link.let_go()

    @asynccontextmanager
    async def held(self) -> AsyncGenerator[McpServer]:
        """Keep the connection, once there is one, open until the end of the block.

        Runs do so by themselves; several runs within the block share one connection.
        """
        self.hold()
        try:
            yield self
        finally:
            await self.let_go()

    async def take_listing(self) -> ToolListing:
        """Return the tools that the server offers now. Raises `McpError`."""
        return await self.link.take_listing()

    def build_tools(
        self,
        listing: ToolListing,
        chosen: Mapping[str, ToolOptions] | None = None,
        *,
        all_tools: bool = True,
    ) -> tuple[Tool, ...]:
        """Return the tools of a list, taken now or stored before: all, or only those `chosen`.

        `chosen` holds the author's options, by the server's names. Raises `ListingRefused` for
        tools that cannot be used.
        """
        from graphorch.agents.mcp.server_tools import build_server_tools

        return build_server_tools(
            self.declaration, listing, chosen or {}, self.link, all_tools=all_tools
        )


class ConfiguredServer:
    """A server of tools that the configuration declares; otherwise like `McpServer`."""

    def __init__(self, name: str, on_question: AnswerQuestion | None = None) -> None:
        self.name = name
        self._on_question = on_question
        self._found: McpServer | None = None

    def __repr__(self) -> str:
        return f"McpServer.configured({self.name!r})"

    @property
    def untrusted(self) -> bool:
        """True: whether the file trusts the server is known only when a run reads it."""
        return True

    def tools(self, *names: str, **options: Unpack[ToolOptions]) -> tuple[ServerTool, ...]:
        """Choose tools as `McpServer.tools` does. Raises `InputError`."""
        return choose_tools(self, names, options)

    def hold(self, config: Config | None = None) -> McpServer:
        """Find the server in a configuration, and count one more that uses it.

        Runs with an equal declaration share one connection. Raises `InputError`.
        """
        declaration = declare_configured(self.name, config, self._on_question)
        if self._found is None or self._found.declaration != declaration:
            self._found = McpServer(declaration)
        return self._found.hold()


def choose_tools(
    server: McpServer | ConfiguredServer, names: tuple[str, ...], options: ToolOptions
) -> tuple[ServerTool, ...]:
    """Return tools of a server by their names there. Raises `InputError`."""
    if not names:
        raise InputError(
            f"tools() of MCP server '{server.name}' chooses nothing. Name the tools, "
            "or write tools=[server] for all of them."
        )
    _check_texts(server.name, "tools", names)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"tools() of MCP server '{server.name}' names '{twice}' twice.")
    refused = [option for option in ("name", "isolation", "pool") if option in options]
    if refused:
        raise InputError(
            f"Tools of MCP server '{server.name}' have no {join_limited(refused, 2)} of their "
            "own: they run at the server, under the server's names. Leave it out."
        )
    return tuple(ServerTool(server, name, options) for name in names)


def _declare(
    name: str,
    transport: Transport,
    trust: bool,
    limits: McpLimits | None,
    on_question: AnswerQuestion | None,
) -> McpServer:
    """Return a server whose name and options were checked. Raises `InputError`."""
    _check_name(name)
    if not isinstance(trust, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise _misdeclared(
            name, f"trust={trust!r:.80} is no answer", "write trust=True or leave it"
        )
    if limits is not None and not isinstance(limits, McpLimits):  # pyright: ignore[reportUnnecessaryIsInstance]
        what = f"limits={limits!r:.80} are not its limits"
        raise _misdeclared(name, what, "write limits=McpLimits(seconds=10)")
    if on_question is not None and not callable(on_question):
        what = f"on_question={on_question!r:.80} is not a function"
        raise _misdeclared(name, what, "give an async function that takes a ServerQuestion")
    declaration = ServerDeclaration(name, transport, trust, limits or McpLimits(), on_question)
    return McpServer(declaration)


def _check_name(name: object) -> None:
    if not is_server_name(name):
        raise InputError(
            f"{truncate_repr(name)} cannot name an MCP server, since the names of its tools begin "
            f"with it. {SERVER_NAME_RULE}"
        )


def _check_texts(name: str, what: str, values: object) -> None:
    if isinstance(values, Sequence) and not isinstance(values, str):
        items = cast("Sequence[object]", values)
        if all(isinstance(item, str) and item and "\0" not in item for item in items):
            return
    raise _misdeclared(name, f"{what}={values!r:.80} is not a list of texts", f'write {what}=["…"]')


def _check_variable(name: str, what: str, variable: object) -> None:
    """Raise `InputError` for what cannot name a variable, without a word of it: it may be a key."""
    if not is_variable_name(variable):
        raise _misdeclared(
            name,
            f"{what} does not name an environment variable",
            'write the name of the variable, such as "MY_TOKEN", and set it to the secret',
        )


def _misdeclared(name: object, what: str, fix: str) -> InputError:
    return InputError(f"MCP server {truncate_repr(name)}: {what}. {fix[:1].upper()}{fix[1:]}.")

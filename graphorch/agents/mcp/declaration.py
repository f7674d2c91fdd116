"""What a program says of an MCP server: how it is started or where it is, and its limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, cast

from graphorch.agents.mcp.questions import AnswerQuestion
from graphorch.errors import InputError
from graphorch.graph.options import is_count, is_number


@dataclass(frozen=True, slots=True)
class StdioLaunch:
    """A program that is started, and spoken to over its standard input and output.

    It sees the variables in `env`, those of this process that `env_from` names, and what any
    program needs to run (PATH, HOME, language, folder for temporary files); nothing else.
    """

    command: str
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    env_from: tuple[str, ...] = ()
    cwd: str | None = None


@dataclass(frozen=True, slots=True)
class HttpAddress:
    """An address that is spoken to over streamable HTTP.

    `bearer_env` names the variable that holds a token; `headers_env` names a variable for the value
    of each further header.
    """

    url: str
    bearer_env: str | None = None
    headers_env: Mapping[str, str] = field(default_factory=dict[str, str])


Transport: TypeAlias = StdioLaunch | HttpAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class McpLimits:
    """Limits of one server.

    `seconds` is how long a call may take, `start_seconds` how long until the server is ready and
    has listed its tools, `bytes` the size of a message that is read, and `tools` how many tools it
    may list.
    """

    seconds: float = 60.0
    start_seconds: float = 30.0
    bytes: int = 10_000_000
    tools: int = 1_000

    def __post_init__(self) -> None:
        for name in ("seconds", "start_seconds"):
            value: object = getattr(self, name)
            if not (is_number(value) and cast("float", value) > 0):
                raise InputError(
                    f"McpLimits({name}={value!r:.80}) is no time. Give seconds above 0."
                )
        for name in ("bytes", "tools"):
            value = getattr(self, name)
            if not is_count(value):
                raise InputError(
                    f"McpLimits({name}={value!r:.80}) is no limit. Give a whole number from 1 on."
                )


@dataclass(frozen=True, slots=True)
class ServerDeclaration:
    """A server by its name. `trust` takes its word about what its tools do."""

    name: str
    transport: Transport
    trust: bool = False
    limits: McpLimits = McpLimits()
    on_question: AnswerQuestion | None = field(default=None, repr=False)

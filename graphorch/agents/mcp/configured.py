"""Servers that the configuration declares, in `[mcp.NAME]` of `graphorch.toml`.

The file is looked up when a run first needs the server: the one that the command line names, or
that of the current directory, if it is trusted.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from graphorch.agents.mcp.declaration import (
    HttpAddress,
    McpLimits,
    ServerDeclaration,
    StdioLaunch,
    Transport,
)
from graphorch.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from graphorch.agents.mcp.questions import AnswerQuestion
    from graphorch.models.config.schema import Config, ServerConfig


def declare_configured(
    name: str, config: Config | None, on_question: AnswerQuestion | None = None
) -> ServerDeclaration:
    """Return the server that a configuration declares.

    Without a configuration it is that of the current directory. Raises `InputError`.
    """
    if config is None:
        from graphorch.models.config.loader import find_config

        config = find_config(Path.cwd())
    server = config.mcp.get(name)
    if server is None:
        raise InputError(
            f"There is no MCP server '{name}' in the configuration. "
            f"{did_you_mean(name, config.mcp)} Add [mcp.{name}] to graphorch.toml."
        )
    limits = McpLimits(**server.limits.model_dump(exclude_none=True))
    return ServerDeclaration(name, _build_transport(server), server.trust, limits, on_question)


def _build_transport(server: ServerConfig) -> Transport:
    if server.url is not None:
        headers: Mapping[str, str] = dict(server.headers_env)
        return HttpAddress(server.url, server.bearer_env, headers)
    command = server.command or ""  # the file was checked: one of the two is there
    return StdioLaunch(
        command, tuple(server.args), dict(server.env), tuple(server.env_from), server.cwd
    )

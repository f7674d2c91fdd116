"""Say what went wrong with a server: from what the library reports to the errors of `errors.py`.

Needs the package `mcp`. Texts of the server are cut, and secrets in them replaced.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import mcp_types as types
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from graphorch.agents.mcp.connections.elicitation import read_links
from graphorch.agents.mcp.connections.environment import hide
from graphorch.agents.mcp.connections.last_words import LastWords
from graphorch.agents.mcp.connections.wire import BROKEN, REFUSED, TOO_LARGE, UNREACHED, UNREADABLE
from graphorch.agents.mcp.declaration import HttpAddress, ServerDeclaration
from graphorch.agents.mcp.errors import (
    CallTimedOut,
    ConnectionLost,
    InputRequired,
    ListingRefused,
    McpError,
    ServerUnavailable,
    ToolFailed,
)
from graphorch.agents.mcp.listing import ListedTool
from graphorch.text import clean, format_error

_QUOTED: Final = 1_000  # characters of a server's message


class SessionEnded(McpError):
    """A session that ended before the server took the call, which may be made in a new one."""


@dataclass(frozen=True, slots=True)
class Failures:
    """Builds the errors of one connection."""

    server: ServerDeclaration
    words: LastWords
    secrets: Sequence[str]

    def explain_start(self, error: BaseException) -> McpError:
        """Return the error of a connection that could not be opened."""
        causes = [*list_causes(error)]
        for cause in causes:
            if isinstance(cause, McpError):
                return cause
        cause = causes[0]
        if isinstance(cause, ValidationError):
            name = self.server.name
            return ListingRefused(
                f"MCP server '{name}' does not follow the protocol: {list_faults(cause)}.",
                server=name,
            )
        if not isinstance(cause, MCPError):
            return self.unavailable(f"cannot be used: {self._quote(format_error(cause))}")
        if cause.code == types.CONNECTION_CLOSED:
            return self.unavailable("ended before it was ready")
        if cause.code == types.METHOD_NOT_FOUND:
            return self.unavailable(f"offers no tools ({self._quote(cause.message)})")
        refused = self._explain_refusal(cause)
        if refused is not None:
            return refused
        return self.unavailable(
            f"answered with an error before it was ready: {self._quote(cause.message)}"
        )

    def explain_answer(self, tool: ListedTool, error: MCPError) -> McpError:
        """Return the error of a call that was answered with one."""
        code, message = error.code, self._quote(error.message)
        names = {"server": self.server.name, "tool": tool.tool}
        if code == types.INVALID_REQUEST and error.message == "Session terminated":
            return SessionEnded("The server ended the session.", **names)
        if code == types.URL_ELICITATION_REQUIRED:
            return InputRequired(read_links(self.server.name, error), None, **names)
        if code == TOO_LARGE:
            return self.failed(tool, f"it ran, and its answer is too large: {message}")
        if code == UNREADABLE:
            return self.failed(tool, f"its answer cannot be read, and it may have run: {message}")
        if code in (BROKEN, types.CONNECTION_CLOSED):
            return self.lost(tool, message)
        return self._explain_refusal(error) or self.failed(tool, message)

    def _explain_refusal(self, error: MCPError) -> ServerUnavailable | None:
        """Return the error of a request that the server did not take; None if it took it."""
        message = self._quote(error.message)
        if error.code in (UNREACHED, BROKEN):
            return self.unavailable(f"cannot be reached ({message})")
        if error.code == REFUSED:
            return self.unavailable(f"refused the request: {message}{self._hint_at(message)}")
        return None

    def _hint_at(self, message: str) -> str:
        transport = self.server.transport
        if not message.startswith(("401", "403")) or not isinstance(transport, HttpAddress):
            return ""
        if transport.bearer_env is None:
            return '. If it needs a token, name its variable: bearer_env="…"'
        return f". Look at the token in {transport.bearer_env}"

    def unavailable(self, what: str) -> ServerUnavailable:
        """Return the error of a server that took no call."""
        text = self._end(f"MCP server '{self.server.name}' {what}")
        return ServerUnavailable(text, server=self.server.name)

    def lost(self, tool: ListedTool, message: str = "") -> ConnectionLost:
        """Return the error of a call during which the connection ended."""
        reason = f" ({message})" if message and message != "Connection closed" else ""
        text = (
            f"MCP server '{self.server.name}' was lost while '{tool.tool}' ran{reason}, so whether "
            "it took effect is not known"
        )
        return ConnectionLost(self._end(text), server=self.server.name, tool=tool.tool)

    def timed_out(self, tool: ListedTool) -> CallTimedOut:
        """Return the error of a call that was not answered in time."""
        seconds = self.server.limits.seconds
        text = self._end(
            f"MCP server '{self.server.name}' did not answer the call of '{tool.tool}' within "
            f"{seconds:g} s, so whether it took effect is not known. If it needs longer, raise the "
            "limit: limits=McpLimits(seconds=…)"
        )
        return CallTimedOut(text, server=self.server.name, tool=tool.tool)

    def failed(self, tool: ListedTool, what: str) -> ToolFailed:
        """Return the error of a call that the server answered, with a text for the model."""
        return ToolFailed(what, server=self.server.name, tool=tool.tool)

    def _end(self, sentence: str) -> str:
        """Return a sentence with its point, and what the server wrote last."""
        return f"{sentence.rstrip('.')}. {self.words.describe()}".rstrip()

    def _quote(self, text: str) -> str:
        return clean(hide(text, self.secrets), _QUOTED)


def list_causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the exceptions in a group, in their order; one that is no group by itself."""
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
            yield from list_causes(part)  # pyright: ignore[reportUnknownArgumentType]
        return
    yield error


def list_faults(error: ValidationError) -> str:
    """Return what of a message does not follow the protocol, without its values."""
    faults: list[str] = []
    for details in error.errors(include_url=False, include_input=False)[:3]:
        place = ".".join(map(str, details["loc"]))
        faults.append(f"{place}: {details['msg']}" if place else details["msg"])
    return "; ".join(faults)

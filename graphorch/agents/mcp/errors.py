"""Errors of MCP servers, by what may have happened: nothing, an answer, or it is not known.

    McpError
    ├── ServerUnavailable  it did not start, cannot be reached, or is set up wrongly: nothing ran
    ├── ListingRefused     its list of tools cannot be used: nothing ran
    ├── ToolsChanged       a tool is not what it was when the run began: nothing ran
    ├── ToolFailed         the server answered that the call failed; the model is told why
    ├── InputRequired      the server asks a person before it goes on
    └── CallUnsettled      no answer came; whether the call took effect is not known
        ├── ConnectionLost     the server ended, or the connection to it, during the call
        └── CallTimedOut       the server did not answer in time

A message may quote what a server wrote, at most a few hundred characters of it, and never a value
that came from an environment variable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphorch.errors import GraphorchError, NeedsConsent

if TYPE_CHECKING:
    from graphorch.agents.mcp.questions import ServerQuestion


class McpError(GraphorchError):
    """A failure of an MCP server. `server` is its name, `tool` the tool that was called, or ""."""

    def __init__(self, message: str, *, server: str, tool: str = "") -> None:
        self.server = server
        self.tool = tool
        super().__init__(message)


class ServerUnavailable(McpError):
    """A server that did not start, or cannot be reached. No tool was called."""


class ListingRefused(McpError):
    """A list of tools that cannot be used. No tool was called."""


class ToolsChanged(McpError, NeedsConsent):
    """A tool that is not what it was when the run took the list. It was not called.

    A person may agree to call it as it is now: `consent` is the digest of that.
    """

    def __init__(self, message: str, *, server: str, tool: str = "", consent: str = "") -> None:
        McpError.__init__(self, message, server=server, tool=tool)
        self.consent = consent


class ToolFailed(McpError):
    """A call that the server answered with an error, or with what cannot be used.

    The message is for the model.
    """


class CallUnsettled(McpError):
    """A call without an answer: whether it took effect is not known, so it is never repeated."""


class ConnectionLost(CallUnsettled):
    """A server that ended during a call, or a connection to it that broke."""


class CallTimedOut(CallUnsettled):
    """A server that did not answer in time."""


class InputRequired(McpError):
    """Questions of a server to a person, without whose answers it does not go on.

    The call is made once more with the answers and with `state`, which is the server's own note of
    how far it got. It goes back as it came; None if the server keeps none.
    """

    def __init__(
        self,
        questions: tuple[ServerQuestion, ...],
        state: str | None,
        *,
        server: str,
        tool: str,
    ) -> None:
        self.questions = questions
        self.state = state
        texts = "; ".join(question.message for question in questions)
        super().__init__(
            f"MCP server '{server}' asks before '{tool}' goes on: {texts} "
            "Answer it, or pass on_question= to the server.",
            server=server,
            tool=tool,
        )

"""Questions of servers, and the answers to them, in the protocol's form and in ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import mcp_types as types

from graphorch.agents.mcp.questions import ServerAnswer, ServerQuestion
from graphorch.text import clean

if TYPE_CHECKING:
    from mcp.shared.exceptions import MCPError

_LONGEST: Final = 2_000  # characters of a question


def read_question(server: str, key: str, params: types.ElicitRequestParams) -> ServerQuestion:
    """Return a question as a person is asked it."""
    message = clean(params.message, _LONGEST)
    if isinstance(params, types.ElicitRequestURLParams):
        return ServerQuestion(key, server, message, url=params.url)
    return ServerQuestion(key, server, message, schema=params.requested_schema)


def read_links(server: str, error: MCPError) -> tuple[ServerQuestion, ...]:
    """Return the addresses that a person has to open before a call, of an older server's error."""
    data: object = error.data
    fields: dict[str, Any] = cast("dict[str, Any]", data) if isinstance(data, dict) else {}
    listed: object = fields.get("elicitations")
    questions: list[ServerQuestion] = []
    for number, item in enumerate(cast("list[object]", listed) if isinstance(listed, list) else ()):
        if isinstance(item, dict):
            link = cast("dict[str, Any]", item)
            key = str(link.get("elicitationId", number))
            message = clean(str(link.get("message", "")), _LONGEST)
            questions.append(ServerQuestion(key, server, message, url=str(link.get("url", ""))))
    return tuple(questions) or (ServerQuestion("0", server, clean(error.message, _LONGEST)),)


def write_answer(answer: ServerAnswer) -> types.ElicitResult:
    """Return an answer as a server reads it."""
    has_values = answer.action == "accept" and answer.values
    content = dict(answer.values) if has_values else None
    return types.ElicitResult(action=answer.action, content=content)

"""Questions of a server to a person, which it asks before or while a tool runs (elicitation).

A server of revision 2026-07-28 ends the call with its questions, and goes on when the call is made
once more with the answers: they may come days later. An older one holds the call open meanwhile, so
only a program that answers at once, by `on_question`, can answer it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from graphorch.errors import InputError


@dataclass(frozen=True, slots=True)
class ServerQuestion:
    """A question of a server.

    `key` tells the questions of a call apart. `schema` is the JSON schema of the fields that the
    answer has; without one, the person is to open `url` and to agree or not.
    """

    key: str
    server: str
    message: str
    schema: Mapping[str, Any] | None = None
    url: str = ""


@dataclass(frozen=True, slots=True)
class ServerAnswer:
    """A person's answer to a server: `accept` with values, `decline`, or `cancel` for neither."""

    action: Literal["accept", "decline", "cancel"]
    values: Mapping[str, Any] = field(default_factory=dict[str, Any])


AnswerQuestion: TypeAlias = Callable[[ServerQuestion], Awaitable[ServerAnswer]]
"""Function of a program that answers questions of a server while a call waits for it."""


def check_answer(question: ServerQuestion, answer: object) -> ServerAnswer:
    """Return an answer that fits its question. Raises `InputError` for any other."""
    from graphorch.agents.mcp.schemas import list_misfits

    if not isinstance(answer, ServerAnswer):
        raise InputError(
            f"The answer to '{question.message:.80}' is a {type(answer).__name__}. "
            'Return ServerAnswer("accept", {…}), ServerAnswer("decline") or ServerAnswer("cancel").'
        )
    if answer.action != "accept" or question.schema is None:
        return answer
    faults = list_misfits(question.schema, dict(answer.values))
    if faults:
        raise InputError(
            f"The answer to '{question.message:.80}' of MCP server '{question.server}' does not "
            f"fit: {'; '.join(faults)}."
        )
    return answer

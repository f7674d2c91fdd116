"""Tools and responses for tests of conversations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pydantic import BaseModel

from graphorch.agents.tool import Tool, ToolOptions, tool
from graphorch.agents.tool_conversation import (
    AskAgain,
    Finished,
    HistoryLimits,
    Round,
    ToolConversation,
)
from graphorch.graph.options import Effect
from graphorch.models.messages import Message, Request, Response, ToolCall, Usage


def offer(
    fn: Callable[..., Any], *, effect: Effect = "once", max_calls: int | None = None
) -> dict[str, Tool]:
    options: ToolOptions = {"effect": effect}
    if max_calls is not None:
        options["max_calls"] = max_calls
    made = tool(**options)(fn)
    return {made.name: made}


def call(name: str, arguments: str = "{}", id: str = "") -> ToolCall:
    return ToolCall(id=id, name=name, arguments=arguments)


def respond(*calls: ToolCall, text: str = "") -> Response:
    return Response(
        text, "m", Usage(10, 5), 0.5, "table", "stop", 1, 1.0, None, tool_calls=tuple(calls)
    )


def ask(content: str = "how deep?", **fields: Any) -> Request:
    return Request("m", (Message(content=content),), **fields)


def converse(
    tools: dict[str, Tool],
    *,
    output: type[BaseModel] | None = None,
    rounds: int = 8,
    request: Request | None = None,
    **fields: Any,
) -> ToolConversation[Any]:
    limits = HistoryLimits(rounds, **fields)
    return ToolConversation(request or ask(), tools, output=output, limits=limits)


def play(
    conversation: ToolConversation[Any],
    model: Callable[[Request], Response],
    run: Callable[[str, Any], str] = lambda name, arguments: "done",
) -> tuple[Finished[Any], list[Request]]:
    """Return the end of a conversation with a model, and the requests that were made."""
    asked: list[Request] = []
    while True:
        request = conversation.next_request()
        asked.append(request)
        step = conversation.take(model(request))
        if isinstance(step, Finished):
            return step, asked
        if isinstance(step, Round):
            conversation.add_outcomes(answer_round(step, run))
        else:
            assert isinstance(step, AskAgain)


def answer_round(
    opened: Round, run: Callable[[str, Any], str] = lambda name, arguments: "done"
) -> list[str]:
    return [
        one.text if one.text is not None else run(one.name, one.arguments) for one in opened.calls
    ]


def find_orphans(messages: Sequence[Message]) -> list[str]:
    """Return ids of calls that are not answered exactly once right after them, and of answers.

    Strict endpoints refuse a conversation that has any.
    """
    orphans: list[str] = []
    waiting: list[str] = []
    for message in messages:
        if message.role == "tool" and waiting and message.tool_call_id == waiting[0]:
            waiting.pop(0)
        elif message.role == "tool":
            orphans.append(message.tool_call_id)
        else:
            orphans += waiting
            waiting = [one.id for one in message.tool_calls]
    ids = [one.id for message in messages for one in message.tool_calls]
    return orphans + waiting + [one for one in ids if ids.count(one) > 1]

"""Describe what a model was asked, as plain JSON for the journal.

A prompt is kept for people who read a run afterwards; nothing is ever computed from it. So a very
long prompt is cut, and characters that JSON cannot hold are escaped, instead of failing the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from graphorch.text import clean

if TYPE_CHECKING:
    from graphorch.engine.report import RequestReport
    from graphorch.journal.record_kinds import AskedModelBody, MessageBody
    from graphorch.models.budgets.charge import Charge
    from graphorch.models.decision import RoutingRecord
    from graphorch.models.messages import Message, Request

MOST = 400  # messages of one request; the first and the last are kept


@dataclass(frozen=True, slots=True)
class CallDescription:
    """Start and end of one model call, its request as `PromptLog` describes it, and its charge.

    Times are seconds since the epoch. `number` is that of the call in its run, if it was announced.
    `sent` are the requests that it made, and `decision` is the record of a policy that failed.
    """

    began: float
    at: float
    request: AskedModelBody
    number: int | None = None
    charge: Charge | None = None
    sent: Sequence[RequestReport] = ()
    decision: RoutingRecord | None = None


class PromptLog:
    """Describes the requests of one conversation, one after another, without repeating messages."""

    def __init__(self) -> None:
        self._previous: tuple[Message, ...] = ()

    def describe(self, request: Request) -> AskedModelBody:
        """Return the request as JSON.

        If the messages begin with those of the previous request, these are left out and counted in
        `shared`. Of very many new messages, those in the middle are left out and counted in
        `left_out`.
        """
        shared = len(self._previous)
        if request.messages[:shared] != self._previous:
            shared = 0
        self._previous = request.messages
        new = request.messages[shared:]
        left_out = max(0, len(new) - MOST)
        if left_out:
            new = (*new[: MOST // 2], *new[-MOST // 2 :])
        asked: AskedModelBody = {
            "model": clean(request.model),
            "messages": [_describe_message(message) for message in new],
            "shared": shared,
            "left_out": left_out,
            "tools": [clean(tool.name) for tool in request.tools],
            "output": None if request.schema is None else request.schema.__name__,
        }
        if request.tools and request.tool_choice != "auto":
            asked["tool_choice"] = request.tool_choice
        if request.max_tokens is not None:
            asked["max_tokens"] = request.max_tokens
        if request.temperature is not None:
            asked["temperature"] = float(request.temperature)
        return asked


def _describe_message(message: Message) -> MessageBody:
    description: MessageBody = {"role": message.role, "content": clean(message.content)}
    if message.tool_calls:
        description["calls"] = [
            {"id": clean(call.id), "name": clean(call.name), "arguments": clean(call.arguments)}
            for call in message.tool_calls
        ]
    if message.tool_call_id:
        description["answers"] = clean(message.tool_call_id)
    return description

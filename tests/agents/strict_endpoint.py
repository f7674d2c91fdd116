"""Endpoints that are strict in the ways of real ones, with a model that wants tools first.

The model calls two tools at once in each of two rounds, and then says its answer in prose or, where
the endpoint forces it, as JSON. Every endpoint refuses a conversation with a call that is not
answered, an answer without its call, or a message without text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from tests.models.servers import Asked, chunk, completion, event, replies, streams

Kind: TypeAlias = Literal[
    "vllm",  # a schema forces JSON from the first character: no tool is ever called
    "gemini",  # refuses a schema beside tools
    "anthropic",  # refuses a conversation with calls without the tools
    "no_tool_choice",  # knows no `tool_choice`
    "no_schema",  # knows no `response_format`
    "ignores_tool_choice",  # calls tools as long as they are there, unless a schema forces JSON
]

ANSWER = {"metres": 1.5, "place": "Northcliff"}
_ROUNDS = 2


@dataclass(slots=True)
class StrictEndpoint:
    """A handler of requests; `bodies` are those that were not refused.

    A stubborn model never stops calling tools.
    """

    kind: Kind
    says: str = "It is 1.5 metres deep."
    answer: Mapping[str, Any] = field(default_factory=lambda: ANSWER)
    is_stubborn: bool = False
    bodies: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    async def __call__(self, asked: Asked) -> None:
        body = asked.body
        fault = self._find_fault(body)
        if fault:
            await replies({"error": {"message": fault, "type": "invalid_request_error"}}, 400)(
                asked
            )
            return
        self.bodies.append(body)
        number = sum(message["role"] == "assistant" for message in body["messages"])
        is_forced = "response_format" in body
        if self._may_call(body) and not is_forced and (self.is_stubborn or number < _ROUNDS):
            await _send(asked, "", make_calls(number))
        elif is_forced or "JSON schema" in body["messages"][0]["content"]:
            is_final = is_forced or (self.kind == "no_schema" and not self._may_call(body))
            text = json.dumps(self.answer)
            await _send(asked, text if is_final else self.says, [])
        else:
            await _send(asked, self.says, [])

    def _may_call(self, body: dict[str, Any]) -> bool:
        if self.kind == "ignores_tool_choice":
            return bool(body.get("tools"))
        return bool(body.get("tools")) and body.get("tool_choice") != "none"

    def _find_fault(self, body: dict[str, Any]) -> str:
        messages = body["messages"]
        has_calls = any(message.get("tool_calls") for message in messages)
        if self.kind == "gemini" and "tools" in body and "response_format" in body:
            return "Function calling with a response mime type: 'application/json' is unsupported"
        if self.kind == "anthropic" and has_calls and "tools" not in body:
            return "Requests which include `tool_use` blocks must define tools"
        if self.kind == "no_tool_choice" and "tool_choice" in body:
            return "Unsupported parameter: 'tool_choice'"
        if self.kind == "no_schema" and "response_format" in body:
            return "Unsupported parameter: 'response_format'"
        return find_conversation_fault(messages)


def find_conversation_fault(messages: list[dict[str, Any]]) -> str:
    """Return what a strict endpoint refuses about a conversation, or ""."""
    waiting: list[str] = []
    seen: set[str] = set()
    for message in messages:
        if message["role"] == "tool":
            if not waiting or message["tool_call_id"] != waiting.pop(0):
                return f"tool_call_id {message['tool_call_id']} does not follow its tool call"
        elif waiting:
            return f"tool_calls {waiting} must be followed by tool messages"
        for call in message.get("tool_calls", []):
            if call["id"] in seen:
                return f"tool call id {call['id']} is not unique"
            if not isinstance(json.loads(call["function"]["arguments"]), dict):
                return "arguments of a tool call must be an object"
            seen.add(call["id"])
            waiting.append(call["id"])
        if not message.get("tool_calls") and not (message["content"] or "").strip():
            return "text content blocks must be non-empty"
    return f"tool_calls {waiting} must be followed by tool messages" if waiting else ""


def make_calls(number: int) -> list[dict[str, Any]]:
    """Return parallel calls as careless endpoints send them: both index 0, and one id or none."""
    return [
        {
            "index": 0,
            "id": "call" if number else None,
            "type": "function",
            "function": {
                "name": "look_up",
                "arguments": json.dumps({"place": place, "hour": number}),
            },
        }
        for place in ("north", "south")
    ]


async def _send(asked: Asked, text: str, calls: list[dict[str, Any]]) -> None:
    reason = "tool_calls" if calls else "stop"
    more: dict[str, Any] = {"tool_calls": calls} if calls else {}
    if not asked.body.get("stream"):
        await replies(completion(text or None, reason, **more))(asked)
        return
    pieces = [event(chunk(text or None, None))] if text else []
    pieces += [event(chunk(None, None, tool_calls=[call])) for call in calls]
    await streams([*pieces, event(chunk(None, reason)), event("[DONE]")])(asked)

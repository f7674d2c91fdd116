"""Dialects of the protocol: how a request is put to one endpoint.

A `Dialect` is what was learnt about one model at one endpoint. It starts with the standard and
changes by one step each time that the endpoint does not understand; there are four steps, so the
search ends.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from graphorch.errors import ModelError
from graphorch.models.errors import SchemaRefused
from graphorch.models.json_schema import build_response_format, describe_schema
from graphorch.models.messages import (
    Message,
    Request,
    ToolCall,
    ToolSpec,
    add_instruction,
    join_instructions,
)
from graphorch.models.tool_arguments import encode_name, encode_object

_TOOL_WORDS = re.compile(r"\btools?\b|tool_choice|function[ _]call", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Dialect:
    """Deviations of one endpoint from the standard.

    `schema_in_words`: no `response_format`. `completion_tokens`: the limit is called
    `max_completion_tokens`, as newer models want. `without_usage`: no `stream_options`, so that a
    stream ends without its usage. `without_idle_tools`: no tools in a request that must not call
    them; most endpoints want them beside a conversation that has calls, and some take neither them
    with a schema nor a `tool_choice`.
    """

    schema_in_words: bool = False
    completion_tokens: bool = False
    without_usage: bool = False
    without_idle_tools: bool = False

    def adapt_to(self, failure: ModelError, request: Request) -> Dialect | None:
        """Return the dialect to try next, or None if the failure is not a matter of dialect."""
        if failure.status not in (400, 422):
            return None
        if (
            request.max_tokens is not None
            and not self.completion_tokens
            and "max_completion_tokens" in str(failure)
        ):
            return replace(self, completion_tokens=True)
        if not self.without_usage and "stream_options" in str(failure):
            return replace(self, without_usage=True)
        has_idle_tools = bool(request.tools) and not request.may_call_tools
        if has_idle_tools and not self.without_idle_tools and _blames_tools(failure):
            return replace(self, without_idle_tools=True)
        if (
            request.schema is not None
            and not self.schema_in_words
            and isinstance(failure, SchemaRefused)
        ):
            return replace(self, schema_in_words=True)
        return None

    def note(self) -> str:
        """Return the note for people about this dialect, or ""."""
        if self.schema_in_words:
            return "the endpoint takes no schema, so it was put into the instructions"
        return ""


def encode_messages(request: Request, dialect: Dialect) -> list[dict[str, object]]:
    """Return the `messages` of the body."""
    messages = join_instructions(request.messages)
    if request.schema is not None and dialect.schema_in_words:
        messages = add_instruction(messages, describe_schema(request.schema))
    return [_encode_message(message) for message in messages]


def encode_options(request: Request, dialect: Dialect, *, streamed: bool) -> dict[str, object]:
    """Return the options of the body.

    Only options that the request has are sent, because each is unknown to some endpoint.
    """
    options: dict[str, object] = {}
    if request.max_tokens is not None:
        name = "max_completion_tokens" if dialect.completion_tokens else "max_tokens"
        options[name] = request.max_tokens
    if request.temperature is not None:
        options["temperature"] = request.temperature
    if request.schema is not None and not dialect.schema_in_words:
        options["response_format"] = build_response_format(request.schema)
    if request.may_call_tools or (request.tools and not dialect.without_idle_tools):
        options["tools"] = [_encode_tool(spec) for spec in request.tools]
        if not request.may_call_tools:
            options["tool_choice"] = "none"
    if streamed and not dialect.without_usage:
        options["stream_options"] = {"include_usage": True}
    return options


def _blames_tools(failure: ModelError) -> bool:
    """Return whether a refusal may be due to tools that are not to be called.

    Gemini's reads "Function calling with a response mime type: 'application/json' is unsupported".
    """
    return isinstance(failure, SchemaRefused) or _TOOL_WORDS.search(str(failure)) is not None


def _encode_tool(spec: ToolSpec) -> dict[str, object]:
    function = {
        "name": spec.name,
        "description": spec.description,
        "parameters": dict(spec.parameters),
    }
    return {"type": "function", "function": function}


def _encode_message(message: Message) -> dict[str, object]:
    encoded: dict[str, object] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        # null, as the reference has it: some endpoints refuse ""
        encoded["content"] = message.content or None
        encoded["tool_calls"] = [_encode_call(call) for call in message.tool_calls]
    if message.tool_call_id:
        encoded["tool_call_id"] = message.tool_call_id
    return encoded


def _encode_call(call: ToolCall) -> dict[str, object]:
    function = {"name": encode_name(call.name), "arguments": encode_object(call.arguments)}
    return {"id": call.id, "type": "function", "function": function}

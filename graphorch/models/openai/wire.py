"""Checked shapes of an answer; the openai package would take any JSON for one.

Source of the shapes: the "Chat completion object" and "Chat completion chunk object" pages of
OpenAI's API reference (2026-11), and what other endpoints make of them. Only the fields that are
used are declared; unknown ones are ignored. Whole answers and the events of a stream have one
shape: a choice of the first holds a `message`, one of the second a `delta`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, TypeAlias, cast

from pydantic import BaseModel, ConfigDict, ValidationError


class _Wire(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)


class ContentPart(_Wire):
    """A part of a content that is a list: a text, a refusal, or another kind such as a thought."""

    type: str = "text"
    text: str | None = None
    refusal: str | None = None


# Types of parts that are no part of the answer.
_THOUGHTS = frozenset({"thinking", "reasoning", "redacted_thinking", "summary_text"})

Content: TypeAlias = str | list[ContentPart | str] | ContentPart | None


class CalledFunction(_Wire):
    """The function of a tool call.

    In a stream its name comes once and its arguments in pieces. `arguments` should be the text of
    an object, and some endpoints send the object itself.
    """

    name: str | None = None
    arguments: object = None


class ToolCallDelta(_Wire):
    """A tool call, or the next piece of one; `index` is the number of the call it belongs to."""

    index: object = None
    id: object = None
    function: CalledFunction | None = None


class ChoiceMessage(_Wire):
    """Words of the model: all of them (`message`) or the next piece (`delta`).

    Its thoughts come in a field of their own, under two names; they are no part of the answer.
    `function_call` is the older form of a tool call.
    """

    content: Content = None
    refusal: str | None = None
    tool_calls: list[ToolCallDelta] | None = None
    function_call: CalledFunction | None = None
    reasoning_content: object = None
    reasoning: object = None


class Choice(_Wire):
    """One answer, or the next piece of one."""

    index: object = None
    message: ChoiceMessage | None = None
    delta: ChoiceMessage | None = None
    finish_reason: str | None = None
    usage: object = None


class Completion(_Wire):
    """Choices of a whole answer, or of one event of a stream."""

    choices: list[Choice]


def read_text(content: Content) -> tuple[str, str, Iterable[str]]:
    """Return the text of a content, its refusal, and the types of other parts but thoughts."""
    if content is None or isinstance(content, str):
        return content or "", "", ()
    parts = [content] if isinstance(content, ContentPart) else content
    texts: list[str] = []
    refusals: list[str] = []
    others: list[str] = []
    for part in parts:
        if isinstance(part, str):
            texts.append(part)
        elif part.refusal:
            refusals.append(part.refusal)
        elif part.type in ("text", "output_text"):
            texts.append(part.text or "")
        elif part.type not in _THOUGHTS:
            others.append(part.type)
    return "".join(texts), "".join(refusals), others


def read_arguments(arguments: object) -> str:
    """Return the arguments of a tool call as text."""
    if arguments is None or isinstance(arguments, str):
        return arguments or ""
    return json.dumps(arguments, ensure_ascii=False)


def read_index(index: object, default: int) -> int:
    """Return a number that may have come as text, or the default for anything else."""
    if isinstance(index, str) and index.isascii() and index.isdigit():
        return int(index)
    if isinstance(index, int) and not isinstance(index, bool) and index >= 0:
        return index
    return default


def read_id(value: object) -> str:
    """Return an identifier, which may have come as a number, or ""."""
    is_identifier = isinstance(value, str | int) and not isinstance(value, bool)
    return str(value) if is_identifier else ""


def find_field(value: object, name: str) -> Any:
    """Return a field of a JSON value, or None if it is no object or has no such field."""
    if isinstance(value, dict):
        return cast("dict[str, Any]", value).get(name)
    return None


def describe_mismatch(error: ValidationError) -> str:
    """Return the first three problems, without repeating the values.

    One of them reads `choices.0.message.content: Input should be a valid string`.
    """
    problems: list[str] = []
    for details in error.errors(include_input=False)[:3]:
        place = ".".join(str(step) for step in details["loc"]) or "the whole"
        problems.append(f"{place}: {details['msg']}")
    return "; ".join(problems)

"""Strictly checked answers of an endpoint; the openai package would take any JSON for one.

Source of the shapes: the "Chat completion object" and "Chat completion chunk object" pages of OpenAI's API reference (2026-11).
Only the fields that are used are declared; unknown ones are ignored.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from graphorch.models.messages import Usage


def _whole_characters(text: str) -> str:
    """JSON can spell half a character (a lone surrogate), which can be neither stored nor printed later."""
    if not text.isascii():
        text.encode()  # raises UnicodeEncodeError, a ValueError
    return text


_Text = Annotated[str, AfterValidator(_whole_characters)]
_Count = Annotated[int, Field(ge=0)]
_Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Wire(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)


class CalledFunction(_Wire):
    """The function of a tool call; in a stream the name comes once and the arguments in pieces."""

    name: str | None = None
    arguments: _Text | None = None


class ToolCallDelta(_Wire):
    """A tool call, whole or the next piece of it; `index` says which one a piece belongs to."""

    index: int | None = None
    id: str | None = None
    function: CalledFunction


class ChoiceMessage(_Wire):
    """What the model said: whole (`message`) or the next piece of it (`delta`)."""

    content: _Text | None = None
    refusal: _Text | None = None
    tool_calls: list[ToolCallDelta] | None = None


class Choice(_Wire):
    """One answer of a whole completion; only the first is used, since only one is asked for."""

    index: int = 0
    message: ChoiceMessage
    finish_reason: str | None = None


class Piece(_Wire):
    """The next piece of one answer of a stream."""

    index: int = 0
    delta: ChoiceMessage | None = None
    finish_reason: str | None = None


class ChatCompletion(_Wire):
    """A whole answer. `usage` is kept as it came: a strange bill is no reason to throw the answer away."""

    model: str | None = None
    choices: Annotated[list[Choice], Field(min_length=1)]
    usage: object = None


class Chunk(_Wire):
    """One event of a stream. The last one may have no choices, only the usage."""

    model: str | None = None
    choices: list[Piece]
    usage: object = None


class _InputDetails(_Wire):
    cached_tokens: _Count | None = None


class _Bill(_Wire):
    prompt_tokens: _Count
    completion_tokens: _Count
    prompt_tokens_details: _InputDetails | None = None
    cost: _Price | None = None


def read_usage(usage: object) -> tuple[Usage | None, float | None]:
    """Tokens and dollars of a `usage` object; None for what is missing or makes no sense.

    `cost` in dollars is what gateways such as Requesty and OpenRouter add to it.
    """
    try:
        bill = _Bill.model_validate(usage)
    except ValidationError:
        return None, None
    details = bill.prompt_tokens_details
    cached = details.cached_tokens if details else None
    return Usage(
        bill.prompt_tokens, bill.completion_tokens, min(cached or 0, bill.prompt_tokens)
    ), bill.cost


def describe_mismatch(error: ValidationError) -> str:
    """What does not fit, without repeating the values: `choices.0.message.content: Input should be a valid string`."""
    parts = [
        f"{'.'.join(str(step) for step in details['loc']) or 'the whole'}: {details['msg']}"
        for details in error.errors(include_input=False)
    ]
    return "; ".join(parts[:3])

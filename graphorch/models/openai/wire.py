"""Strictly checked answers of an endpoint; the openai package would take any JSON for one.

Source of the shapes: the "Chat completion object" and "Chat completion chunk object" pages of
OpenAI's API reference (2026-11). Only the fields that are used are declared; unknown ones are
ignored.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from graphorch.models.messages import Usage


def _check_characters(text: str) -> str:
    """Return the text. Raises `ValueError` for half a character (a lone surrogate).

    JSON can spell one, but it can be neither stored nor printed later.
    """
    if not text.isascii():
        text.encode()  # raises UnicodeEncodeError, a ValueError
    return text


_Text = Annotated[str, AfterValidator(_check_characters)]
_Count = Annotated[int, Field(ge=0)]
_Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Wire(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)


class CalledFunction(_Wire):
    """The function of a tool call; in a stream the name comes once and the arguments in pieces."""

    name: str | None = None
    arguments: _Text | None = None


class ToolCallDelta(_Wire):
    """A tool call, or the next piece of one; `index` is the number of the call it belongs to."""

    index: int | None = None
    id: str | None = None
    function: CalledFunction


class ChoiceMessage(_Wire):
    """Words of the model: all of them (`message`) or the next piece (`delta`)."""

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
    """A whole answer.

    `usage` is kept as it came: a strange bill is no reason to throw the answer away.
    """

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
    """Return tokens and dollars of a `usage` object; None for those missing or without sense.

    `cost` in dollars is what gateways such as Requesty and OpenRouter add to it.
    """
    try:
        bill = _Bill.model_validate(usage)
    except ValidationError:
        return None, None
    details = bill.prompt_tokens_details
    cached = 0
    if details is not None:
        # more than the whole input cannot come from the cache
        cached = min(details.cached_tokens or 0, bill.prompt_tokens)
    return Usage(bill.prompt_tokens, bill.completion_tokens, cached), bill.cost


def describe_mismatch(error: ValidationError) -> str:
    """Return the first three problems, without repeating the values.

    One of them reads `choices.0.message.content: Input should be a valid string`.
    """
    problems: list[str] = []
    for details in error.errors(include_input=False)[:3]:
        place = ".".join(str(step) for step in details["loc"]) or "the whole"
        problems.append(f"{place}: {details['msg']}")
    return "; ".join(problems)

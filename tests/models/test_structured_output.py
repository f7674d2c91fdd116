"""Answers as values: plain text or JSON, one repair, and then an error that helps."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal, TypeVar

import pytest
from pydantic import BaseModel, Field

from graphorch.errors import ModelError
from graphorch.models.messages import Message, Request, Usage
from graphorch.models.structured_output import (
    InvalidAnswer,
    ParsedAnswer,
    ask_for_value,
    find_text_field,
)
from tests.models.clients import Scripted, response_of

M = TypeVar("M", bound=BaseModel)


class Draft(BaseModel):
    draft: str


class Verdict(BaseModel):
    score: Annotated[int, Field(ge=0, le=10)]
    decision: Literal["publish", "revise"]


GOOD = '{"score": 7, "decision": "publish"}'
HIGH = '{"score": 11, "decision": "maybe"}'


def ask_for(
    client: Scripted, output: type[M], pieces: list[str] | None = None, timeout: float | None = None
) -> ParsedAnswer[M]:
    request = Request("m", (Message(content="judge it"),), timeout=timeout)
    return asyncio.run(
        ask_for_value(client, request, output, None if pieces is None else pieces.append)
    )


# ---- text --------------------------------------------------------------------------------------


def test_text_model_takes_raw_text() -> None:
    """Put the text of the answer unchanged into the only string field."""
    client = Scripted(['{"draft": "no JSON was asked for"}\n'])
    assert ask_for(client, Draft).value.draft == '{"draft": "no JSON was asked for"}\n'
    assert client.asked[0].schema is None


class Limited(BaseModel):
    draft: Annotated[str, Field(max_length=5)]


class Aliased(BaseModel):
    draft: str = Field(alias="theDraft")


class Optional(BaseModel):
    draft: str | None


class Two(BaseModel):
    first: str
    second: str = ""


class Number(BaseModel):
    number: int


class Nothing(BaseModel):
    pass


def test_text_field_is_single_string() -> None:
    """Find a text field only in models with exactly one plain string."""
    assert [find_text_field(kind) for kind in (Draft, Limited, Aliased)] == ["draft"] * 3
    assert [find_text_field(kind) for kind in (Optional, Two, Number, Nothing)] == [None] * 4


def test_text_field_may_have_alias() -> None:
    """Fill a text field that has an alias."""
    assert ask_for(Scripted(["hello"]), Aliased).value.draft == "hello"


def test_text_outside_bounds_is_repaired() -> None:
    """Ask again for a text that breaks the bounds of its field."""
    client = Scripted(["far too long", "short"])
    assert ask_for(client, Limited).value.draft == "short"
    assert "at most 5 characters" in client.asked[1].messages[-1].content
    assert "corrected text" in client.asked[1].messages[-1].content


# ---- JSON --------------------------------------------------------------------------------------


def test_model_is_requested_with_schema() -> None:
    """Send the schema if the model is more than a text field."""
    client = Scripted([GOOD])
    answer = ask_for(client, Verdict)
    assert answer.value == Verdict(score=7, decision="publish")
    assert client.asked[0].schema is Verdict
    assert (answer.usage, answer.usd, len(answer.responses)) == (Usage(10, 5), 0.25, 1)


@pytest.mark.parametrize(
    "text",
    [
        f"Here it is:\n```json\n{GOOD}\n```\nAnything else?",
        f"\ufeff{GOOD}",
        f"<think>hm</think>{GOOD}",
    ],
)
def test_answer_with_extra_words_parses(text: str) -> None:
    """Read an object with words around it without a second call."""
    client = Scripted([text])
    assert ask_for(client, Verdict).value.score == 7
    assert len(client.asked) == 1


def test_answer_may_use_names_or_aliases() -> None:
    """Accept the names of fields and their aliases."""

    class Renamed(BaseModel):
        first: int = Field(alias="one")
        second: int

    assert ask_for(Scripted(['{"one": 1, "second": 2}']), Renamed).value.first == 1
    assert ask_for(Scripted(['{"first": 1, "second": 2}']), Renamed).value.first == 1


# ---- repair ------------------------------------------------------------------------------------


def test_repair_shows_answer_and_problems() -> None:
    """Show the invalid answer and every problem in the second request."""
    client = Scripted([HIGH, GOOD])
    answer = ask_for(client, Verdict)
    assert answer.value.score == 7
    assert (answer.usage, answer.usd, len(answer.responses)) == (Usage(20, 10), 0.5, 2)
    first, invalid, wrong = client.asked[1].messages
    assert first.content == "judge it"
    assert (invalid.role, invalid.content) == ("assistant", HIGH)
    assert "score: Input should be less than or equal to 10 (got 11)" in wrong.content
    assert "decision: Input should be 'publish' or 'revise' (got 'maybe')" in wrong.content
    assert client.asked[1].schema is Verdict


@pytest.mark.parametrize(
    "text",
    [
        "I think it is fine.",
        "",
        "{",
        "[1, 2]",
        "null",
        '{"score": "many"}',
        "{" * 10_000,
        '{"score": NaN, "decision": "publish"}',
    ],
)
def test_unfitting_answer_is_repaired(text: str) -> None:
    """Ask again after any answer that does not fit."""
    client = Scripted([text, GOOD])
    assert ask_for(client, Verdict).value.score == 7
    assert len(client.asked) == 2


def test_repair_truncates_long_answer() -> None:
    """Show only part of a very long invalid answer."""
    client = Scripted(["x" * 100_000, GOOD])
    ask_for(client, Verdict)
    assert sum(len(message.content) for message in client.asked[1].messages) < 6_000


def test_second_invalid_answer_raises() -> None:
    """Raise a typed error after two invalid answers, with the field and a remedy."""
    client = Scripted([HIGH])
    with pytest.raises(InvalidAnswer) as caught:
        ask_for(client, Verdict)
    error = caught.value
    assert len(client.asked) == 2
    assert isinstance(error, ModelError)
    assert "Verdict" in str(error)
    assert "score: Input should be less than or equal to 10 (got 11)" in str(error)
    assert "Say in the prompt or in the field's description what 'score' must be" in str(error)
    assert len(error.problems) == 2
    assert (error.partial, error.usage, error.model, error.retryable) == (
        HIGH,
        Usage(20, 10),
        "m",
        True,
    )


def test_client_error_passes_through() -> None:
    """Let an error of the client pass through from either call."""
    failure = ModelError("no", model="m")
    for steps in ([failure], [HIGH, failure]):
        with pytest.raises(ModelError) as caught:
            ask_for(Scripted([*steps]), Verdict)
        assert caught.value is failure


def test_repair_has_remaining_time() -> None:
    """Give the second call the time that the first one left."""
    client = Scripted([HIGH, GOOD])
    ask_for(client, Verdict, timeout=3.0)
    assert [request.timeout for request in client.asked] == [3.0, 2.0]
    slow = Scripted([lambda request: response_of(HIGH, seconds=9.0), GOOD])
    ask_for(slow, Verdict, timeout=3.0)
    assert slow.asked[1].timeout == 0.0


def test_repair_is_streamed_too() -> None:
    """Stream both answers."""
    pieces: list[str] = []
    ask_for(Scripted([HIGH, GOOD]), Verdict, pieces)
    assert pieces == [HIGH, GOOD]


def test_summed_usage_keeps_estimate_mark() -> None:
    """Mark the sum as an estimate if either usage is one."""
    guessed = Scripted(
        [HIGH, lambda request: response_of(GOOD, usage=Usage(1, 1, is_estimated=True))]
    )
    assert ask_for(guessed, Verdict).usage == Usage(11, 6, is_estimated=True)

"""An answer as a value: text where text is wanted, JSON where more is, one repair round, and then an error that helps."""

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


def asked(
    client: Scripted, output: type[M], pieces: list[str] | None = None, timeout: float | None = None
) -> ParsedAnswer[M]:
    request = Request("m", (Message(content="judge it"),), timeout=timeout)
    return asyncio.run(
        ask_for_value(client, request, output, None if pieces is None else pieces.append)
    )


# ---- text --------------------------------------------------------------------------------------


def test_a_single_string_takes_the_text_as_it_is() -> None:
    client = Scripted(['{"draft": "no JSON was asked for"}\n'])
    assert asked(client, Draft).value.draft == '{"draft": "no JSON was asked for"}\n'
    assert client.asked[0].schema is None


class Limited(BaseModel):
    draft: Annotated[str, Field(max_length=5)]


class Aliased(BaseModel):
    draft: str = Field(alias="theDraft")


class Optional(BaseModel):
    draft: str | None


class Two(BaseModel):
    one: str
    two: str = ""


class Number(BaseModel):
    one: int


class Nothing(BaseModel):
    pass


def test_only_one_plain_string_is_text() -> None:
    assert [find_text_field(kind) for kind in (Draft, Limited, Aliased)] == ["draft"] * 3
    assert [find_text_field(kind) for kind in (Optional, Two, Number, Nothing)] == [None] * 4


def test_an_alias_does_not_matter_to_text() -> None:
    assert asked(Scripted(["hello"]), Aliased).value.draft == "hello"


def test_text_that_breaks_its_bounds_is_asked_for_again() -> None:
    client = Scripted(["far too long", "short"])
    assert asked(client, Limited).value.draft == "short"
    assert "at most 5 characters" in client.asked[1].messages[-1].content
    assert "corrected text" in client.asked[1].messages[-1].content


# ---- JSON --------------------------------------------------------------------------------------


def test_more_than_text_is_asked_for_with_its_schema() -> None:
    client = Scripted([GOOD])
    answer = asked(client, Verdict)
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
def test_words_around_the_object_do_not_cost_a_second_call(text: str) -> None:
    client = Scripted([text])
    assert asked(client, Verdict).value.score == 7
    assert len(client.asked) == 1


def test_names_and_aliases_are_both_understood() -> None:
    class Renamed(BaseModel):
        first: int = Field(alias="one")
        second: int

    assert asked(Scripted(['{"one": 1, "second": 2}']), Renamed).value.first == 1
    assert asked(Scripted(['{"first": 1, "second": 2}']), Renamed).value.first == 1


# ---- repair ------------------------------------------------------------------------------------


def test_the_second_request_shows_the_invalid_answer_and_every_problem() -> None:
    client = Scripted([HIGH, GOOD])
    answer = asked(client, Verdict)
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
def test_whatever_does_not_fit_is_repaired(text: str) -> None:
    client = Scripted([text, GOOD])
    assert asked(client, Verdict).value.score == 7
    assert len(client.asked) == 2


def test_a_very_long_invalid_answer_is_shown_in_part() -> None:
    client = Scripted(["x" * 100_000, GOOD])
    asked(client, Verdict)
    assert sum(len(message.content) for message in client.asked[1].messages) < 6_000


def test_two_invalid_answers_are_a_typed_error_that_names_the_field_and_what_to_do() -> None:
    client = Scripted([HIGH])
    with pytest.raises(InvalidAnswer) as caught:
        asked(client, Verdict)
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


def test_an_error_of_the_client_in_either_call_passes_through() -> None:
    failure = ModelError("no", model="m")
    for steps in ([failure], [HIGH, failure]):
        with pytest.raises(ModelError) as caught:
            asked(Scripted([*steps]), Verdict)
        assert caught.value is failure


def test_the_second_call_has_what_is_left_of_the_time() -> None:
    client = Scripted([HIGH, GOOD])
    asked(client, Verdict, timeout=3.0)
    assert [request.timeout for request in client.asked] == [3.0, 2.0]
    slow = Scripted([lambda request: response_of(HIGH, seconds=9.0), GOOD])
    asked(slow, Verdict, timeout=3.0)
    assert slow.asked[1].timeout == 0.0


def test_both_answers_are_streamed() -> None:
    pieces: list[str] = []
    asked(Scripted([HIGH, GOOD]), Verdict, pieces)
    assert pieces == [HIGH, GOOD]


def test_an_estimate_in_either_call_makes_the_sum_one() -> None:
    guessed = Scripted(
        [HIGH, lambda request: response_of(GOOD, usage=Usage(1, 1, is_estimated=True))]
    )
    assert asked(guessed, Verdict).usage == Usage(11, 6, is_estimated=True)

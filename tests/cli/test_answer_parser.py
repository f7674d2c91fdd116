"""Answers from the command line: what VALUE means for which type of answer."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import BaseModel

from graphorch import Approval, InputError
from graphorch.cli.answer_parser import format_answer_example, parse_answer


class Text(BaseModel):
    text: str


class Score(BaseModel):
    score: int


class Choice(BaseModel):
    choice: Literal["a", "b"]
    why: str = ""


class Both(BaseModel):
    first: str
    second: str


class Flags(BaseModel):
    one: bool = False
    other: bool = False


class Many(BaseModel):
    names: list[str] = []


class Priced(BaseModel):
    usd: float = 0.0


class Nothing(BaseModel):
    pass


@pytest.mark.parametrize(
    "model, words, fields",
    [
        (Approval, ["yes"], {"approved": True, "reason": ""}),
        (Approval, ["No", "--reason", "too long"], {"approved": False, "reason": "too long"}),
        (Approval, ['{"approved": true}'], {"approved": True, "reason": ""}),
        (Approval, ["--no-approved"], {"approved": False, "reason": ""}),
        (Text, ["a whole sentence"], {"text": "a whole sentence"}),
        (Text, ["yes"], {"text": "yes"}),
        (Text, ["-5"], {"text": "-5"}),
        (Text, ["@@home"], {"text": "@home"}),
        (Text, ['{"text": "in an object"}'], {"text": "in an object"}),
        (Score, ["7"], {"score": 7}),
        (Choice, ["b", "--why", "it is better"], {"choice": "b", "why": "it is better"}),
        (Both, ["--first", "x", "--second", "y"], {"first": "x", "second": "y"}),
        (Both, ['{"first": "x"}', "--second", "y"], {"first": "x", "second": "y"}),
        (Flags, ["--one"], {"one": True, "other": False}),
        (Many, ['["a", "b"]'], {"names": ["a", "b"]}),
        (Many, ["{}"], {"names": []}),
        (Priced, ["--usd", "2"], {"usd": 2.0}),
        (Nothing, [], {}),
    ],
)
def test_value_becomes_answer(
    model: type[BaseModel], words: list[str], fields: dict[str, Any]
) -> None:
    """A word, a file, JSON and options become the answer that they mean."""
    assert parse_answer(model, words).model_dump() == fields


@pytest.mark.parametrize(
    "model, words, message",
    [
        (Approval, ["maybe"], "'maybe' is not an answer of type Approval. Write yes or no."),
        (
            Flags,
            ["yes"],
            "'yes' is not an answer of type Flags. Write '{\"one\": true, \"other\": true}'.",
        ),
        (Both, ["x"], "'x' is not an answer of type Both."),
        (Score, ["seven"], "score: Input should be a valid integer"),
        (Score, [], "VALUE, the answer of type Score, is missing. Write '{\"score\": 1}'."),
        (Approval, [], "VALUE, the answer of type Approval, is missing. Write yes or no."),
        (Many, [], "VALUE, the answer of type Many, is missing."),
        (Choice, ["--why", "x"], "choice: missing. Give --choice TEXT, or 'choice' in VALUE."),
        (Priced, ["--model", "x"], "--model: there is no such option"),
        (Priced, ["--usd"], "usd: --usd needs a value. Write --usd NUMBER."),
        (Text, ["a", "b"], "b: this word belongs to no option"),
        (Both, ["{"], "VALUE is not JSON"),
        (Both, ["@nowhere.json"], "VALUE: file 'nowhere.json' cannot be read"),
    ],
)
def test_wrong_answer_is_explained(model: type[BaseModel], words: list[str], message: str) -> None:
    """Words that do not fit the answer's type are explained with an example."""
    with pytest.raises(InputError) as caught:
        parse_answer(model, words)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "model, shown",
    [
        (Approval, "yes"),
        (Text, "TEXT"),
        (Both, """'{"first": "…", "second": "…"}'"""),
        (Score, """'{"score": 1}'"""),
    ],
)
def test_answer_example_is_quoted(model: type[BaseModel], shown: str) -> None:
    """An example of an answer can be pasted into a shell."""
    assert format_answer_example(model) == shown

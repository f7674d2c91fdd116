"""Answers as values: plain text or JSON, one repair, and then an error that helps."""

from __future__ import annotations

import asyncio
import json
import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, RootModel, create_model, field_validator, model_validator
from pydantic.json_schema import SkipJsonSchema

from graphorch.errors import ModelError
from graphorch.models.errors import Empty
from graphorch.models.json_schema import describe_schema
from graphorch.models.messages import Message, Request, Usage
from graphorch.models.openai.client import OpenAIClient
from graphorch.models.structured_output import (
    InvalidAnswer,
    ParsedAnswer,
    ask_for_value,
    find_problems,
    find_text_field,
)
from tests.models.clients import Scripted, response_of
from tests.models.openai.calls import question, with_server
from tests.models.servers import Server, completion, replies

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


# ---- what was asked for -------------------------------------------------------------------------


class Inner(BaseModel):
    kind: str = "a"


@dataclass
class Point:
    x: int = 0
    y: int = 0


class Judged(BaseModel):
    """An output with a default for every field."""

    score: float = 0.0
    remark: str | None = None


class Nested(BaseModel):
    inner: Inner = Inner()
    items: list[Inner] = []
    by_name: dict[str, Inner] = {}
    point: Point = Point()
    hidden: SkipJsonSchema[int] = 3
    renamed: int = Field(default=1, alias="theName")


COMPLETE = (
    '{"inner": {"kind": "b"}, "items": [{"kind": "c"}], "by_name": {"n": {"kind": "d"}}, '
    '"point": {"x": 1, "y": 2}, "theName": 5}'
)
FINE = '{"score": 8.5, "remark": null}'


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"Score": 7, "Remark": "x"}',
        f'{{"result": {FINE}}}',
        f'{{"answer": {{"Judged": {FINE}}}}}',
        json.dumps(Judged.model_json_schema()),
        json.dumps({"type": "json_schema", "schema": Judged.model_json_schema()}),
        '{"score": 7}',
        '{"remark": "x"}',
        '{"score": NaN, "remark": "x"}',
        '{"score": Infinity, "remark": "x"}',
        '{"score": -1e400, "remark": "x"}',
        '{"score": "NaN", "remark": "x"}',
        '{"score": "inf", "remark": "x"}',
        f'{FINE} or {{"score": 1, "remark": null}}',
        f"<think>{FINE}",
    ],
)
def test_default_is_never_taken_silently(text: str) -> None:
    """Ask again for an answer that lacks a key, or whose number is none, also with a default."""
    client = Scripted([text, FINE])
    assert ask_for(client, Judged).value == Judged(score=8.5)
    assert len(client.asked) == 2


@pytest.mark.parametrize(
    "text",
    [
        FINE,
        f'{{"Judged": {FINE}}}',
        f'{{"judged": {FINE}}}',
        f"{FINE}\n{FINE}",
        '{"score": "8.5", "remark": null, "more": 1}',
        f"```\n{FINE}\n```",
        f"So {{4}}: {FINE}",
        f'{{"draft": 1}} and then {FINE}',
        f'<think>{{"score": 1, "remark": null}}</think>{FINE}',
        json.dumps(FINE),
    ],
)
def test_whole_answer_needs_no_repair(text: str) -> None:
    """Take an answer that holds one object with every key, whatever is around it."""
    client = Scripted([text])
    assert ask_for(client, Judged).value == Judged(score=8.5)


@pytest.mark.parametrize(
    "text, place",
    [
        (COMPLETE.replace('{"kind": "b"}', "{}"), "inner.kind"),
        (COMPLETE.replace('{"kind": "c"}', "{}"), "items.0.kind"),
        (COMPLETE.replace('{"kind": "d"}', "{}"), "by_name.n.kind"),
        (COMPLETE.replace(', "y": 2', ""), "point.y"),
        (COMPLETE.replace(', "theName": 5', ""), "theName"),
    ],
)
def test_missing_key_is_named_by_place(text: str, place: str) -> None:
    """Name the place of a missing key in objects, lists, mappings and dataclasses."""
    assert find_problems(text, Nested) == [f"{place}: Field required"]
    assert find_problems(COMPLETE, Nested) == []


def test_number_of_any_container_is_checked() -> None:
    """Find a number that is none in lists, tuples, sets and mappings."""

    class Numbers(BaseModel):
        many: list[float]
        pair: tuple[float, float]
        some: set[float]
        named: dict[str, float]

    fine = '{"many": [1], "pair": [1, 2], "some": [1], "named": {"a": 1}}'
    assert find_problems(fine, Numbers) == []
    places = ("many.0", "pair.0", "some.0", "named.a")
    for place, old in zip(places, ("[1]", "[1,", '[1], "named', '"a": 1'), strict=True):
        text = fine.replace(old, old.replace("1", "NaN"), 1)
        if place == "some.0":
            text = fine.replace('"some": [1]', '"some": [NaN]')
        (problem,) = find_problems(text, Numbers)
        assert problem == f"{place}: Input should be a finite number (got nan)"


def test_number_of_author_may_be_infinite() -> None:
    """Keep a number without end that the output makes of something else."""

    class Limit(BaseModel):
        limit: float
        unit: str

        @field_validator("limit", mode="before")
        @classmethod
        def read(cls, value: object) -> object:
            return math.inf if value is None else value

    assert find_problems('{"limit": null, "unit": "s"}', Limit) == []


def test_output_may_be_a_list() -> None:
    """Read an output that is no object, and its numbers."""
    numbers = RootModel[list[float]]
    assert find_problems("[1, 2.5]", numbers) == []
    assert (
        find_problems('```json\n[{"kind": "a"}, {"kind": "b"}]\n```', RootModel[list[Inner]]) == []
    )
    assert find_problems('[{"kind": "a"}, {}]', RootModel[list[Inner]]) == [
        "1.kind: Field required"
    ]
    assert find_problems("[1, NaN]", numbers) == ["1: Input should be a finite number (got nan)"]


def test_endless_number_is_a_fault() -> None:
    """Name a number that Python cannot show, instead of failing over it."""
    digits = "9" * 5_000
    (problem,) = find_problems(f'{{"score": {digits}, "remark": null}}', Judged)
    assert problem == "the whole answer: it holds a number with thousands of digits"
    assert find_problems('{"a":' * 3_000 + "1" + "}" * 3_000, Judged)


def test_value_made_by_author_is_complete() -> None:
    """Ask for no keys of a value that its own validator makes of a text."""

    class Money(BaseModel):
        amount: int
        currency: str = "EUR"

        @model_validator(mode="before")
        @classmethod
        def read(cls, value: object) -> object:
            return {"amount": int(value)} if isinstance(value, str) else value

    class Bill(BaseModel):
        total: Money
        note: str

    assert find_problems('{"total": "5", "note": ""}', Bill) == []
    assert find_problems('{"total": {"amount": 5}, "note": ""}', Bill) == [
        "total.currency: Field required"
    ]


def test_text_has_no_thoughts() -> None:
    """Leave thoughts out of a text, and raise Empty if nothing else is there."""
    assert ask_for(Scripted(["<think>hm</think>hello"]), Draft).value.draft == "hello"
    with pytest.raises(Empty, match="thoughts"):
        ask_for(Scripted(["<think>hm</think>"]), Draft)


FIELDS: dict[str, tuple[object, object]] = {
    "flag": (bool, True),
    "count": (int, 3),
    "score": (float, 0.5),
    "title": (str, "a {brace} and a \n line"),
    "tags": (list[str], ["x"]),
    "inner": (Inner, {"kind": "b"}),
    "maybe": (int | None, None),
}


@given(
    st.lists(st.sampled_from(sorted(FIELDS)), min_size=2, unique=True),
    st.text(alphabet="ab .,\n", max_size=20),
    st.sampled_from(["{}", "```json\n{}\n```", "<think>{{}}</think>\n{}", '{{"Drawn": {}}}']),
    st.data(),
)
def test_every_key_is_asked_for(
    names: list[str], prose: str, form: str, data: st.DataObject
) -> None:
    """Read any whole object in any form, and name any key that is taken out of it."""
    fields: dict[str, Any] = {name: (FIELDS[name][0], FIELDS[name][1]) for name in names}
    drawn = create_model("Drawn", **fields)
    values = {name: FIELDS[name][1] for name in names}

    def write(content: dict[str, object]) -> str:
        # thoughts are in front of everything else
        before = "" if "think" in form else prose
        return before + form.format(json.dumps(content)) + prose

    assert find_problems(write(values), drawn) == []
    lost = data.draw(st.sampled_from(names))
    rest = {name: value for name, value in values.items() if name != lost}
    assert find_problems(write(rest), drawn) == [f"{lost}: Field required"]


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


def test_repair_tells_schema_in_words() -> None:
    """Tell the schema if the answer lacks what a schema enforces, and not for a bound or a rule."""
    client = Scripted(["{}", FINE])
    ask_for(client, Judged)
    assert client.asked[1].messages[-1].content == (
        "Your answer does not fit what was asked for:\n- score: Field required\n"
        "- remark: Field required\nAnswer once more with the corrected JSON object of Judged and "
        f"nothing else.\n\n{describe_schema(Judged)}"
    )
    client = Scripted(['{"score": 11, "decision": "publish"}', GOOD])
    ask_for(client, Verdict)
    assert "JSON schema" not in client.asked[1].messages[-1].content
    client = Scripted(["far too long", "short"])
    ask_for(client, Limited)
    assert "JSON schema" not in client.asked[1].messages[-1].content


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("refuses", [False, True])
def test_endpoint_without_schemas_is_told_in_words(streamed: bool, refuses: bool) -> None:
    """Tell the schema in words where an endpoint refuses it, and where it ignores it."""
    prose = "<think>{x}</think>I would say 8.5."
    answers = [completion(prose), completion(f"```json\n{FINE}\n```")]
    handlers = [replies(answer) for answer in answers]
    if refuses:
        handlers.insert(0, replies({"error": {"message": "no response_format"}}, 400))

    async def use(client: OpenAIClient, server: Server) -> tuple[Judged, list[Any]]:
        on_text = [].append if streamed else None
        answer = await ask_for_value(client, question(), Judged, on_text)
        return answer.value, server.bodies

    value, bodies = with_server(*handlers, use=use)
    assert value == Judged(score=8.5)
    words = json.dumps(describe_schema(Judged))[1:-1]
    told = [words in json.dumps(body["messages"]) for body in bodies]
    assert told == ([False, True, True] if refuses else [False, True])
    assert ["response_format" in body for body in bodies] == (
        [True, False, False] if refuses else [True, True]
    )
    assert "{x}" not in json.dumps(bodies)


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

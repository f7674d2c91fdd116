"""Structured output of the offline model: each schema is filled, or refused by name."""

from __future__ import annotations

import asyncio
import re
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal, Optional, TypeVar, Union
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, HttpUrl, create_model, field_validator

from graphorch.errors import ModelError
from graphorch.models.messages import Message, Request
from graphorch.models.offline.client import OfflineClient
from graphorch.models.structured_output import find_problems
from tests.models.offline.documents import HARBOUR

M = TypeVar("M", bound=BaseModel)


def fill(model: type[M], prompt: str = f"Read this:\n{HARBOUR}", system: str = "") -> M:
    messages = (
        *((Message(role="system", content=system),) if system else ()),
        Message(content=prompt),
    )
    response = asyncio.run(
        OfflineClient().complete(Request("offline/extractive", messages, schema=model))
    )
    return model.model_validate_json(response.text)


# ---- numbers and judgements --------------------------------------------------------------------

SHORT = "Draft:\nThe gauge is old."
LONG = f"Notes:\n{HARBOUR}\n\nDraft:\n{HARBOUR}"


class Verdict(BaseModel):
    score: float = Field(ge=0, le=10)
    feedback: str = ""
    approved: bool = False
    decision: Literal["publish", "revise"] = "revise"


def test_score_follows_quality() -> None:
    """A better text gets a better score, and the judgements follow."""
    poor = fill(Verdict, f"Notes:\n{HARBOUR}\n\n{SHORT}")
    good = fill(Verdict, LONG)
    assert poor.score < 5 < 8 < good.score
    assert (poor.approved, poor.decision) == (False, "revise")
    assert (good.approved, good.decision) == (True, "publish")
    assert "Say more" in poor.feedback
    assert "gauge" not in poor.feedback.split("Not mentioned:")[0]


def test_unbounded_scores_have_scales() -> None:
    """A score without bounds is out of ten, a confidence out of one."""

    class Marks(BaseModel):
        score: float
        confidence: float

    marks = fill(Marks, LONG)
    assert 8 < marks.score <= 10
    assert 0.8 < marks.confidence <= 1


@pytest.mark.parametrize("low, high", [(0, 10), (1, 5), (-3, -1), (0, 1), (100, 100)])
def test_numbers_keep_bounds(low: int, high: int) -> None:
    """Numbers stay within the bounds of the schema."""
    model = create_model(
        "Bounded",
        score=(Annotated[int, Field(ge=low, le=high)], ...),
        level=(Annotated[float, Field(ge=low, le=high)], ...),
    )
    filled: Any = fill(model)
    assert low <= filled.score <= high
    assert low <= filled.level <= high


def test_numbers_come_from_their_sentences() -> None:
    """Numbers are found where the text speaks of them."""

    class Costs(BaseModel):
        comparison_adds: int
        spring_tide: float
        dividend: int | None

    costs = fill(Costs)
    assert (costs.comparison_adds, costs.spring_tide, costs.dividend) == (9_000, 6.2, None)


def test_counts_are_counted() -> None:
    """Words and sentences are counted."""

    class Counts(BaseModel):
        words: int
        sentence_count: int

    assert fill(Counts, "Text:\nOne two three four. Five six seven eight.") == Counts(
        words=8, sentence_count=2
    )


# ---- labels ------------------------------------------------------------------------------------


class Kind(BaseModel):
    kind: Literal["technical", "billing", "other"]


@pytest.mark.parametrize(
    "message, kind",
    [
        ("I was charged twice on my last bill, please check the billing.", "billing"),
        ("The technical manual does not say how to start it.", "technical"),
        ("Where is your office?", "other"),
    ],
)
def test_closest_label_is_chosen(message: str, kind: str) -> None:
    """The closest label is chosen, and `other` if none is close."""
    assert fill(Kind, f"Classify this message:\n{message}").kind == kind


def test_label_explanations_count() -> None:
    """Words that the prompt explains a label with count for it."""
    rules = (
        "Classify. billing: invoices, refunds, payments. "
        "technical: crashes, errors, outages. other: the rest."
    )
    assert fill(Kind, "Message:\nMy refund never came.", rules).kind == "billing"
    assert fill(Kind, "Message:\nIt shows errors all day.", rules).kind == "technical"


class Tone(Enum):
    WARM = "warm"
    COLD = "cold"


def test_label_list_holds_mentioned() -> None:
    """An enum and a list of labels hold the labels that the text mentions."""

    class Found(BaseModel):
        tone: Tone
        tones: list[Tone]

    assert fill(Found, "Text:\nIt was a cold day, and nobody minded.") == Found(
        tone=Tone.COLD, tones=[Tone.COLD]
    )


def test_union_goes_by_discriminator() -> None:
    """The variant of a union is chosen by its discriminator."""

    class Invoice(BaseModel):
        kind: Literal["invoice"]
        total: int

    class Complaint(BaseModel):
        kind: Literal["complaint"]
        reason: str

    class Mail(BaseModel):
        mail: Annotated[Invoice | Complaint, Field(discriminator="kind")]

    assert isinstance(
        fill(Mail, "Text:\nThis is a complaint about the noise at night.").mail, Complaint
    )
    assert isinstance(
        fill(Mail, "Text:\nPlease pay this invoice, the total is 40 pounds.").mail, Invoice
    )


# ---- text --------------------------------------------------------------------------------------


class Report(BaseModel):
    title: str
    summary: str
    when: date
    contact: Annotated[str, Field(json_schema_extra={"format": "email"})]
    points: list[str]
    keywords: list[str]


def test_report_comes_from_document() -> None:
    """Title, date, address, points and keywords are those of the document."""
    report = fill(Report)
    assert report.title == "Renewing the Tide Gauge at Northcliff Harbour"
    assert (report.when, report.contact) == (date(2025, 3, 14), "office@northcliff.example")
    assert report.keywords[0] == "gauge"
    text = " ".join(HARBOUR.split())
    places = [text.index(point) for point in report.points]
    assert len(places) >= 3
    assert places == sorted(places)


def test_fields_do_not_repeat_sentences() -> None:
    """Fields take different sentences, each the one closest to its name."""

    class Notes(BaseModel):
        danger: str
        money: str
        history: str

    notes = fill(Notes)
    assert len({notes.danger, notes.money, notes.history}) == 3
    assert "danger" in notes.danger
    assert "money" in notes.money


@pytest.mark.parametrize("shortest, longest", [(0, 1), (0, 20), (50, 60), (300, 400)])
def test_text_keeps_bounds(shortest: int, longest: int) -> None:
    """Text stays within the lengths of the schema."""
    model = create_model(
        "T", summary=(Annotated[str, Field(min_length=shortest, max_length=longest)], ...)
    )
    assert shortest <= len(fill(model).summary) <= longest  # type: ignore[attr-defined]


def test_formats_are_found_in_text() -> None:
    """Formats and patterns are found in the text."""

    class Forms(BaseModel):
        at: datetime
        page: HttpUrl
        code: Annotated[str, Field(pattern=r"^[A-Z]{2}-\d{3}$")]

    forms = fill(
        Forms,
        "Text:\nOn 2025-03-14 10:30 the order AB-123 was sent, "
        "see https://example.org/orders, as agreed.",
    )
    assert (forms.at, str(forms.page), forms.code) == (
        datetime(2025, 3, 14, 10, 30),
        "https://example.org/orders",
        "AB-123",
    )


@pytest.mark.parametrize(
    "annotation, needs",
    [
        (date, "date"),
        (Annotated[str, Field(pattern="^Z{9}$")], "Z{9}"),
        (Annotated[str, Field(min_length=50_000)], "50000 characters"),
        (Annotated[list[str], Field(min_length=500)], "500 items"),
    ],
)
def test_missing_value_is_refused_by_name(annotation: Any, needs: str) -> None:
    """A value that the text does not hold is refused by name, and left out where possible."""
    text = "Text:\nThe gauge is old and nobody has a better one."
    with pytest.raises(ModelError, match="'wanted'") as caught:
        fill(create_model("Needs", wanted=(annotation, ...)), text)
    assert needs in str(caught.value)
    assert not caught.value.retryable
    assert fill(create_model("Wants", wanted=(annotation | None, None)), text).wanted is None  # type: ignore[attr-defined]


def test_validator_is_checked() -> None:
    """A rule that the schema cannot express is checked as well."""

    class Picky(BaseModel):
        note: str

        @field_validator("note")
        @classmethod
        def refuse(cls, value: str) -> str:
            if value:
                raise ValueError("it must rhyme")
            return value

    with pytest.raises(ModelError, match="it must rhyme"):
        fill(Picky)
    assert fill(create_model("Lenient", __base__=Picky, note=(str, ""))).note == ""


class Tree(BaseModel):
    label: str
    children: list[Tree] = []


class Endless(BaseModel):
    again: Endless


def test_recursive_model_ends() -> None:
    """A model that holds itself is filled to a limited depth, or refused."""
    assert fill(Tree).label
    with pytest.raises(ModelError, match="without end"):
        fill(Endless)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n ",
        "\x00\x1b[2J\x07",
        "<script>alert(1)</script>",
        "\ud83d",
        "🙂",
        "a",
        "?",
        ":::",
        "- - -",
        "#",
    ],
)
def test_strange_text_fills_form(text: str) -> None:
    """Strange text makes no difference to the form."""

    class Simple(BaseModel):
        score: Annotated[int, Field(ge=0, le=10)]
        title: str
        kind: Literal["a", "b"]
        notes: list[str]
        extra: dict[str, str]

    assert fill(Simple, text).kind in ("a", "b")
    assert fill(Simple, f"Read this:\n{text}")


# ---- all schemas -------------------------------------------------------------------------------

_names = st.sampled_from(
    [
        "score",
        "title",
        "summary",
        "approved",
        "count",
        "kind",
        "notes",
        "feedback",
        "price",
        "fooBar",
        "x",
    ]
)


def _bounds(annotation: type, low: int, size: int, exclusive: bool) -> Any:
    closed = Field(gt=low, lt=low + size + 2) if exclusive else Field(ge=low, le=low + size)
    return Annotated[annotation, closed]


_numbers = st.builds(
    _bounds,
    st.sampled_from([int, float]),
    st.integers(-100, 100),
    st.integers(0, 50),
    st.booleans(),
)
_multiples = st.builds(
    lambda step: Annotated[int, Field(multiple_of=step, ge=0, le=step * 3)], st.integers(1, 7)
)
_strings = st.builds(
    lambda low, more: Annotated[str, Field(min_length=low, max_length=low + more)],
    st.integers(0, 20),
    st.integers(0, 50),
)
_literals = st.lists(
    st.sampled_from(["good", "bad", "red", "tide", "other", 1, 2, True]),
    min_size=1,
    max_size=4,
    unique=True,
).map(
    lambda labels: Literal[tuple(labels)]  # type: ignore[valid-type]
)
_leaves = st.one_of(
    st.sampled_from([int, float, str, bool, Any, Tone, Decimal, None, dict[str, int], bytes]),
    _numbers,
    _multiples,
    _strings,
    _literals,
)


def _model(fields: dict[str, Any]) -> type[BaseModel]:
    return create_model("Made", **{name: (annotation, ...) for name, annotation in fields.items()})  # type: ignore[call-overload]


def _containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        inner.map(lambda item: Optional[item]),  # noqa: UP045  (`None | None` is no type)
        inner.map(lambda item: list[item]),
        st.builds(
            lambda item, low: Annotated[list[item], Field(min_length=low, max_length=low + 2)],
            inner,
            st.integers(0, 3),
        ),
        st.lists(inner, min_size=1, max_size=3).map(lambda item: tuple[tuple(item)]),  # type: ignore[misc]
        st.builds(lambda item, other: Union[item, other], inner, inner),  # noqa: UP007
        inner.map(lambda item: dict[str, item]),
        st.dictionaries(_names, inner, min_size=1, max_size=3).map(_model),
    )


_fields = st.dictionaries(
    _names, st.recursive(_leaves, _containers, max_leaves=6), min_size=1, max_size=4
)
_texts = st.sampled_from([HARBOUR, "", "a b", SHORT])


@given(_fields, _texts)
@settings(max_examples=25)
def test_every_schema_is_filled(fields: dict[str, Any], text: str) -> None:
    """No field asks for a form that only a text could supply: only a lack of text may refuse."""
    check_filled(fields, text)


@pytest.mark.slow
@given(_fields, _texts)
@settings(max_examples=1_000)
def test_very_many_schemas_are_filled(fields: dict[str, Any], text: str) -> None:
    """The property of every schema, with many more examples."""
    check_filled(fields, text)


def check_filled(fields: dict[str, Any], text: str) -> None:
    model = _model(fields)
    refused = ""
    try:
        assert isinstance(fill(model, f"Read this:\n{text}"), model)
    except ModelError as error:
        refused = str(error)
    assert not refused or (
        text != HARBOUR and re.search("needs [0-9]+ (characters|items|entries)", refused)
    ), refused


def test_left_out_fields_get_defaults() -> None:
    """Write the default of every field that is left out, since an answer gives every key."""

    class Part(BaseModel):
        code: UUID | None = None
        label: Annotated[str, Field(pattern="^Q+$")] = "Q"

    class Whole(BaseModel):
        parts: list[Part] = []
        main: Part = Part()
        code: UUID = UUID(int=0)
        at: datetime = Field(default=datetime(2020, 1, 1), alias="theTime")

    value = fill(Whole)
    assert value.model_fields_set == {"parts", "main", "code", "at"}
    assert find_problems(value.model_dump_json(by_alias=True), Whole) == []
    assert (value.main.label, value.at.year) == ("Q", 2020)

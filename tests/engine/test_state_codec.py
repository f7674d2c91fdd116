"""Updates as JSON and back: equal, or refused when they are written."""

from __future__ import annotations

import datetime
import enum
import json
import math
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from graphorch import Graph, JournalError, WrongOutput, append, node
from graphorch.engine.state_codec import (
    CodecCache,
    PlanCodec,
    is_plain_type,
    measure_json,
)
from graphorch.errors import Unstorable
from graphorch.journal.codec import BodyLimits
from graphorch.state.slices import Schema


class Color(enum.Enum):
    RED = "red"


class Point(BaseModel):
    x: int = 0
    names: set[str] = set()


class Wide(Point):
    y: int = 0


class Thing: ...


class State(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    number: int = 0
    ratio: float = 0.0
    text: str = ""
    log: Annotated[list[str], append] = []
    kind: Literal["a", "b"] = "a"
    maybe: str | None = None
    color: Color = Color.RED
    day: datetime.date = datetime.date(2024, 1, 1)
    pair: tuple[int, str] = (0, "")
    point: Point = Point()
    table: dict[str, list[Point]] = {}
    odd: dict[tuple[int, int], str] = {}
    data: bytes = b""
    free: Any = None
    bare: dict = {}  # type: ignore[type-arg]
    thing: Thing | None = None
    renamed: int = Field(0, alias="Renamed")


SCHEMA = Schema(State)
CODEC = PlanCodec(SCHEMA)


def roundtrip(name: str, value: Any) -> Any:
    index = SCHEMA.by_name[name].index
    values, notes, _ = json.loads(json.dumps(CODEC.encode({index: value})))
    assert list(values) == [name]
    (back,) = CODEC.decode(values, notes).items()
    assert back[0] == index
    return back[1]


@pytest.mark.parametrize(
    "name, value",
    [
        ("number", 3), ("number", 2**80), ("ratio", 0.1), ("ratio", -0.0),
        ("text", "ünï\n\t\u2028"), ("log", ["a", "b"]), ("kind", "b"),
        ("maybe", None), ("maybe", "x"), ("color", Color.RED), ("day", datetime.date(2024, 2, 29)),
        ("pair", (1, "a")), ("point", Point(x=1, names={"a"})), ("table", {"k": [Point(x=2)]}),
        ("data", b"text"), ("data", b"\xff"), ("free", {"a": [1, None, True]}),
        ("free", (1, Color.RED)), ("renamed", 4),
        ("ratio", math.inf), ("thing", None),
    ],
)  # fmt: skip
def test_codec_restores_value(name: str, value: Any) -> None:
    back = roundtrip(name, value)
    assert back == value
    assert type(back) is type(value)


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(PLAIN)
def test_codec_restores_any_json(value: Any) -> None:
    assert roundtrip("free", value) == value


@pytest.mark.parametrize(
    "name, value, why",
    [
        ("free", Point(x=1), "it comes back as {'x': 1, 'names': []}"),
        ("point", Wide(x=1, y=2), "it comes back as Point(x=1, names=set())"),
        ("odd", {(1, 2): "a"}, "it does not come back: "),
        ("text", "\ud800", ""),
        ("free", Thing(), "Error serializing to JSON: "),
        ("thing", Thing(), "Unable to serialize unknown type"),
    ],
)
def test_encode_refuses_lossy_value(name: str, value: Any, why: str) -> None:
    """Lossy values are refused with the name of the field."""
    with pytest.raises(Unstorable) as caught:
        roundtrip(name, value)
    assert str(caught.value).startswith(f"'{name}' = ")
    assert f"cannot be kept in the journal: {why}" in str(caught.value)
    assert str(caught.value).endswith(
        "Use a type that survives JSON, or give the field a serializer and a validator."
    )
    assert isinstance(caught.value, WrongOutput)


def test_encode_error_truncates_value() -> None:
    with pytest.raises(Unstorable) as caught:
        roundtrip("text", "x" * 1000 + "\ud800")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "stored, message",
    [
        ([], "A stored update is a list, not an object. The journal is damaged."),
        (
            {"gone": 1},
            "A stored update has the field 'gone', which the state does not have any more. "
            "Register a migration.",
        ),
        (
            {"number": "many"},
            "The stored value of 'number' does not fit its type any more: "
            "Input should be a valid integer",
        ),
        (
            {"kind": "c"},
            "The stored value of 'kind' does not fit its type any more: Input should be 'a' or 'b'",
        ),
    ],
)
def test_decode_names_misfit(stored: Any, message: str) -> None:
    with pytest.raises(JournalError) as caught:
        CODEC.decode(stored)
    assert str(caught.value).startswith(message)


def test_codec_restores_empty_update() -> None:
    assert CODEC.encode({}) == ({}, None, 0)
    assert CODEC.decode({}) == {}


def test_plain_values_need_no_notes() -> None:
    """Notes are there if one field of an update is not plain JSON, for those that need some."""
    number, point = SCHEMA.by_name["number"].index, SCHEMA.by_name["point"].index
    assert CODEC.encode({number: 1}).notes is None
    assert CODEC.encode({number: 1, point: Point(x=1, names=set())}).notes == {}
    assert CODEC.encode({point: Point(x=1)}).notes == {"point": {"unset": [[["names"], [0]]]}}


def test_values_without_notes_are_read_as_before() -> None:
    """Formats 1 and 2 have no notes: bytes were text there, and a zone was an offset."""
    back = CODEC.decode({"data": "text", "point": {"x": 1, "names": ["a"]}})
    assert list(back.values()) == [b"text", Point(x=1, names={"a"})]


@pytest.mark.parametrize("notes", [[], 1, {"point": 1}, {"point": {"unset": 5}}])
def test_damaged_notes_are_named(notes: Any) -> None:
    with pytest.raises(JournalError, match=r"damaged|does not fit"):
        CODEC.decode({"point": {"x": 1}}, notes)


# ---- size ----------------------------------------------------------------------------------------
SMALL = PlanCodec(SCHEMA, BodyLimits(max_bytes=1_600, max_depth=10))


def test_large_value_names_field_and_sizes() -> None:
    """What does not fit into a record is refused with the largest field and its size."""
    text, log = SCHEMA.by_name["text"].index, SCHEMA.by_name["log"].index
    assert SMALL.encode({text: "x" * 1_400}).values == {"text": "x" * 1_400}
    with pytest.raises(Unstorable) as caught:
        SMALL.encode({text: "x" * 900, log: ["y" * 700]})
    assert str(caught.value) == (
        "'text' takes 902 bytes as JSON, and all that is written with it 1,606. A record of this "
        "journal holds 1,500. Keep large content elsewhere and store a reference to it, or raise "
        "the limits of the store."
    )


@pytest.mark.parametrize(
    "name, make", [("free", lambda inner: [inner]), ("free", lambda i: {"a": i})]
)
def test_deep_value_names_field(name: str, make: Any) -> None:
    """A value that nests deeper than a record may is refused with its field."""
    value: Any = 1
    for _ in range(6):
        value = make(value)
    index = SCHEMA.by_name[name].index
    assert SMALL.encode({index: value}).values == {"free": value}
    with pytest.raises(Unstorable, match=r"^'free' = .* nests deeper than 6 levels\. Keep large"):
        SMALL.encode({index: make(value)})


def test_deep_value_of_bare_type_names_field() -> None:
    """A container that does not say what it holds is measured as well."""
    value: dict[str, Any] = {}
    for _ in range(7):
        value = {"a": value}
    with pytest.raises(Unstorable, match=r"^'bare' = .* nests deeper than 6 levels"):
        SMALL.encode({SCHEMA.by_name["bare"].index: value})


def test_huge_integer_names_field() -> None:
    with pytest.raises(Unstorable, match=r"^'number' = 1\d*… cannot be kept .* 4,096 bits"):
        CODEC.encode({SCHEMA.by_name["number"].index: 2**4096 * 0 + 10**1300})


def test_cache_keeps_codec_per_plan() -> None:
    class Number(BaseModel):
        n: int = 0

    @node
    async def look(number: Number) -> None: ...

    first, second = (Graph(name, Number).chain(look).build().plan for name in "ab")
    codecs = CodecCache()
    assert codecs.of(first) is codecs.of(first)
    assert codecs.of(first) is not codecs.of(second)


@pytest.mark.parametrize(
    "annotation, is_plain",
    [
        (int, True), (str | None, True), (list[dict[str, float]], True),
        (Literal["a", 1, None], True), (dict[int, str], False), (tuple[int, ...], False),
        (list, False), (Any, False), (bytes, False), (Point, False), (set[int], False),
        (Literal[Color.RED], False), (list[Point], False),
    ],
)  # fmt: skip
def test_plain_type_holds_json_only(annotation: Any, is_plain: bool) -> None:
    assert is_plain_type(annotation) == is_plain


@given(PLAIN)
def test_measured_json_survives_with_types(value: Any) -> None:
    """What can be measured comes back as it was, and takes no more bytes than measured."""
    size = measure_json(value, 60)
    if size >= 0:
        text = json.dumps(value, ensure_ascii=False)
        assert repr(json.loads(text)) == repr(value)
        assert len(text.encode()) <= size


class Whole(int): ...


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        "\ud800",
        "x" * 200_000 + "\ud800",
        (1,),
        {1: 2},
        b"",
        Whole(3),
        [math.nan],
        {"a": {1}},
        {"\ud800": 1},
        2**5000,
        [[[[1]]]],
    ],
)
def test_inexact_json_is_recognized(value: Any) -> None:
    assert measure_json(value, 3) < 0

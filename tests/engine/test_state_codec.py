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
    Unstorable,
    is_exact_json,
    is_plain_type,
)
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
    thing: Thing | None = None
    renamed: int = Field(0, alias="Renamed")


SCHEMA = Schema(State)
CODEC = PlanCodec(SCHEMA)


def roundtrip(name: str, value: Any) -> Any:
    index = SCHEMA.by_name[name].index
    stored = json.loads(json.dumps(CODEC.encode({index: value})))
    assert list(stored) == [name]
    (back,) = CODEC.decode(stored).items()
    assert back[0] == index
    return back[1]


@pytest.mark.parametrize(
    "name, value",
    [
        ("number", 3), ("number", 2**80), ("ratio", 0.1), ("ratio", -0.0),
        ("text", "ünï\n\t\u2028"), ("log", ["a", "b"]), ("kind", "b"),
        ("maybe", None), ("maybe", "x"), ("color", Color.RED), ("day", datetime.date(2024, 2, 29)),
        ("pair", (1, "a")), ("point", Point(x=1, names={"a"})), ("table", {"k": [Point(x=2)]}),
        ("data", b"text"), ("free", {"a": [1, None, True]}), ("renamed", 4),
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
        ("free", (1, 2), "it comes back as [1, 2]"),
        ("free", {1: 2}, "it comes back as {'1': 2}"),
        ("free", Color.RED, "it comes back as 'red'"),
        ("point", Wide(x=1, y=2), "it comes back as Point(x=1, names=set())"),
        ("odd", {(1, 2): "a"}, "it does not come back: "),
        ("ratio", math.nan, "it does not come back: Input should be a valid number"),
        ("ratio", math.inf, "it does not come back: Input should be a valid number"),
        (
            "data",
            b"\xff",
            "Error serializing to JSON: invalid utf-8 sequence of 1 bytes from index 0",
        ),
        ("text", "\ud800", ""),
        ("free", Thing(), ""),
        ("thing", Thing(), "pydantic does not know how to write its type"),
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
        roundtrip("free", ("x" * 1000,))
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
    assert CODEC.encode({}) == {}
    assert CODEC.decode({}) == {}


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
def test_exact_json_survives_with_types(value: Any) -> None:
    if is_exact_json(value):
        assert repr(json.loads(json.dumps(value))) == repr(value)


class Whole(int): ...


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        "\ud800",
        (1,),
        {1: 2},
        b"",
        Whole(3),
        [math.nan],
        {"a": {1}},
        {"\ud800": 1},
    ],
)
def test_inexact_json_is_recognized(value: Any) -> None:
    assert not is_exact_json(value)

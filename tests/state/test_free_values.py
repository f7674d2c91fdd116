"""Values of fields without a type: plain data of Python comes back, and nothing else is made."""

from __future__ import annotations

import datetime
import enum
import json
import os
from collections import Counter, OrderedDict, deque
from decimal import Decimal
from pathlib import Path, PureWindowsPath
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretBytes, SecretStr
from pydantic_core import TzInfo

from graphorch.state.free_values import FreeValues, Unnamed
from graphorch.state.identity import is_identical
from graphorch.state.value_codec import ValueCodec

BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime.datetime(2026, 3, 28, 12)


class Level(enum.StrEnum):
    LOW = "low"


class Holder(BaseModel):
    class Bits(enum.Flag):
        A = 1
        B = 2

    free: Any = None
    named: dict[str, Any] = {}
    bare: dict = {}  # type: ignore[type-arg]
    items: list[Any] = []
    bare_items: list = []  # type: ignore[type-arg]
    pair: tuple = ()  # type: ignore[type-arg]
    members: set = set()  # type: ignore[type-arg]
    recent: deque = deque()  # type: ignore[type-arg]


FREE = FreeValues({Holder})
VALUES: list[tuple[Any, Any]] = [
    (None, None), (True, True), (3, 3), (2.5, 2.5), (-0.0, -0.0), ("x", "x"), ([1], [1]),
    ({"a": {"b": [1]}}, {"a": {"b": [1]}}),
    ((1, (2,)), {"$": "tuple", "is": [1, {"$": "tuple", "is": [2]}]}),
    ({1: "a"}, {"$": "dict", "is": [[1, "a"]]}),
    ({"$": "tuple", "is": [1]}, {"$": "dict", "is": [["$", "tuple"], ["is", [1]]]}),
    ({1, 2}, {"$": "set", "is": [1, 2]}), (frozenset({1}), {"$": "frozenset", "is": [1]}),
    (Counter("aab"), {"$": "Counter", "is": [["a", 2], ["b", 1]]}),
    (OrderedDict(b=1, a=2), {"$": "OrderedDict", "is": [["b", 1], ["a", 2]]}),
    (deque([1], maxlen=2), {"$": "deque", "is": [[1], 2]}),
    (deque([1]), {"$": "deque", "is": [[1], None]}),
    (b"\xff", {"$": "bytes", "is": "/w=="}), ("\ud83d", {"$": "text", "is": "7aC9"}),
    (float("nan"), {"$": "float", "is": "nan"}), (float("-inf"), {"$": "float", "is": "-inf"}),
    (
        NOON.replace(tzinfo=BERLIN),
        {"$": "datetime", "is": "2026-03-28T12:00:00+01:00[Europe/Berlin]"},
    ),
    (NOON.replace(tzinfo=TzInfo(60)), {"$": "datetime", "is": "2026-03-28T12:00:00+00:01"}),
    (NOON.replace(fold=1), {"$": "datetime", "is": "2026-03-28T12:00:00[_fold=1]"}),
    (datetime.time(1, tzinfo=BERLIN), {"$": "time", "is": "01:00:00[Europe/Berlin]"}),
    (datetime.date(2026, 1, 1), {"$": "date", "is": "2026-01-01"}),
    (datetime.timedelta(1, 2, 3), {"$": "timedelta", "is": [1, 2, 3]}),
    (Decimal("1.00"), {"$": "Decimal", "is": "1.00"}), (1 + 2j, {"$": "complex", "is": "(1+2j)"}),
    (UUID(int=3), {"$": "UUID", "is": str(UUID(int=3))}),
    (Path("/a"), {"$": "PosixPath", "is": "/a"}),
    (PureWindowsPath("a"), {"$": "PureWindowsPath", "is": "a"}),
    (Level.LOW, {"$": "enum", "is": ["Level", "low"]}),
    (Holder.Bits.A | Holder.Bits.B, {"$": "enum", "is": ["Holder.Bits", 3]}),
]  # fmt: skip


@pytest.mark.parametrize("value, stored", VALUES)
def test_plain_data_comes_back(value: Any, stored: Any) -> None:
    """Each kind is written as it is, or with its name, and read as it was."""
    written = FREE.write(value)
    assert json.dumps(written) == json.dumps(stored)
    assert is_identical(FREE.read(json.loads(json.dumps(written))), value)


@pytest.mark.parametrize("name", ["free", "named", "bare", "items", "bare_items", "pair"])
@pytest.mark.parametrize("value", [value for value, _ in VALUES])
def test_fields_without_type_carry_it(name: str, value: Any) -> None:
    """That is so wherever a field does not say what it holds."""
    whole = {"free": value, "pair": (value,)}.get(
        name, [value] if "items" in name else {"k": value}
    )
    codec = ValueCodec(Holder, name)
    written = codec.write(whole)
    assert is_identical(codec.read(json.loads(json.dumps(written.value)), written.notes), whole)


ATOMS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.dates()
)
KEYS = st.integers() | st.text() | st.tuples(st.integers())


@given(
    st.recursive(
        ATOMS,
        lambda inner: (
            st.lists(inner)
            | st.tuples(inner, inner)
            | st.dictionaries(KEYS, inner)
            | st.frozensets(KEYS)
        ),
        max_leaves=8,
    )
)
def test_any_nesting_comes_back(value: Any) -> None:
    text = json.dumps(FREE.write(value))
    assert is_identical(FREE.read(json.loads(text)), value)


def make_enum() -> Any:
    class Inside(enum.Enum):
        A = 1

    return Inside.A


@pytest.mark.parametrize("value", [Holder(), object(), len, make_enum(), bytearray(b"a"), range(3)])
def test_other_value_has_no_word(value: Any) -> None:
    with pytest.raises(Unnamed, match="has no word in JSON"):
        FREE.write({"a": [value]})


@pytest.mark.parametrize("secret", [SecretStr("key"), SecretBytes(b"\xff")])
def test_secret_has_word_in_pipe_only(secret: Any) -> None:
    """A secret goes to a worker process, and is not written to a file."""
    pipe = FreeValues({Holder}, reveals=True)
    written = pipe.write({"a": secret})
    assert is_identical(pipe.read(json.loads(json.dumps(written))), {"a": secret})
    with pytest.raises(Unnamed):
        FREE.write(secret)
    with pytest.raises(ValueError, match="KeyError"):
        FREE.read(written)


@pytest.mark.parametrize(
    "stored",
    [
        {"$": "object", "is": 1}, {"$": "tuple"}, {"$": [1], "is": 1}, {"$": "dict", "is": [1]},
        {"$": "set", "is": [[1]]}, {"$": "deque", "is": 5}, {"$": "deque", "is": [[1], -1]},
        {"$": "datetime", "is": 5}, {"$": "datetime", "is": "now"}, {"$": "bytes", "is": "€"},
        {"$": "Decimal", "is": "x"}, {"$": "UUID", "is": 1}, {"$": "timedelta", "is": [1e300]},
        {"$": "enum", "is": ["Level", "high"]}, {"$": "enum", "is": ["json.dumps", 1]},
        {"$": "enum", "is": ["pytest.mark.x", 1]}, {"$": "enum", "is": 1}, {"$": "float", "is": []},
        {"$": "WindowsPath" if os.name == "posix" else "PosixPath", "is": "a"},
    ],
)  # fmt: skip
def test_damaged_value_is_refused(stored: Any) -> None:
    """What is stored can name a kind of plain data, and an enum of the models' modules."""
    with pytest.raises(ValueError):  # noqa: PT011  (each kind has its own words)
        FREE.read(stored)

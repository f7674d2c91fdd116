"""Values described to the last detail: different ones differ, copies do not."""

from __future__ import annotations

import copy
import datetime
import decimal
import enum
import re
import threading
from collections import Counter, OrderedDict, defaultdict, deque
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, PrivateAttr, Secret, SecretBytes, SecretStr

from graphorch.state.identity import Indescribable, describe, is_identical

BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime.datetime(2026, 3, 28, 12)


class Level(enum.StrEnum):
    LOW = "low"


class Flag(enum.Flag):
    A = 1
    B = 2


class User(BaseModel):
    model_config = ConfigDict(extra="allow")
    name: str = ""
    key: SecretStr = SecretStr("")
    _token: str = PrivateAttr("")

    @cached_property
    def upper(self) -> str:
        return self.name.upper()


def user(token: str) -> User:
    made = User()
    made._token = token
    return made


class Thing:
    def __init__(self, x: int) -> None:
        self.x = x


DIFFERENT: list[Any] = [
    1, True, 1.0, "1", "low", Level.LOW, Flag.A, Flag.A | Flag.B, 0.0, -0.0, float("nan"), None,
    b"", (1,), [1], {1}, frozenset({1}), {1: 2}, {"1": 2}, {"a": 1, "b": 2}, {"b": 2, "a": 1},
    Counter("a"), {"a": 1}, OrderedDict(a=1), defaultdict(int, a=1), defaultdict(list, a=1),
    deque([1]), deque([1], maxlen=3), decimal.Decimal("1.0"), decimal.Decimal("1.00"),
    NOON, NOON.replace(fold=1), NOON.replace(tzinfo=BERLIN), NOON.replace(tzinfo=datetime.UTC),
    NOON.replace(tzinfo=ZoneInfo("UTC")), datetime.time(12), datetime.time(12, tzinfo=BERLIN),
    datetime.timezone(datetime.timedelta(0), "Z"), Path("a"), UUID(int=1), re.compile("a"),
    re.compile("a", re.IGNORECASE), SecretStr("a"), SecretStr("b"), SecretBytes(b"a"), Secret(1),
    User(), User(name=""), User(name="a"), User(key=SecretStr("k")), User(other=1),  # type: ignore[call-arg]
    user("a"), user("b"), Thing(1), Thing(2), int, len, Thing, ..., range(3), datetime.timedelta(1),
]  # fmt: skip


@pytest.mark.parametrize("index", range(len(DIFFERENT)))
def test_values_are_identical_to_copies_only(index: int) -> None:
    """Each value is identical to a copy of itself, and to none of the others."""
    twin = copy.deepcopy(DIFFERENT[index])
    found = [is_identical(value, twin) for value in DIFFERENT]
    assert [number for number, is_same in enumerate(found) if is_same] == [index]
    assert hash(describe(twin)) == hash(describe(DIFFERENT[index]))


@given(st.recursive(st.integers() | st.floats() | st.text() | st.booleans(), st.lists), st.data())
def test_identity_is_stricter_than_equality(value: Any, data: st.DataObject) -> None:
    """Identical values are equal, but for NaN; a copy is identical."""
    assert is_identical(value, copy.deepcopy(value))
    other = data.draw(st.sampled_from([value, [value], str(value)]))
    assert not is_identical(value, other) or repr(value) == repr(other)


def test_cached_property_is_no_part() -> None:
    read, fresh = User(name="a"), User(name="a")
    assert read.upper == "A"
    assert is_identical(read, fresh)


def test_circle_is_described() -> None:
    """A list that holds itself is identical to another one that does."""
    one: list[Any] = [1]
    other: list[Any] = [1]
    one.append(one)
    other.append(other)
    assert describe(one) == describe(other)


def test_lock_cannot_be_described() -> None:
    with pytest.raises(Indescribable, match="a lock cannot be described"):
        describe({"a": threading.Lock()})


def test_deep_value_cannot_be_described() -> None:
    value: Any = 1
    for _ in range(100_000):
        value = [value]
    with pytest.raises(Indescribable, match="nested too deeply"):
        describe(value)


class Locked:
    """Object without a description, which defines what equals it."""

    def __init__(self, x: object) -> None:
        self.x = x
        self.lock = threading.Lock()

    def __eq__(self, other: object) -> bool:
        if self.x == "array":
            raise ValueError("the truth of an array")
        return isinstance(other, Locked) and self.x == other.x

    __hash__ = None  # type: ignore[assignment]


def test_indescribable_objects_are_asked() -> None:
    """Objects that cannot be described are identical if they say so themselves."""
    assert is_identical(Locked(1), Locked(1))
    assert not is_identical(Locked(1), Locked(2))
    assert not is_identical(Locked("array"), Locked("array"))

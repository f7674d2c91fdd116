"""Keys of values: equal values have one key, in every process; others have another one."""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest
from pydantic import BaseModel

from graphorch.state.content_key import compute_key


class Kind(Enum):
    A = 1
    B = 2


class Page(BaseModel):
    url: str
    tags: set[str] = set()
    more: dict[str, list[int]] = {}


@dataclass
class Point:
    x: float
    y: float


DIFFERENT: list[Any] = [
    None,
    0,
    1,
    1.5,
    "1",
    b"1",
    True,
    "",
    [],
    (),
    {},
    set[int](),
    ["a", "b"],
    ["ab"],
    ["a", ["b"]],
    [["a"], "b"],
    {"a": "b"},
    {"a": ["b"]},
    Kind.A,
    Kind.B,
    Point(1, 2),
    Point(2, 1),
    Decimal("1.50"),
    datetime.date(2026, 1, 1),
    datetime.datetime(2026, 1, 1),
    Page(url="a"),
    Page(url="b"),
    Page(url="a", tags={"x"}),
    Page(url="a", more={"x": [1, 2]}),
    Page(url="a", more={"x": [12]}),
]


def test_different_values_have_different_keys() -> None:
    """No two of these values have the same key."""
    keys = [compute_key(value) for value in DIFFERENT]
    assert len({*keys}) == len(DIFFERENT)
    assert {len(key) for key in keys} == {16}


def test_order_of_sets_does_not_count() -> None:
    """Sets and dictionaries that are equal have one key, however they were made."""
    assert compute_key({"a": 1, "b": {1, 2, 9}}) == compute_key({"b": {9, 2, 1}, "a": 1})
    assert compute_key(Page(url="a")) == compute_key(Page(url="a", tags=set()))


def test_key_is_equal_in_every_process() -> None:
    """Another process, whose hashes are others, computes the same key."""
    program = (
        "from graphorch.state.content_key import compute_key; print(compute_key({'a', 'b', 'c'}))"
    )
    keys = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert keys == {compute_key({"c", "b", "a"})}


def test_unknown_content_has_no_key() -> None:
    """A value of which nothing is known is refused, at any depth."""
    with pytest.raises(TypeError, match="what is in a object is not known"):
        compute_key([{"a": object()}])

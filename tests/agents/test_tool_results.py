"""Results of tools as texts: everything that a function may return, also what cannot be written."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr

from graphorch.agents.tool_results import collect_items, finish, write_result
from graphorch.journal.codec import dump


class Depth(BaseModel):
    metres: float


@dataclass
class Share:
    part: float


class Odd:
    def __str__(self) -> str:
        return "odd"


class Silent:
    def __str__(self) -> str:
        raise RuntimeError("no text")


def count_two() -> Iterator[int]:
    yield from (1, 2)


def count_forever() -> Iterator[int]:
    number = 0
    while True:
        yield number
        number += 1


async def count_later() -> AsyncIterator[int]:
    for number in (1, 2):
        yield number


async def count_later_forever() -> AsyncIterator[int]:
    number = 0
    while True:
        yield number
        number += 1


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ("tides", "tides"),
        ("", ""),
        ("half \ud83d", "half \\ud83d"),
        (None, "null"),
        (Depth(metres=1.5), '{"metres":1.5}'),
        ([Depth(metres=1.5)], '[{"metres":1.5}]'),
        (b"tides", '"tides"'),
        (b"\xff\x00", '"_wA="'),
        ({"thumb": b"\xff", "n": 1}, '{"thumb": "_w==", "n": 1}'),
        (["half \ud83d", "ä"], '["half \\ud83d", "\\u00e4"]'),
        (math.nan, "NaN"),
        (math.inf, "Infinity"),
        (Odd(), '"odd"'),
        (Silent(), '"<Silent whose text raises RuntimeError>"'),
        ({(1, 2): "a"}, '{"1,2":"a"}'),
        (ValueError("boom"), '"boom"'),
        (memoryview(b"ab"), '"ab"'),
        ({"b", "a", "c"}, '["a","b","c"]'),
        ([{3, 1}, (x for x in "ab")], '[[1,3],["a","b"]]'),
        (object(), '"<object object>"'),
        (datetime(2026, 11, 30, tzinfo=UTC), '"2026-11-30T00:00:00Z"'),
        (Decimal("1.10"), '"1.10"'),
        (Share(part=0.5), '{"part":0.5}'),
        (10**40, f"{10**40}"),
        (SecretStr("password"), '"**********"'),
    ],
)
def test_result_is_written(result: object, text: str) -> None:
    assert write_result(result) == text


def test_impossible_result_says_why() -> None:
    """A value that contains itself, or is nested too deeply, is an error with the reason."""
    cyclic: list[Any] = []
    cyclic.append(cyclic)
    with pytest.raises(ValueError, match="Circular reference"):
        write_result(cyclic)
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ValueError, match=r"depth|recursion|RecursionError"):
        write_result(deep)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.binary()
        | st.text(st.characters()),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()), inner),
    )
)
def test_any_value_can_be_sent(value: object) -> None:
    """Whatever a tool returns, its text can be part of a request: JSON, or the text itself."""
    text = write_result(value)
    text.encode("utf-8")
    if not isinstance(value, str):
        json.loads(text)


@pytest.mark.parametrize(
    ("endless", "place"),
    [({"ids": count()}, "ids"), ([[count()]], 0), ({"a": ({"b": count()},)}, "a")],
)
def test_endless_iterator_ends(endless: Any, place: Any) -> None:
    """An iterator anywhere inside of a result is cut like one that is the result."""
    written = write_result(endless)
    assert json.loads(written)[place]
    assert "… more items were left out" in written


@pytest.mark.parametrize(
    "result",
    [
        "x" * 50_000_000,
        b"\xff" * 50_000_000,
        ["x" * 1_000_000] * 50,
        pytest.param("\0" * 3_000_000, id="control characters"),
    ],
)
def test_result_is_too_large(result: object) -> None:
    """What a record of a journal could not hold is refused, with its size and what to do."""
    with pytest.raises(ValueError, match=r"it takes [\d,]+ bytes, and 12,000,000 can be kept"):
        write_result(result)


def test_largest_result_fits_record() -> None:
    """Five megabytes, and whatever is not refused, fit into a record with all its escapes."""
    for text in ("line\n" * 1_000_000, "\0" * 1_999_000, "ä" * 5_900_000):
        assert write_result(text) == text
        dump({"text": text})


def test_generators_are_collected() -> None:
    """What a generator yields is a list; an endless one is cut, and says so."""
    assert collect_items(count_two()) == [1, 2]
    assert asyncio.run(finish(count_later())) == [1, 2]
    endless: Any = collect_items(count_forever())
    assert (len(endless), endless[-1]) == (1_001, "… more items were left out")
    later: Any = asyncio.run(finish(count_later_forever()))
    assert (len(later), later[-1]) == (1_001, "… more items were left out")


def test_awaitables_are_awaited() -> None:
    async def depth() -> Depth:
        return Depth(metres=2)

    async def main() -> object:
        return await finish(depth())

    assert asyncio.run(main()) == Depth(metres=2)
    assert asyncio.run(finish("tides")) == "tides"

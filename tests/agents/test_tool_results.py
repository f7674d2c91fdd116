"""Results of tools as texts: everything that a function may return, also what cannot be written."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from graphorch.agents.tool_results import collect_items, finish, write_result


class Depth(BaseModel):
    metres: float


class Odd:
    def __str__(self) -> str:
        return "odd"


class Silent:
    def __str__(self) -> str:
        raise RuntimeError("no text")


def count() -> Iterator[int]:
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


def test_generators_are_collected() -> None:
    """What a generator yields is a list; an endless one is cut, and says so."""
    assert collect_items(count()) == [1, 2]
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

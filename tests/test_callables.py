"""Callables of users: whether a call of them runs anything, and what they are called."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from graphorch.callables import (
    discard,
    find_annotated,
    get_name,
    is_async,
    is_unfinished,
    never_runs,
)


def plain(x: int) -> int:
    return x


async def waits(x: int) -> int:
    return x


def yields(x: int) -> Iterator[int]:
    yield x


async def streams(x: int) -> AsyncIterator[int]:
    yield x


class Plain:
    def __call__(self, x: int) -> int:
        return x

    async def waits(self, x: int) -> int:
        return x


class Waits:
    async def __call__(self, x: int) -> int:
        return x


PLAIN: list[Any] = [plain, Plain(), functools.partial(plain, 1), len, int, Plain, lambda: 1]
ASYNC: list[Any] = [waits, Waits(), Plain().waits, functools.partial(Waits()), Plain.waits]


@pytest.mark.parametrize("function", PLAIN, ids=get_name)
def test_plain_callable_runs(function: object) -> None:
    assert (is_async(function), never_runs(function)) == (False, False)


@pytest.mark.parametrize("function", [*ASYNC, functools.partial(functools.partial(waits, 1))])
def test_async_callable_is_known(function: object) -> None:
    """Methods, partials and objects with an async `__call__` are async as well."""
    assert (is_async(function), never_runs(function)) == (True, True)


@pytest.mark.parametrize("function", [yields, streams, functools.partial(yields)])
def test_generator_never_runs(function: object) -> None:
    assert (is_async(function), never_runs(function)) == (False, True)


def test_task_is_under_way() -> None:
    """A coroutine and a generator wait for somebody to run them; a task does not."""

    async def main() -> list[bool]:
        coroutine, task = waits(1), asyncio.ensure_future(waits(1))
        found = [is_unfinished(item) for item in (coroutine, yields(1), streams(1), task, 1, None)]
        discard(coroutine)
        await task
        return found

    assert asyncio.run(main()) == [True, True, True, False, False, False]


def test_annotations_are_found() -> None:
    """The annotations of a partial are its function's, those of an object its `__call__`'s."""
    assert find_annotated(functools.partial(plain, 1)) is plain
    assert find_annotated(Waits()) is Waits.__call__
    assert find_annotated(Plain) is Plain


def test_callables_have_names() -> None:
    assert [get_name(item) for item in (plain, functools.partial(plain), Waits(), Plain)] == [
        "plain",
        "plain",
        "Waits",
        "Plain",
    ]

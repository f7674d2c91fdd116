"""Callables of users: whether a call of them runs anything, and what they are called."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import numpy
import pytest

from graphorch.callables import (
    discard,
    find_annotated,
    find_loaded_names,
    find_used_attributes,
    get_name,
    is_async,
    is_stub,
    is_unfinished,
    list_set_attributes,
    never_returns_value,
    never_runs,
    read_verdict,
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


# ---- bodies --------------------------------------------------------------------------------------
def dots(x: Any) -> Any: ...


def passes(x: Any) -> Any:
    """Do nothing."""


def forgets(x: Any) -> Any:
    x.upper()


def assigns(x: Any) -> Any:
    prompt = f"Write about {x}."
    if prompt:
        return None
    return


def half(x: Any) -> Any:
    if x:
        return "text"
    return None


def chooses(x: Any) -> Any:
    return "text" if x else None


def chooses_otherwise(x: Any) -> Any:
    return None if x else "text"


def gives(x: Any) -> Any:
    return f"Write about {x}."


def raises(x: Any) -> Any:
    raise NotImplementedError


@functools.wraps(dots)
def wrapped(*args: Any) -> Any:
    return dots(*args)


class Dots:
    def __call__(self, x: Any) -> Any: ...


@pytest.mark.parametrize(
    ("function", "stub", "never"),
    [
        (dots, True, False),
        (passes, True, False),
        (Dots(), True, False),
        (functools.partial(dots), True, False),
        (wrapped, True, False),
        (forgets, False, True),
        (assigns, False, True),
        (half, False, False),
        (chooses, False, False),
        (chooses_otherwise, False, False),
        (gives, False, False),
        (raises, False, False),
        (len, False, False),
        (lambda x: x, False, False),
    ],
)
def test_body_of_function_is_known(function: Any, stub: bool, never: bool) -> None:
    """A function without a body is told from one whose every way returns nothing."""
    assert is_stub(function) is stub
    assert never_returns_value(function) is never


def sets(x: Any, y: Any) -> None:
    x.a = 1
    y.b += 2
    x.a = y.c
    z = y
    z.d = x
    print(x.e, y[0].f)


def test_set_attributes_are_listed() -> None:
    """Attributes that a function sets on its own parameters are found, each once."""
    assert list_set_attributes(sets) == [("x", "a"), ("y", "b")]
    assert list_set_attributes(dots) == []
    assert list_set_attributes(len) == []


@pytest.mark.parametrize(
    ("function", "used"),
    [
        (lambda s: s.a + s.b.lower(), {"a", "b"}),
        (lambda s: "nothing", set()),
        (lambda s: [x for x in s.items if x in s.known], {"items", "known"}),
        (lambda s: any(x == s.a for x in s.items), {"a", "items"}),
        (lambda s: (lambda: s.z)(), {"z"}),
        (lambda s: f"{s.a}{'!' if s.b else ''}", {"a", "b"}),
        (lambda s, other=1: s.a == other, {"a"}),
        (functools.partial(lambda s, k: s.a == k, k=1), {"a"}),
        (lambda s: str(s), None),
        (lambda s: f"{s.a} {s!r}", None),
        (lambda s: (s, s.a), None),
        (lambda s: [s, s.a][1], None),
        (lambda s: getattr(s, "a"), None),  # noqa: B009
        (lambda s: locals()["s"].a, None),
        (lambda s: (lambda: s)().a, None),
        (lambda s: (s := s.a), None),
        (lambda *s: s[0].a, None),
        (len, None),
    ],
)
def test_used_attributes_are_all_or_none(
    function: Callable[..., Any], used: set[str] | None
) -> None:
    """What a function takes of its parameter is found, unless it may take the whole."""
    assert find_used_attributes(function, "s") == used


def test_loaded_names_include_functions_inside() -> None:
    """Names are found in comprehensions and inner functions, too."""

    async def ask(ctx: Any) -> list[str]:
        return [await one() for one in (lambda: ctx.complete("a"),)]

    assert "complete" in find_loaded_names(ask)
    assert "complete" not in find_loaded_names(plain)
    assert find_loaded_names(len) == frozenset()


@pytest.mark.parametrize("value", [True, numpy.bool_(True), numpy.array(True), numpy.int64(3) > 2])
def test_verdict_is_read_by_value(value: object) -> None:
    """True is read off what comparisons give, in numpy too."""
    assert read_verdict(value) is True


@pytest.mark.parametrize("value", [False, numpy.bool_(False)])
def test_verdict_false_is_false(value: object) -> None:
    """False is False, and not the lack of a verdict."""
    assert read_verdict(value) is False


@pytest.mark.parametrize(
    "value", [None, "no", 0, 1, [], [True], numpy.int64(1), numpy.array([True]), object()]
)
def test_truth_is_no_verdict(value: object) -> None:
    """What is neither True nor False is no verdict, whatever Python thinks of its truth."""
    assert read_verdict(value) is None

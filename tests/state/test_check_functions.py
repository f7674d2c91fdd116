"""Functions that check are told apart from functions that convert, by their code."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import BaseModel, field_validator

from graphorch.state.check_functions import returns_argument
from tests.parameter_ids import format_id


def positive(value: int) -> int:
    if value < 0:
        raise ValueError("negative")
    return value


def asserted(value: int, info: Any) -> int:
    assert value or info
    return value


def number_or_not(value: str) -> str:
    try:
        int(value)
    except ValueError:
        return value
    return value


def refusing(value: int) -> int:
    raise ValueError("never")


def halved(value: int) -> int:
    return value // 2


def rebound(value: int) -> int:
    value = value // 2
    return value


def rebound_with_another(value: str) -> str:
    size, value = len(value), value.strip()
    assert size
    return value


def rebound_by_loop(value: str) -> str:
    for size, value in [(1, value.strip())]:  # noqa: B007, B020
        assert size
    return value


def rebound_by_match(value: Any) -> Any:
    match value:
        case [value, *_]:
            pass
    assert value
    return value


def measured(value: str) -> str:
    size = len(value)
    other = value
    if size < len(other):
        raise ValueError("short")
    return value


def sometimes(value: int) -> int | None:
    if value:
        return None
    return value


def counted(value: int) -> int:
    for value in range(value, value + 3):  # noqa: B007, B020
        pass
    return value


def hidden(value: int) -> int:
    def change() -> None:
        nonlocal value
        value = 3

    change()
    return value


def generated(value: int) -> Iterator[int]:
    yield value


async def awaited(value: int) -> int:
    return value


class Model(BaseModel):
    number: int = 0

    @field_validator("number")
    @classmethod
    def is_even(cls, value: int) -> int:
        if value % 2:
            raise ValueError("odd")
        return value

    @field_validator("number")
    @classmethod
    def confused(cls, value: int) -> Any:
        return cls


CHECKS = (measured, positive, asserted, number_or_not, refusing, Model.is_even, lambda value: value)
CONVERSIONS = (
    *(rebound_with_another, rebound_by_loop, rebound_by_match),
    *(halved, rebound, sometimes, counted, hidden, generated, awaited, Model.confused),
    *(str.lower, len, functools.partial(positive), int, lambda: 3),
)


@pytest.mark.parametrize("function", CHECKS, ids=lambda function: function.__name__)
def test_check_returns_its_argument(function: Callable[..., Any]) -> None:
    """A function that returns its argument on every way is a check."""
    assert returns_argument(function)


@pytest.mark.parametrize("function", CONVERSIONS, ids=format_id)
def test_conversion_is_no_check(function: Callable[..., Any]) -> None:
    """A function that may return something else, or whose code cannot be read, is no check."""
    assert not returns_argument(function)

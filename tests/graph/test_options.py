"""Options with impossible values, and the values that retry and cache accept."""

from __future__ import annotations

import math
from typing import Any

import pytest

from graphorch.errors import GraphError, InputError
from graphorch.graph.options import Cache, NodeOptions, NodeSettings, Retry, options_from


@pytest.mark.parametrize("attempts", [0, -1, math.inf, 2.0, True, None, "3"])
def test_retry_needs_bound(attempts: Any) -> None:
    """A retry without a number of attempts is refused."""
    with pytest.raises(InputError, match=r"is not a bound\. Give a whole number from 1 on"):
        Retry(attempts)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"on": ()}, r"Retry\(on=\(\)\) does not name exceptions"),
        ({"on": ("TimeoutError",)}, "does not name exceptions"),
        ({"on": (KeyboardInterrupt,)}, "does not name exceptions"),
        ({"first": -1}, r"Retry\(first=-1\) is not possible. Give a finite number from 0 on."),
        ({"factor": 0.5}, r"Retry\(factor=0.5\) is not possible. Give a finite number from 1 on."),
        (
            {"longest": 0.1},
            r"Retry\(longest=0.1\) is not possible. Give a finite number from 0.5 on.",
        ),
        ({"longest": math.inf}, "is not possible"),
        ({"first": math.nan}, "is not possible"),
    ],
)  # fmt: skip
def test_impossible_retry_is_refused(given: Any, message: str) -> None:
    """A retry with a value out of range is refused."""
    with pytest.raises(InputError, match=message):
        Retry(3, **given)


def test_retry_takes_single_exception() -> None:
    """A single exception class needs no tuple."""
    assert Retry(3, on=TimeoutError).on == (TimeoutError,)  # type: ignore[arg-type]


def test_pauses_grow_to_longest() -> None:
    """Pauses grow up to the longest one."""
    retry = Retry(1000, first=1, factor=2, longest=5)
    assert [retry.pause(attempt) for attempt in (1, 2, 3, 4, 999)] == [1, 2, 4, 5, 5]


@pytest.mark.parametrize("ttl", [0, -1, math.inf, math.nan, True, None, "1"])
def test_impossible_cache_is_refused(ttl: Any) -> None:
    """A cache without entries or without a time to live is refused."""
    with pytest.raises(InputError, match=r"is not possible\. Give the seconds"):
        Cache(ttl)


def test_options_are_kept() -> None:
    """Options are kept as given."""
    given: NodeOptions = {
        "name": "x", "effect": "idempotent", "retry": Retry(3), "timeout": 1, "deadline": 5.0,
        "cache": Cache(1), "hedge_after": 0.5,
        "gate": "before", "isolation": "process", "concurrency": 2, "expires": 60.0,
    }  # fmt: skip
    expected = NodeSettings(
        "idempotent", 1, "process", Retry(3), 5.0, Cache(1), 0.5, "before", 2, expires=60.0
    )
    assert options_from("x", given) == expected
    assert options_from("x", {}) == NodeSettings()


@pytest.mark.parametrize(
    ("option", "value", "fix"),
    [
        ("effect", "twice", "choose one of pure, idempotent, once"),
        ("isolation", "container", "choose one of inline, thread, process, worker"),
        ("pool", "two words", 'name workers in letters, digits, "-" and "_", such as "gpu"'),
        ("gate", "between", "choose one of before, after"),
        ("timeout", 0, "give seconds greater than 0, or leave the option out"),
        ("timeout", "5", "give seconds greater than 0, or leave the option out"),
        ("deadline", math.inf, "give seconds greater than 0, or leave the option out"),
        ("hedge_after", math.nan, "give seconds greater than 0, or leave the option out"),
        ("retry", 3, "give Retry(attempts), such as Retry(3)"),
        ("cache", 3600, "give Cache(ttl=seconds)"),
        ("expires", 0, "give seconds greater than 0 and up to a thousand years"),
        ("concurrency", 0, "give a whole number from 1 on, or leave the option out"),
    ],
)  # fmt: skip
def test_impossible_value_shows_choices(option: str, value: Any, fix: str) -> None:
    """An impossible value is refused with what is possible."""
    given: Any = {option: value}
    with pytest.raises(GraphError) as caught:
        options_from("write", given)
    (problem,) = caught.value.problems
    assert (
        str(problem)
        == f"NODE_OPTION at node 'write': {option}={value!r} is not possible\n    fix: {fix}"
    )


def test_all_option_mistakes_are_listed() -> None:
    """An unknown option is named with the nearest one, and all mistakes are listed."""
    given: Any = {"retries": Retry(2), "timeout": -1}
    with pytest.raises(GraphError) as caught:
        options_from("write", given)
    assert [problem.what for problem in caught.value.problems] == [
        "there is no option 'retries'",
        "timeout=-1 is not possible",
    ]
    assert caught.value.problems[0].fix.startswith(
        "Did you mean 'retry'? Known: cache, concurrency, deadline"
    )

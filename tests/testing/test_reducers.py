"""`check_reducer`: reducers that are not associative, not pure or harmful are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from graphorch import add, append, last, maximum, merge, minimum, union
from graphorch.testing import ReducerBroken, check_reducer


@pytest.mark.parametrize(
    ("reducer", "values", "commutes"),
    [
        (append, [[], [1], [2, 3]], False),
        (add, [0, 1, -5], True),
        (union, [set(), {1}, {1, 2}], True),
        (merge, [{}, {"a": 1}, {"a": 2}], False),
        (maximum, [1, 2, 3], True),
        (minimum, ["a", "b"], True),
        (last, [1, 2], False),
    ],
)
def test_own_reducers_keep_laws(
    reducer: Callable[[Any, Any], Any], values: list[Any], commutes: bool
) -> None:
    report = check_reducer(reducer, values)
    assert report.is_commutative is commutes
    assert report.triples == len(values) ** 3
    if not commutes:
        first, second = report.unordered  # type: ignore[misc]
        assert reducer(first, second) != reducer(second, first)


def test_non_associative_reducer_refused() -> None:
    """A reducer that is not associative is shown with its values."""

    def mean(old: float, new: float) -> float:
        return (old + new) / 2

    values = r"for 0\.0, 0\.0 and 4\.0 it makes 2\.0 from the left and 1\.0 from the right"
    with pytest.raises(ReducerBroken, match=f"'mean' is not associative: {values}"):
        check_reducer(mean, [0.0, 4.0])


def test_mutating_reducer_refused() -> None:
    """A reducer that changes an argument is refused."""

    def extend(old: list[int], new: list[int]) -> list[int]:
        old.extend(new)
        return old

    with pytest.raises(
        ReducerBroken, match=r"'extend' changes its first argument: \[\] became \[1\]"
    ):
        check_reducer(extend, [[], [1]])


def test_emptying_reducer_refused() -> None:
    """A reducer that empties its new value is refused."""

    def take(old: list[int], new: list[int]) -> list[int]:
        return old + [new.pop() for _ in range(len(new))]

    with pytest.raises(ReducerBroken, match="changes its second argument"):
        check_reducer(take, [[1], [2]])


def test_remembering_reducer_refused() -> None:
    """A reducer that remembers is not pure."""
    seen: list[int] = []

    def count(old: int, new: int) -> int:
        seen.append(new)
        return old + new + len(seen)

    with pytest.raises(ReducerBroken, match="'count' is not pure"):
        check_reducer(count, [1, 2])

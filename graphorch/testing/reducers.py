"""Check that a reducer is associative, pure, and leaves its arguments unchanged."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

_MOST_TRIPLES = 4_000


class ReducerBroken(AssertionError):
    """A reducer breaks one of its laws. The message shows the values, and both results."""


@dataclass(frozen=True, slots=True)
class ReducerReport:
    """Result for a lawful reducer; `unordered` is a pair whose order matters, or None."""

    triples: int
    unordered: tuple[Any, Any] | None

    @property
    def is_commutative(self) -> bool:
        """Return whether the order never mattered.

        It may matter: folds are made in canonical order.
        """
        return self.unordered is None


def check_reducer(reducer: Callable[[T, T], T], values: Iterable[T]) -> ReducerReport:
    """Try a reducer on all triples of some values (the first few thousand).

    Raises `ReducerBroken` with the first law that it breaks.

        def longest(old: str, new: str) -> str:
            return max(old, new, key=len)

        check_reducer(longest, ["", "a", "bb", "cc"])
    """
    given = list(values)
    triples = list(itertools.islice(itertools.product(given, repeat=3), _MOST_TRIPLES))
    unordered: tuple[Any, Any] | None = None
    for a, b in itertools.product(given, repeat=2):
        folded = _fold_checked(reducer, a, b)
        if unordered is None and folded != _fold_checked(reducer, b, a):
            unordered = (a, b)
    for a, b, c in triples:
        left = _fold(reducer, _fold(reducer, a, b), c)
        right = _fold(reducer, a, _fold(reducer, b, c))
        if left != right:
            raise ReducerBroken(
                f"{_name(reducer)} is not associative: for {a!r}, {b!r} and {c!r} it makes "
                f"{left!r} from the left and {right!r} from the right. "
                "A fold may be continued from any earlier point, so both have to be the same."
            )
    return ReducerReport(len(triples), unordered)


def _fold(reducer: Callable[[T, T], T], old: T, new: T) -> T:
    return reducer(copy.deepcopy(old), copy.deepcopy(new))


def _fold_checked(reducer: Callable[[T, T], T], old: T, new: T) -> T:
    """Return the fold of two values. Raises `ReducerBroken` if it is not pure."""
    first, second = copy.deepcopy(old), copy.deepcopy(new)
    folded = copy.deepcopy(reducer(first, second))
    for name, argument in _list_changes((old, first), (new, second)):
        raise ReducerBroken(
            f"{_name(reducer)} changes its {name} argument: {argument}. Return a new value instead."
        )
    again = _fold(reducer, old, new)
    if folded != again:
        raise ReducerBroken(
            f"{_name(reducer)} is not pure: for {old!r} and {new!r} it makes "
            f"{folded!r} and then {again!r}."
        )
    return folded


def _list_changes(old: tuple[Any, Any], new: tuple[Any, Any]) -> Iterator[tuple[str, str]]:
    for name, (was, is_now) in (("first", old), ("second", new)):
        if was != is_now:
            yield name, f"{was!r} became {is_now!r}"


def _name(reducer: Callable[..., Any]) -> str:
    return f"'{getattr(reducer, '__name__', 'reducer')}'"

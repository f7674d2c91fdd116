"""Whether a reducer of yours is one: associative, pure, and harmless to what it is given."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

_MOST = 4_000  # triples that are tried


class ReducerBroken(AssertionError):
    """A reducer breaks one of its laws. The message shows the values, and both results."""


@dataclass(frozen=True, slots=True)
class ReducerReport:
    """What was found of a reducer that keeps its laws. `unordered` is two values whose order matters, or None if it never does."""

    triples: int
    unordered: tuple[Any, Any] | None

    @property
    def is_commutative(self) -> bool:
        """Whether the order never mattered; it need not, since folds are made in canonical order."""
        return self.unordered is None


def check_reducer(reducer: Callable[[T, T], T], values: Iterable[T]) -> ReducerReport:
    """Try a reducer on all triples of some values (the first few thousand). Raises `ReducerBroken` with the first law that it breaks.

    def longest(old: str, new: str) -> str:
        return max(old, new, key=len)

    check_reducer(longest, ["", "a", "bb", "cc"])
    """
    given = list(values)
    triples = list(itertools.islice(itertools.product(given, repeat=3), _MOST))
    unordered: tuple[Any, Any] | None = None
    for a, b in itertools.product(given, repeat=2):
        folded = _harmless(reducer, a, b)
        if unordered is None and folded != _harmless(reducer, b, a):
            unordered = (a, b)
    for a, b, c in triples:
        left = _folded(reducer, _folded(reducer, a, b), c)
        right = _folded(reducer, a, _folded(reducer, b, c))
        if left != right:
            raise ReducerBroken(
                f"{_name(reducer)} is not associative: for {a!r}, {b!r} and {c!r} it makes {left!r} from the left and {right!r} from the right. "
                "A fold may be continued from any earlier point, so both have to be the same."
            )
    return ReducerReport(len(triples), unordered)


def _folded(reducer: Callable[[T, T], T], old: T, new: T) -> T:
    return reducer(copy.deepcopy(old), copy.deepcopy(new))


def _harmless(reducer: Callable[[T, T], T], old: T, new: T) -> T:
    """The fold of two values, made twice, with a look at whether the arguments are still the same."""
    first, second = copy.deepcopy(old), copy.deepcopy(new)
    folded = copy.deepcopy(reducer(first, second))
    for name, argument in _changed((old, first), (new, second)):
        raise ReducerBroken(
            f"{_name(reducer)} changes its {name} argument: {argument}. Return a new value instead."
        )
    again = _folded(reducer, old, new)
    if folded != again:
        raise ReducerBroken(
            f"{_name(reducer)} is not pure: for {old!r} and {new!r} it makes {folded!r} and then {again!r}."
        )
    return folded


def _changed(old: tuple[Any, Any], new: tuple[Any, Any]) -> Iterator[tuple[str, str]]:
    for name, (was, is_now) in (("first", old), ("second", new)):
        if was != is_now:
            yield name, f"{was!r} became {is_now!r}"


def _name(reducer: Callable[..., Any]) -> str:
    return f"'{getattr(reducer, '__name__', 'reducer')}'"

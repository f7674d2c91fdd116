"""How concurrent updates of one field are folded: `Annotated[list[str], append]` on the slice's field.

A reducer is a pure function `(old, new) -> folded`, called in canonical order (never in order of completion), so it need not be
commutative. It must be associative, since a fold may be continued from any earlier point, and it must change neither argument.
`graphorch.testing.check_reducer` checks a reducer of yours for both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")


class Comparable(Protocol):
    """A value that has an order."""

    def __lt__(self, other: Any, /) -> bool: ...


C = TypeVar("C", bound=Comparable)
N = TypeVar("N", int, float)


def append(old: list[T], new: list[T]) -> list[T]:
    """Both lists, one after the other."""
    return [*old, *new]


def add(old: N, new: N) -> N:
    """The sum of both numbers."""
    return old + new


def union(old: set[T], new: set[T]) -> set[T]:
    """Every element of either set."""
    return old | new


def merge(old: dict[K, V], new: dict[K, V]) -> dict[K, V]:
    """The entries of both dictionaries; where both have a key, the later write holds."""
    return {**old, **new}


def maximum(old: C, new: C) -> C:
    """The larger of both."""
    return new if old < new else old


def minimum(old: C, new: C) -> C:
    """The smaller of both."""
    return new if new < old else old


def last(old: T, new: T) -> T:
    """The write that is last in canonical order; names the winner where branches may both write."""
    return new


def _append_all(old: list[T], new: Sequence[list[T]]) -> list[T]:
    return [*old, *chain.from_iterable(new)]


def _union_all(old: set[T], new: Sequence[set[T]]) -> set[T]:
    return old.union(*new)


def _merge_all(old: dict[K, V], new: Sequence[dict[K, V]]) -> dict[K, V]:
    merged = dict(old)
    for item in new:
        merged.update(item)
    return merged


def at_once() -> Mapping[Any, Callable[[Any, Sequence[Any]], Any]]:
    """For the reducers above that copy what they fold: how they fold many updates with one copy."""
    return {append: _append_all, union: _union_all, merge: _merge_all}


def trusted() -> frozenset[object]:
    """The reducers above: known to leave their arguments alone, so they are handed shared values instead of copies."""
    return frozenset({append, add, union, merge, maximum, minimum, last})

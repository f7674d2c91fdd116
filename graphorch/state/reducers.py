"""Reducers fold concurrent updates of a field that is declared `Annotated[list[str], append]`.

A reducer is a pure function `(old, new) -> folded`. It is called in canonical order, never in order
of completion, so it need not be commutative. It must be associative, since a fold may be continued
from any earlier point, and it must not change its arguments. `graphorch.testing.check_reducer`
checks both.
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
    """Return both lists, one after the other."""
    return [*old, *new]


def add(old: N, new: N) -> N:
    """Return the sum of both numbers."""
    return old + new


def union(old: set[T], new: set[T]) -> set[T]:
    """Return the elements of either set."""
    return old | new


def merge(old: dict[K, V], new: dict[K, V]) -> dict[K, V]:
    """Return the entries of both dictionaries; where both have a key, that of the later write."""
    return {**old, **new}


def maximum(old: C, new: C) -> C:
    """Return the larger of both values."""
    return new if old < new else old


def minimum(old: C, new: C) -> C:
    """Return the smaller of both values."""
    return new if new < old else old


def last(old: T, new: T) -> T:
    """Return the write that is last in canonical order, where several branches may write."""
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


def bulk_reducers() -> Mapping[Any, Callable[[Any, Sequence[Any]], Any]]:
    """Return, for the reducers above that copy, functions that fold many updates with one copy."""
    return {append: _append_all, union: _union_all, merge: _merge_all}


def trusted_reducers() -> frozenset[object]:
    """Return the reducers above, which never change their arguments and so need no copies."""
    return frozenset({append, add, union, merge, maximum, minimum, last})

"""Reducers fold concurrent updates of a field that is declared `Annotated[list[str], append]`.

A reducer is a pure function `(old, new) -> folded`, a `functools.partial` of one, or an object that
can be called so. It is called in canonical order, never in order of completion, so it need not be
commutative. It must be associative, since a fold may be continued from any earlier point, and it
must not change its arguments. `graphorch.testing.check_reducer` checks both.
"""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, get_origin

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

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


# ---- folding many updates at once ----------------------------------------------------------------
class AppendedList:
    """First `length` items of a list that only grows, and may be shared by longer ones.

    So a list that every round of a loop appends to is not copied in every round.
    """

    __slots__ = ("items", "length")

    def __init__(self, items: list[Any]) -> None:
        self.items = items
        self.length = len(items)

    def to_list(self) -> list[Any]:
        """Return the items as a list of its own."""
        return self.items[: self.length]


def _append_all(old: list[Any] | AppendedList, new: Sequence[list[Any]]) -> AppendedList:
    if isinstance(old, AppendedList) and len(old.items) == old.length:
        items = old.items
    else:
        items = old.to_list() if isinstance(old, AppendedList) else list(old)
    items.extend(chain.from_iterable(new))
    return AppendedList(items)


def _union_all(old: set[T], new: Sequence[set[T]]) -> set[T]:
    return old.union(*new)


def _merge_all(old: dict[K, V], new: Sequence[dict[K, V]]) -> dict[K, V]:
    merged = dict(old)
    for item in new:
        merged.update(item)
    return merged


def find_bulk_reducer(
    reducer: Callable[..., Any] | None, annotation: Any
) -> Callable[[Any, Sequence[Any]], Any] | None:
    """Return a function that folds many updates of a field with one copy at most, or None.

    That of lists returns an `AppendedList`.
    """
    is_list = annotation is list or get_origin(annotation) is list
    if reducer is append or (is_list and (reducer is add or reducer is operator.add)):
        return _append_all
    if reducer is union:
        return _union_all
    return _merge_all if reducer is merge else None


# ---- reducers of fields --------------------------------------------------------------------------
# Callable objects of these packages describe a field in an annotation, and are no reducers.
_DESCRIBING = frozenset({"annotated_types", "pydantic", "pydantic_core", "typing_extensions"})
_TRUSTED: tuple[Callable[..., Any], ...] = (
    *(append, add, union, merge, maximum, minimum, last),
    *(operator.add, operator.mul, max, min),
)


def is_trusted(reducer: Callable[..., Any]) -> bool:
    """Return whether a reducer is known not to change its arguments, so that it needs no copies."""
    return any(reducer is trusted for trusted in _TRUSTED)


def list_reducers(info: FieldInfo) -> list[Callable[..., Any]]:
    """Return the reducers in the annotation of a field.

    They are its functions, and its other objects that can be called with two arguments.
    """
    return [item for item in info.metadata if _is_reducer(item)]


def list_reducer_classes(info: FieldInfo) -> list[type]:
    """Return the classes in the annotation of a field whose instances would be reducers."""
    return [
        item
        for item in info.metadata
        if isinstance(item, type)
        and item.__module__.partition(".")[0] not in _DESCRIBING
        and inspect.isfunction(call := getattr(item, "__call__", None))  # noqa: B004
        and takes_two(functools.partial(call, None))
    ]


def find_reducer(info: FieldInfo) -> Callable[..., Any] | None:
    """Return the reducer of a field, or None."""
    return next(iter(list_reducers(info)), None)


def name_reducer(reducer: Callable[..., Any]) -> str:
    """Return the name of a reducer: of its function, or of its class."""
    while isinstance(reducer, functools.partial):
        reducer = reducer.func
    return getattr(reducer, "__qualname__", type(reducer).__qualname__)


def takes_two(function: Callable[..., Any]) -> bool:
    """Return whether a function can be called with two arguments, as far as it says so."""
    try:
        inspect.signature(function).bind(None, None)
    except ValueError:
        return True  # a function of C that does not describe itself, such as `max`
    except TypeError:
        return False
    return True


def _is_reducer(item: Any) -> bool:
    if inspect.isroutine(item) or isinstance(item, functools.partial):
        return True
    if isinstance(item, type) or not callable(item):
        return False
    package = type(item).__module__.partition(".")[0]
    return package not in _DESCRIBING and takes_two(item)

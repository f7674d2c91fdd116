"""Reducers that ship: their values; they are associative and keep their arguments."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import graphorch
from graphorch.state import reducers
from graphorch.state.reducers import (
    add,
    append,
    bulk_reducers,
    last,
    maximum,
    merge,
    minimum,
    trusted_reducers,
    union,
)

LISTS, SETS = st.lists(st.integers(0, 3), max_size=3), st.sets(st.integers(0, 5))
TABLES, NUMBERS = st.dictionaries(st.sampled_from("abc"), st.integers(0, 3)), st.integers(-5, 5)
VALUES: dict[Callable[[Any, Any], Any], st.SearchStrategy[Any]] = {
    append: LISTS,
    add: NUMBERS,
    union: SETS,
    merge: TABLES,
    maximum: LISTS,
    minimum: LISTS,
    last: LISTS,
}
ANY = st.sampled_from(list(VALUES)).flatmap(
    lambda reduce: st.tuples(st.just(reduce), VALUES[reduce], VALUES[reduce], VALUES[reduce])
)


@pytest.mark.parametrize(
    "reduce, old, new, folded",
    [
        (append, [1], [2, 1], [1, 2, 1]),
        (append, [], [], []),
        (add, 1, 2, 3),
        (add, 0.5, -0.5, 0.0),
        (union, {1}, {1, 2}, {1, 2}),
        (merge, {"a": 1, "b": 1}, {"b": 2}, {"a": 1, "b": 2}),
        (maximum, 1, 2, 2),
        (maximum, "b", "a", "b"),
        (minimum, 1, 2, 1),
        (minimum, "b", "a", "a"),
        (last, 1, None, None),
    ],
)
def test_reducer_folds_two_values(
    reduce: Callable[[Any, Any], Any], old: Any, new: Any, folded: Any
) -> None:
    """A reducer folds two values."""
    assert reduce(old, new) == folded


@given(ANY)
def test_reducer_is_associative(drawn: tuple[Callable[[Any, Any], Any], Any, Any, Any]) -> None:
    """A reducer is associative."""
    reduce, a, b, c = drawn
    assert reduce(reduce(a, b), c) == reduce(a, reduce(b, c))


@given(ANY)
def test_reducer_keeps_its_arguments(
    drawn: tuple[Callable[[Any, Any], Any], Any, Any, Any],
) -> None:
    """A reducer changes neither argument."""
    reduce, old, new, _ = drawn
    before = copy.deepcopy((old, new))
    reduce(old, new)
    assert (old, new) == before


@given(
    st.sampled_from(list(bulk_reducers())).flatmap(
        lambda reduce: st.tuples(st.just(reduce), VALUES[reduce], st.lists(VALUES[reduce]))
    )
)
def test_bulk_reducer_equals_single_folds(
    drawn: tuple[Callable[[Any, Any], Any], Any, list[Any]],
) -> None:
    """Folding many at once is folding one after the other."""
    reduce, old, new = drawn
    before = copy.deepcopy((old, new))
    folded, one_by_one = bulk_reducers()[reduce](old, new), functools.reduce(reduce, new, old)
    assert folded == one_by_one
    assert list(folded) == list(one_by_one) or isinstance(folded, set)
    assert (old, new) == before


@pytest.mark.parametrize("reduce, empty", [(append, [1]), (union, {1}), (merge, {"a": 1})])
def test_bulk_reducer_returns_new_object(reduce: Callable[[Any, Any], Any], empty: Any) -> None:
    """What is collected is a new object even where nothing is added."""
    made = reduce(empty, type(empty)())
    assert made == empty
    assert made is not empty


def test_reducer_keeps_earlier_equal_value() -> None:
    """Equal values keep the earlier one."""
    old, new = [1], [1]
    assert maximum(old, new) is old
    assert minimum(old, new) is old


def test_merge_keeps_order_of_keys() -> None:
    """Merged keys stay in the order in which they came."""
    assert list(merge({"b": 1, "a": 1}, {"c": 2, "b": 2})) == ["b", "a", "c"]


def test_trusted_reducers_are_the_public_ones() -> None:
    """All of them are trusted public and nothing else is."""
    here = {
        function_type
        for name, function_type in inspect.getmembers(reducers, inspect.isfunction)
        if function_type not in (trusted_reducers, bulk_reducers) and not name.startswith("_")
    }
    assert trusted_reducers() == here == set(VALUES)
    assert all(getattr(graphorch, item.__name__) is item for item in VALUES)

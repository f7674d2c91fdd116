"""Reducers that ship: their values; they are associative and keep their arguments."""

from __future__ import annotations

import copy
import functools
import operator
from collections.abc import Callable
from typing import Annotated, Any

import annotated_types
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    SkipValidation,
    create_model,
)
from typing_extensions import deprecated

import graphorch
from graphorch.state.reducers import (
    AppendedList,
    add,
    append,
    find_bulk_reducer,
    find_reducer,
    is_trusted,
    last,
    list_reducers,
    maximum,
    merge,
    minimum,
    name_reducer,
    takes_two,
    union,
)
from tests.parameter_ids import format_id

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
    st.sampled_from([append, union, merge]).flatmap(
        lambda reduce: st.tuples(st.just(reduce), VALUES[reduce], st.lists(VALUES[reduce]))
    )
)
def test_bulk_reducer_equals_single_folds(
    drawn: tuple[Callable[[Any, Any], Any], Any, list[Any]],
) -> None:
    """Folding many at once is folding one after the other."""
    reduce, old, new = drawn
    before = copy.deepcopy((old, new))
    reduce_all = find_bulk_reducer(reduce, list)
    assert reduce_all is not None
    folded, one_by_one = reduce_all(old, new), functools.reduce(reduce, new, old)
    folded = folded.to_list() if isinstance(folded, AppendedList) else folded
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


def test_public_reducers_are_trusted() -> None:
    """The reducers of the package, and those of the standard library, need no copies."""
    trusted = (*VALUES, operator.add, max, min)
    assert all(is_trusted(reducer) for reducer in trusted)
    assert all(getattr(graphorch, item.__name__) is item for item in VALUES)
    assert not is_trusted(operator.iadd)


# ---- lists that grow -----------------------------------------------------------------------------
@given(st.lists(st.tuples(st.integers(0, 9), st.lists(st.integers(), max_size=3)), max_size=12))
def test_appended_lists_share_no_ends(drawn: list[tuple[int, list[int]]]) -> None:
    """Lists that go on from the same beginning do not see what the others append."""
    extend = find_bulk_reducer(append, list[int])
    assert extend is not None
    made: list[tuple[Any, list[int]]] = [(extend([], []), [])]
    for index, items in drawn:
        start, expected = made[index % len(made)]
        made.append((extend(start, [items]), expected + items))
    assert [appended.to_list() for appended, _ in made] == [expected for _, expected in made]


def test_appended_list_is_not_copied() -> None:
    """A list that goes on at its end is the same list, so that appending costs what is appended."""
    extend = find_bulk_reducer(operator.add, list[int])
    assert extend is not None
    first = extend([1], [[2]])
    assert extend(first, [[3]]).items is first.items
    assert extend(first, [[4]]).items is not first.items
    assert find_bulk_reducer(add, int) is None


# ---- reducers of fields --------------------------------------------------------------------------
class Joiner:
    """A callable object, which cannot be hashed."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return False

    def __call__(self, old: list[int], new: list[int]) -> list[int]:
        return old + new


def joined(old: list[int], new: list[int], separator: int) -> list[int]:
    return [*old, separator, *new]


def info_of(annotation: Any) -> Any:
    model: Any = create_model("Model", field=(annotation, ...))
    return model.model_fields["field"]


@pytest.mark.parametrize(
    "reducer, name",
    [
        (joined, "joined"),
        (functools.partial(joined, separator=0), "joined"),
        (functools.partial(functools.partial(joined), separator=0), "joined"),
        (Joiner(), "Joiner"),
        (Joiner().__call__, "Joiner.__call__"),
        (operator.add, "add"),
        (max, "max"),
    ],
    ids=format_id,
)
def test_callable_in_annotation_is_reducer(reducer: Callable[..., Any], name: str) -> None:
    """A function, a partial and a callable object are reducers."""
    info = info_of(Annotated[list[int], Field(max_length=9), reducer])
    assert list_reducers(info) == [reducer] or find_reducer(info) is reducer
    assert name_reducer(reducer) == name


@pytest.mark.parametrize(
    "metadata",
    [
        *(AfterValidator(len), BeforeValidator(len), PlainSerializer(len), Field(gt=1)),
        *(annotated_types.Not(bool), deprecated("old"), SkipValidation, int, "text"),
    ],
    ids=format_id,
)
def test_description_is_no_reducer(metadata: Any) -> None:
    """What describes a field for pydantic and others is no reducer."""
    assert find_reducer(info_of(Annotated[int, metadata])) is None


def test_functions_are_known_by_signature() -> None:
    """A function tells whether it takes two values."""
    assert takes_two(max)
    assert takes_two(Joiner())
    assert not takes_two(joined)
    assert not takes_two(functools.partial(joined, [1], [2], 3))

"""Describe values to the last detail: types, time zones, bounds and signs, not only what `==` sees.

Python calls many values equal that a program can tell apart: `1` and `True`, a `Counter` and a
`dict`, a time in Berlin and the same moment in UTC. A stored value is given back only if nothing
can be told apart, and a cached result is used only for the very input that it belongs to.

Rules of this file:
1. Values of different types differ, also where one type derives from the other.
2. Containers and models differ where a part does, models also in which fields were set. Cached
   properties are no parts.
3. NaN is identical to NaN, and 0.0 is not identical to -0.0.
4. Functions and classes are identical to themselves only.
5. Other objects are what `pickle` would write of them: class, arguments and state. Nothing is
   pickled.
"""

from __future__ import annotations

import copyreg
import datetime
import enum
from collections.abc import Callable, Collection, Hashable, Iterable
from types import BuiltinFunctionType, FunctionType
from typing import Any, Final, cast

from pydantic import BaseModel

Json = dict[str, Any]

_type_of: Callable[[object], type] = type
_ATOMS: Final = frozenset({str, bytes, int, bool, type(None), complex})
_CLOCKS: Final = frozenset({datetime.datetime, datetime.time})
_REFERENCES: Final = (type, FunctionType, BuiltinFunctionType)
_ALIAS: Final = "__orig_class__"  # how a generic class was written where it was called
_PROTOCOL: Final = 4  # of `__reduce_ex__`


class Indescribable(TypeError):
    """A value, such as a lock or a generator, whose content cannot be described."""


def is_identical(before: Any, after: Any) -> bool:
    """Return whether two values are equal to the last detail.

    Objects that cannot be described are asked for their `==`.
    """
    try:
        return _is_same(before, after)
    except Indescribable:
        return _type_of(before) is _type_of(after) and _is_equal(before, after)


def _is_same(before: Any, after: Any) -> bool:
    """Fast path of comparing two descriptions: common types are compared part by part."""
    kind = _type_of(before)
    if kind is not _type_of(after):
        return False
    if kind in _ATOMS:
        return before == after
    if kind is list or kind is tuple:
        return _are_same(before, after)
    if kind is dict:
        keys, other_keys = list(before), list(after)
        return _are_same(keys, other_keys) and _are_same(before.values(), after.values())
    if kind is set and len(kinds := set(map(type, before))) <= 1 and kinds <= _ATOMS:
        return before == after and kinds == set(map(type, after))
    if kind in _CLOCKS:
        same_clock = before.replace(tzinfo=None) == after.replace(tzinfo=None)
        return same_clock and before.fold == after.fold and _is_same_zone(before, after)
    if issubclass(kind, BaseModel):
        if before.__pydantic_fields_set__ != after.__pydantic_fields_set__:
            return False
        return _is_same(list_parts(before), list_parts(after))
    return describe(before) == describe(after)


def _are_same(before: Collection[Any], after: Collection[Any]) -> bool:
    """Compare items in their order: types first, all at once."""
    kinds = list(map(type, before))
    if kinds != list(map(type, after)):
        return False
    if _ATOMS.issuperset(kinds):
        return list(before) == list(after)
    return all(map(_is_same, before, after))


def _is_same_zone(before: Any, after: Any) -> bool:
    return before.tzinfo is after.tzinfo or describe(before.tzinfo) == describe(after.tzinfo)


def describe(value: Any) -> Hashable:
    """Return a description that two values share only if they are identical.

    It may hold secrets, and keeps functions and classes alive. Raises `Indescribable`.
    """
    try:
        return _describe(value, ())
    except RecursionError as error:
        raise Indescribable("it is nested too deeply") from error


def _describe(value: Any, around: tuple[int, ...]) -> Hashable:
    """Describe a value; `around` are the ids of the values that it lies in."""
    kind = _type_of(value)
    if kind in _ATOMS:
        return kind, value
    if kind is float:
        return kind, value.hex()
    if isinstance(value, enum.Enum):
        return kind, _describe(value.value, around)
    if isinstance(value, _REFERENCES):
        return "reference", value
    if id(value) in around:
        return "circle", around.index(id(value))
    within = (*around, id(value))
    if kind is list or kind is tuple:
        return kind, _describe_all(value, within)
    if kind is dict:
        return kind, _describe_all(value.items(), within)
    if kind is set or kind is frozenset:
        return kind, frozenset(_describe_all(value, within))
    if isinstance(value, BaseModel):
        set_fields = frozenset(value.__pydantic_fields_set__)
        return kind, set_fields, _describe_all(list_parts(value).items(), within)
    return kind, _describe_object(value, within)


def _describe_all(values: Iterable[Any], within: tuple[int, ...]) -> tuple[Hashable, ...]:
    return tuple(_describe(value, within) for value in values)


def list_parts(model: BaseModel) -> dict[str, Any]:
    """Return the fields of a model by name, with extra and private ones."""
    values: dict[str, Any] = model.__dict__  # pyright: ignore[reportAssignmentType]
    fields = type(model).__pydantic_fields__
    if values.keys() != fields.keys():  # a cached property is there, or a field is not
        values = {name: value for name, value in values.items() if name in fields}
    extra, private = model.__pydantic_extra__, model.__pydantic_private__
    return {**values, **(extra or {}), **(private or {})} if extra or private else values


def _describe_object(value: Any, within: tuple[int, ...]) -> Hashable:
    try:
        reduce = copyreg.dispatch_table.get(_type_of(value))
        reduced: Any = value.__reduce_ex__(_PROTOCOL) if reduce is None else reduce(value)
    except Exception as error:  # the class is a user's and may raise anything
        name = _type_of(value).__qualname__
        raise Indescribable(f"a {name} cannot be described: {error}") from error
    if isinstance(reduced, str):  # the name of a global object
        return "reference", id(value)
    # Class or function, its arguments, state, items of a list, entries of a dictionary.
    parts = cast("tuple[Any, ...]", reduced)
    made, arguments, state = (*parts, None)[:3]
    if isinstance(state, dict):
        state = {key: item for key, item in cast(Json, state).items() if key != _ALIAS}
    streams = [list(stream) if stream is not None else None for stream in parts[3:5]]
    return _describe_all([made, arguments, state, *streams], within)


def _is_equal(before: Any, after: Any) -> bool:
    try:
        return bool(before == after)
    except Exception:  # the class is a user's: `==` may raise, or return an array
        return False

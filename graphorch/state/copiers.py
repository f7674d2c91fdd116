"""Copiers compiled from the types of fields: immutable values are shared, others are copied.

The type is read once, at build. Where it does not say enough (`Any`, an arbitrary class, a
recursive model), the copier is `copy.deepcopy`, which is slower and never wrong.
"""

from __future__ import annotations

import copy
import datetime
import decimal
import enum
import fractions
import pathlib
import types
import typing
import uuid
from collections.abc import Callable
from functools import cached_property
from typing import Any, Literal, TypeVar, Union

from pydantic import BaseModel

M = TypeVar("M", bound=BaseModel)
Copier = Callable[[Any], Any]

# The slots of every pydantic model. They are set directly, because a run makes very many instances
# whose values are known to be valid.
_set_values = vars(BaseModel)["__dict__"].__set__
_set_fields_set = vars(BaseModel)["__pydantic_fields_set__"].__set__
_set_extra = vars(BaseModel)["__pydantic_extra__"].__set__
_set_private = vars(BaseModel)["__pydantic_private__"].__set__


def has_plain_instances(model: type[BaseModel]) -> bool:
    """Return whether an instance is only its fields, and is copied like any other."""
    return not (
        model.__private_attributes__
        or model.model_config.get("extra") == "allow"
        or model.__new__ is not object.__new__
        or model.__deepcopy__ is not BaseModel.__deepcopy__
    )


def compile_maker(model: type[M]) -> Callable[[dict[str, Any], set[str]], M]:
    """Return a function that makes instances of valid values and the names of the set fields.

    No validator and no `model_post_init` runs: they ran when the values were made. The instance
    takes over both arguments; the caller must not use them again.
    """
    # Local names are faster than globals.
    new = model.__new__
    set_values, set_fields_set = _set_values, _set_fields_set
    set_extra, set_private = _set_extra, _set_private
    allows_extra = model.model_config.get("extra") == "allow"

    def make(values: dict[str, Any], fields_set: set[str]) -> M:
        instance = new(model)
        set_values(instance, values)
        set_fields_set(instance, fields_set)
        set_extra(instance, {} if allows_extra else None)
        set_private(instance, None)
        return instance

    return make


_ATOMS: tuple[type, ...] = (
    str, bytes, int, float, complex, bool, range, type(None), enum.Enum,
    decimal.Decimal, fractions.Fraction, uuid.UUID, pathlib.PurePath,
    datetime.date, datetime.time, datetime.timedelta, datetime.tzinfo,
)  # fmt: skip


def compile_copier(annotation: Any) -> Copier | None:
    """Return a function that copies values of this type, or None if they are deeply immutable."""
    return _compile(annotation, ())


def _compile(annotation: Any, above: tuple[Any, ...]) -> Copier | None:
    """Compile a copier; `above` are the models around, to recognise a recursive one."""
    annotation = _unwrap(annotation)
    origin = typing.get_origin(annotation)
    if origin is Literal:
        return None
    if origin in (Union, types.UnionType):
        parts = [_compile(part, above) for part in typing.get_args(annotation)]
        return None if all(part is None for part in parts) else copy_by_value
    if isinstance(annotation, type) and issubclass(annotation, _ATOMS):
        return None
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if annotation in above:
            return copy.deepcopy
        return _model_copier(annotation, (*above, annotation))
    return _container_copier(origin or annotation, typing.get_args(annotation), above)


def _unwrap(annotation: Any) -> Any:
    """Return the type inside `Annotated`, `NewType` and `type X = …`."""
    while True:
        if typing.get_origin(annotation) is typing.Annotated:
            annotation = typing.get_args(annotation)[0]
        elif isinstance(annotation, typing.NewType):
            annotation = annotation.__supertype__
        elif hasattr(annotation, "__value__"):
            annotation = annotation.__value__
        else:
            return annotation


def _container_copier(kind: Any, args: tuple[Any, ...], above: tuple[Any, ...]) -> Copier | None:
    if kind is list and args:
        return _list_copier(_compile(args[0], above))
    if kind in (set, frozenset) and args and _compile(args[0], above) is None:
        return None if kind is frozenset else set
    if kind is dict and len(args) == 2 and _compile(args[0], above) is None:
        return _dict_copier(_compile(args[1], above))
    if kind is tuple and args:
        inner = args[:1] if len(args) == 2 and args[1] is Ellipsis else args
        return None if all(_compile(part, above) is None for part in inner) else copy.deepcopy
    return copy.deepcopy


def _list_copier(inner: Copier | None) -> Copier:
    if inner is None:
        return list
    return lambda value: [inner(item) for item in value]


def _dict_copier(inner: Copier | None) -> Copier:
    if inner is None:
        return dict
    return lambda value: {key: inner(item) for key, item in value.items()}


def copy_by_value(value: Any) -> Any:
    """Copy a value of a type that is not known: share an atom, and copy everything else whole."""
    return value if isinstance(value, _ATOMS) else copy.deepcopy(value)


def _model_copier(model: type[BaseModel], above: tuple[Any, ...]) -> Copier:
    if not has_plain_instances(model):
        return copy.deepcopy
    copiers: dict[str, Copier] = {}
    for name, field in model.model_fields.items():
        copy_field = _compile(field.annotation, above)
        if copy_field is not None:
            copiers[name] = copy_field
    make = compile_maker(model)
    names = tuple(model.model_fields)
    has_cache = any(
        isinstance(item, cached_property) for base in model.__mro__ for item in vars(base).values()
    )
    is_immutable = bool(model.model_config.get("frozen")) and not copiers

    def copy_model(value: Any) -> Any:
        # An instance of a subclass may hold more than this type says.
        if type(value) is not model:
            return copy.deepcopy(value)
        if is_immutable:
            return value
        values: dict[str, Any] = dict(value.__dict__)
        if has_cache:
            # Cached properties are computed anew, since the copy may be changed.
            values = {name: values[name] for name in names if name in values}
        for name, copy_field in copiers.items():
            values[name] = copy_field(values[name])
        return make(values, set(value.__pydantic_fields_set__))

    return copy_model

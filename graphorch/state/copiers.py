"""Copiers compiled from a field's type: immutable values are shared, everything else is copied on hand-out.

The type is read once, at build. Where it says nothing useful (`Any`, an arbitrary class, a recursive model), the copier is
`copy.deepcopy`: slower, never wrong.
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
from typing import Any, Literal, TypeVar, Union

from pydantic import BaseModel

M = TypeVar("M", bound=BaseModel)
Copier = Callable[[Any], Any]

# The slots of every pydantic model, set directly: an instance whose values are known to be valid is made many times per run.
_set_values = vars(BaseModel)["__dict__"].__set__
_set_fields_set = vars(BaseModel)["__pydantic_fields_set__"].__set__
_set_extra = vars(BaseModel)["__pydantic_extra__"].__set__
_set_private = vars(BaseModel)["__pydantic_private__"].__set__


def has_plain_instances(model: type[BaseModel]) -> bool:
    """Whether an instance is the values of its fields and nothing else: none beside them, no hook and no constructor of the author's."""
    if model.__private_attributes__ or model.model_config.get("extra") == "allow":
        return False
    return model.model_post_init is BaseModel.model_post_init and model.__new__ is object.__new__


def maker(model: type[M]) -> Callable[[dict[str, Any], set[str]], M]:
    """A function that makes instances of a model, of valid values that nobody looks at again and the names of those set; they own both."""
    if not has_plain_instances(model):
        return lambda values, fields_set: model.model_construct(fields_set, **values)
    new, set_values, set_fields_set, set_extra, set_private = (
        object.__new__,
        _set_values,
        _set_fields_set,
        _set_extra,
        _set_private,
    )

    def made(values: dict[str, Any], fields_set: set[str]) -> M:
        item = new(model)
        set_values(item, values)
        set_fields_set(item, fields_set)
        set_extra(item, None)
        set_private(item, None)
        return item

    return made


_ATOMS: tuple[type, ...] = (
    str, bytes, int, float, complex, bool, type(None), decimal.Decimal, fractions.Fraction, uuid.UUID, pathlib.PurePath, enum.Enum,
    datetime.date, datetime.time, datetime.timedelta, datetime.tzinfo, range,
)  # fmt: skip


def copier(annotation: Any) -> Copier | None:
    """A function that copies values of this type, or None if they are deeply immutable and may be shared."""
    return _copier(annotation, ())


def _copier(annotation: Any, above: tuple[Any, ...]) -> Copier | None:
    annotation = _bare(annotation)
    origin = typing.get_origin(annotation)
    if origin is Literal:
        return None
    if origin in (Union, types.UnionType):
        parts = [_copier(part, above) for part in typing.get_args(annotation)]
        return None if all(part is None for part in parts) else _by_value
    if isinstance(annotation, type) and issubclass(annotation, _ATOMS):
        return None
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return (
            copy.deepcopy
            if annotation in above
            else _model_copier(annotation, (*above, annotation))
        )
    return _container_copier(origin or annotation, typing.get_args(annotation), above)


def _bare(annotation: Any) -> Any:
    """The type inside `Annotated`, `NewType` and `type X = …`."""
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
        return _list_copier(_copier(args[0], above))
    if kind in (set, frozenset) and args and _copier(args[0], above) is None:
        return None if kind is frozenset else set
    if kind is dict and len(args) == 2 and _copier(args[0], above) is None:
        return _dict_copier(_copier(args[1], above))
    if kind is tuple and args:
        inner = args[:1] if len(args) == 2 and args[1] is Ellipsis else args
        return None if all(_copier(part, above) is None for part in inner) else copy.deepcopy
    return copy.deepcopy


def _list_copier(inner: Copier | None) -> Copier:
    if inner is None:
        return list
    return lambda value: [inner(item) for item in value]


def _dict_copier(inner: Copier | None) -> Copier:
    if inner is None:
        return dict
    return lambda value: {key: inner(item) for key, item in value.items()}


def _by_value(value: Any) -> Any:
    """For unions: what the value is decides; an atom is shared, anything else is copied whole."""
    return value if isinstance(value, _ATOMS) else copy.deepcopy(value)


def _model_copier(model: type[BaseModel], above: tuple[Any, ...]) -> Copier | None:
    inner = {name: _copier(field.annotation, above) for name, field in model.model_fields.items()}
    plain = has_plain_instances(model)
    if plain and model.model_config.get("frozen") and all(part is None for part in inner.values()):
        return None
    mutable = {name: part for name, part in inner.items() if part is not None}
    made = maker(model)

    def copied(value: Any) -> Any:
        if type(value) is not model or not plain:
            return copy.deepcopy(value)
        fields: dict[str, Any] = dict(value.__dict__)
        for name, part in mutable.items():
            fields[name] = part(fields[name])
        return made(fields, set(value.__pydantic_fields_set__))

    return copied

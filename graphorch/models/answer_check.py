"""Check that an answer gives what was asked for: every key, and numbers that are numbers.

A validated value does not tell: a key that is missing has become its default in it, and `NaN` a
number. So the value is compared with the JSON that it was made of. A default of the output is
meant for other makers of the value; a model was asked for the key.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from pydantic import AliasChoices, BaseModel, RootModel
from pydantic.fields import FieldInfo
from pydantic.json_schema import SkipJsonSchema

_HIDDEN = cast("type", SkipJsonSchema)  # a class that pretends to be an annotation


def list_gaps(value: object, given: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the place and the fault of each gap between a value and the JSON that was given."""
    if isinstance(value, float):
        if not math.isfinite(value) and isinstance(given, int | float | str):
            yield path, f"Input should be a finite number (got {given!r})"
        return
    if isinstance(value, RootModel):
        yield from list_gaps(cast("RootModel[object]", value).root, given, path)
    elif isinstance(given, dict):
        fields = cast("dict[str, Any]", given)
        if isinstance(value, BaseModel):
            yield from _list_gaps_of_model(value, fields, path)
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            yield from _list_gaps_of_dataclass(value, fields, path)
        elif isinstance(value, Mapping):
            for key, item in cast("Mapping[Any, object]", value).items():
                yield from list_gaps(item, fields.get(str(key)), _join(path, key))
    elif isinstance(given, list) and isinstance(value, Iterable) and not isinstance(value, str):
        # A set has lost the order of what was given, so its members meet any of it.
        items = list(cast("Iterable[object]", value))
        origins = cast("list[Any]", given)
        for number, item in enumerate(items):
            is_ordered = isinstance(value, Sequence) and len(items) == len(origins)
            origin = origins[number] if is_ordered else next(iter(origins), None)
            yield from list_gaps(item, origin, _join(path, number))


def _list_gaps_of_model(
    value: BaseModel, given: dict[str, Any], path: str
) -> Iterator[tuple[str, str]]:
    for name, field in type(value).model_fields.items():
        # a field that the schema hides was not asked for
        if any(isinstance(item, _HIDDEN) for item in field.metadata):
            continue
        if name not in value.model_fields_set:
            yield _join(path, field.alias or name), "Field required"
            continue
        key = next((key for key in _list_keys(name, field) if key in given), name)
        yield from list_gaps(getattr(value, name), given.get(key), _join(path, key))


def _list_gaps_of_dataclass(
    value: Any, given: dict[str, Any], path: str
) -> Iterator[tuple[str, str]]:
    infos = cast("dict[str, FieldInfo]", getattr(value, "__pydantic_fields__", {}))
    for field in dataclasses.fields(value):
        info = infos.get(field.name)
        keys = [field.name] if info is None else _list_keys(field.name, info)
        key = next((key for key in keys if key in given), None)
        if key is not None:
            yield from list_gaps(getattr(value, field.name), given[key], _join(path, key))
        elif field.init:
            yield _join(path, keys[-1]), "Field required"


def _list_keys(name: str, field: FieldInfo) -> list[str]:
    """Return the keys under which a field may come."""
    alias = field.validation_alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
    return [name, *(choice for choice in choices if isinstance(choice, str))]


def _join(path: str, step: object) -> str:
    return f"{path}.{step}" if path else str(step)

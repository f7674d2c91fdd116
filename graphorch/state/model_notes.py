"""What JSON does not say of the models in a value: unset fields, and private attributes.

A note names models by their numbers, in an order that depends on the content of the value alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Final, cast

from pydantic import BaseModel

from graphorch.state.free_values import FreeValues, Unnamed
from graphorch.state.identity import is_identical
from graphorch.text import truncate_repr

Notes = Mapping[str, Any]
"""What is needed to read a value beside its JSON.

- `unset`: pairs of names of fields, and numbers of the models in which they were not set;
- `private`: pairs of the number of a model, and its private attributes.
"""

_LEAVES: Final = frozenset({str, int, float, bool, bytes, type(None)})


def note_models(value: Any, restored: Any, free: FreeValues) -> dict[str, Any]:
    """Make the models in a restored value what they are in a value; return what that took."""
    pairs = list(zip(_list_models(value), _list_models(restored), strict=False))
    found = {"unset": _list_unset(pairs), "private": _list_private(pairs, free)}
    notes = {kind: entries for kind, entries in found.items() if entries}
    apply_notes(restored, notes, free)
    return notes


def apply_notes(value: Any, notes: Notes, free: FreeValues) -> None:
    """Make the models in a value what notes say. Raises `ValueError` if they do not fit."""
    if "unset" not in notes and "private" not in notes:
        return
    models: list[Any] = _list_models(value)
    try:
        for names, numbers in notes.get("unset", ()):
            for number in numbers:
                models[number].__pydantic_fields_set__.difference_update(names)
        for number, private in notes.get("private", ()):
            models[number].__pydantic_private__ = _read_private(models[number], private, free)
    except (TypeError, ValueError, IndexError, AttributeError) as error:
        raise ValueError(f"its notes do not fit: {truncate_repr(dict(notes))}") from error


def _list_unset(pairs: list[tuple[BaseModel, BaseModel]]) -> list[list[Any]]:
    """Return the names that are set in restored models only, with the numbers of these models."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for number, (before, after) in enumerate(pairs):
        unset = after.__pydantic_fields_set__ - before.__pydantic_fields_set__
        if unset:
            groups.setdefault(tuple(sorted(unset)), []).append(number)
    return [[list(names), numbers] for names, numbers in groups.items()]


def _list_private(pairs: list[tuple[BaseModel, BaseModel]], free: FreeValues) -> list[list[Any]]:
    """Return the numbers of models with other private attributes, and these if they are data."""
    found: list[list[Any]] = []
    for number, (before, after) in enumerate(pairs):
        private = before.__pydantic_private__
        if private and not is_identical(private, after.__pydantic_private__):
            try:
                found.append([number, free.write(private)])
            except Unnamed:
                continue  # the comparison of the values will tell
    return found


def _read_private(model: BaseModel, private: Any, free: FreeValues) -> dict[str, Any]:
    read = free.read(private)
    if not isinstance(read, dict) or not read.keys() <= type(model).__private_attributes__.keys():
        raise ValueError("these are not its private attributes")
    return cast("dict[str, Any]", read)


# ---- the parts of a value ------------------------------------------------------------------------
def list_parts(value: Any) -> Iterator[Any]:
    """Yield a value and all that it holds, private attributes of models excepted."""
    yield value
    for part in _list_inner(value):
        yield from list_parts(part)


def _list_models(value: Any) -> list[BaseModel]:
    models: list[BaseModel] = []
    _collect_models(value, models)
    return models


def _collect_models(value: Any, models: list[BaseModel]) -> None:
    if isinstance(value, BaseModel):
        models.append(value)
    for part in _list_inner(value):
        if type(part) not in _LEAVES:
            _collect_models(part, models)


def _list_inner(value: Any) -> Iterable[Any]:
    if isinstance(value, BaseModel):
        declared = type(value).__pydantic_fields__
        values = [item for name, item in value.__dict__.items() if name in declared]
        return [*values, *(value.__pydantic_extra__ or {}).values()]
    if isinstance(value, dict):
        entries = cast("dict[Any, Any]", value)
        return [*entries, *entries.values()]
    if isinstance(value, list | tuple | deque):
        return cast("list[Any]", value)
    if isinstance(value, set | frozenset):
        return sorted(cast("set[Any]", value), key=repr)
    if is_dataclass(value):
        return [getattr(value, field.name, None) for field in fields(value)]
    return ()

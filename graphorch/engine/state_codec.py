"""Encode values of the state as plain JSON and back, by the types that the running flow declares.

What is stored never chooses a type. A value is checked when it is written: it is read back at once
and has to be equal, so nothing is stored that could not be restored.
"""

from __future__ import annotations

import json
from math import isfinite
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, cast, get_args, get_origin

from pydantic import PydanticSchemaGenerationError, ValidationError
from pydantic_core import PydanticSerializationError

from graphorch.core.events import Update
from graphorch.errors import JournalError, WrongOutput
from graphorch.graph.plan import Plan
from graphorch.state.slices import Field, Schema
from graphorch.text import truncate_repr

if TYPE_CHECKING:
    from pydantic import TypeAdapter


class Unstorable(WrongOutput):
    """A value that JSON would not restore as it was."""


class PlanCodec:
    """Encodes and decodes the updates of one plan, with an adapter for each field in use."""

    def __init__(self, schema: Schema) -> None:
        self._fields = schema.fields
        self._by_name = schema.by_name
        self._adapters: dict[int, TypeAdapter[Any]] = {}
        self._plain: dict[int, bool] = {}

    def encode(self, update: Update) -> dict[str, Any]:
        """Return the JSON value of each field by name. Raises `Unstorable`."""
        return {
            self._fields[index].name: self._encode_value(self._fields[index], value)
            for index, value in update.items()
        }

    def decode(self, stored: object) -> Update:
        """Return the update that was encoded.

        Raises `JournalError` if a field does not exist any more, or has another type.
        """
        if not isinstance(stored, dict):
            kind = type(stored).__name__
            raise JournalError(
                f"A stored update is a {kind}, not an object. The journal is damaged."
            )
        update: Update = {}
        for name, value in cast("dict[str, Any]", stored).items():
            field = self._by_name.get(str(name))
            if field is None:
                raise JournalError(
                    f"A stored update has the field '{name}', which the state does not have any "
                    "more. Register a migration."
                )
            update[field.index] = self._decode_value(field, json.dumps(value))
        return update

    def _encode_value(self, field: Field, value: Any) -> Any:
        if self._is_plain(field) and is_exact_json(value):
            return value  # JSON restores values of such a type as they are
        try:
            text = self._adapter(field).dump_json(value, by_alias=False)
            restored = self._adapter(field).validate_json(text)
        except PydanticSchemaGenerationError as error:
            reason = "pydantic does not know how to write its type"
            raise _build_unstorable(field, value, reason) from error
        except ValidationError as error:
            reason = f"it does not come back: {error.errors(include_url=False)[0]['msg']}"
            raise _build_unstorable(field, value, reason) from error
        except (PydanticSerializationError, ValueError) as error:
            raise _build_unstorable(field, value, str(error).splitlines()[0]) from error
        if restored != value:
            reason = f"it comes back as {truncate_repr(restored)}"
            raise _build_unstorable(field, value, reason)
        return json.loads(text)

    def _decode_value(self, field: Field, text: str) -> Any:
        try:
            return self._adapter(field).validate_json(text)
        except ValidationError as error:
            reason = error.errors(include_url=False)[0]["msg"]
            raise JournalError(
                f"The stored value of '{field.name}' does not fit its type any more: {reason}. "
                "Register a migration."
            ) from error

    def _is_plain(self, field: Field) -> bool:
        is_plain = self._plain.get(field.index)
        if is_plain is None:
            # A function in the annotation may change the value on its way.
            has_function = any(hasattr(item, "func") for item in field.info.metadata)
            is_plain = is_plain_type(field.info.annotation) and not has_function
            self._plain[field.index] = is_plain
        return is_plain

    def _adapter(self, field: Field) -> TypeAdapter[Any]:
        adapter = self._adapters.get(field.index)
        if adapter is None:
            from pydantic import TypeAdapter

            adapter = self._adapters[field.index] = TypeAdapter(field.info.rebuild_annotation())
        return adapter


class CodecCache:
    """Codecs of all plans in a run, with those of sub-flows and maps."""

    def __init__(self) -> None:
        self._codecs: dict[int, tuple[Plan, PlanCodec]] = {}

    def of(self, plan: Plan) -> PlanCodec:
        """Return the codec of a plan."""
        entry = self._codecs.get(id(plan))
        if entry is None:
            # The entry keeps the plan alive, so that its id is not used again.
            entry = self._codecs[id(plan)] = (plan, PlanCodec(plan.schema))
        return entry[1]


def is_plain_type(annotation: Any) -> bool:
    """Return whether all values of a type are written to JSON as they are.

    That is so for text, numbers, booleans, None, and lists and objects of these.
    """
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin in (list, Union, UnionType):
        return bool(parts) and all(is_plain_type(part) for part in parts)
    if origin is dict:
        return len(parts) == 2 and parts[0] is str and is_plain_type(parts[1])
    if origin is Literal:
        return all(type(part) in (str, int, bool, NoneType) for part in parts)
    return annotation in (str, int, float, bool, None, NoneType)


def is_exact_json(value: Any) -> bool:
    """Return whether JSON restores a value of a plain type.

    It does not restore instances of subclasses, text with lone surrogates, NaN and infinity.
    """
    if isinstance(value, str):
        return type(value) is str and (value.isascii() or _is_unicode(value))
    if isinstance(value, float):
        return type(value) is float and isfinite(value)
    if isinstance(value, list):
        return all(map(is_exact_json, cast("list[Any]", value)))
    if isinstance(value, dict):
        entries = cast("dict[Any, Any]", value)
        has_exact_keys = all(type(key) is str and is_exact_json(key) for key in entries)
        return has_exact_keys and all(map(is_exact_json, entries.values()))
    return value is None or type(value) in (int, bool)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _build_unstorable(field: Field, value: Any, reason: str) -> Unstorable:
    fix = "Use a type that survives JSON, or give the field a serializer and a validator."
    return Unstorable(
        f"'{field.name}' = {truncate_repr(value)} cannot be kept in the journal: {reason}. {fix}"
    )

"""Values of the state as plain JSON and back, by the types that the running flow declares; what is stored never chooses a type.

A value is checked when it is written: it is read back at once and has to be equal, so nothing is stored that could not be restored.
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

if TYPE_CHECKING:
    from pydantic import TypeAdapter


class Unstorable(WrongOutput):
    """A value that does not come back from JSON as it went in."""


class PlanCodec:
    """Encodes and decodes the updates of one plan; one adapter per field, made at its first use."""

    def __init__(self, schema: Schema) -> None:
        self._fields = schema.fields
        self._by_name = schema.by_name
        self._adapters: dict[int, TypeAdapter[Any]] = {}
        self._plain: dict[int, bool] = {}

    def encode(self, update: Update) -> dict[str, Any]:
        """Field name → JSON value. Raises `Unstorable`."""
        return {
            self._fields[index].name: self._encoded(self._fields[index], value)
            for index, value in update.items()
        }

    def decode(self, stored: object) -> Update:
        """The update that was encoded. Raises `JournalError` if a field or its type is no longer what it was."""
        if not isinstance(stored, dict):
            raise JournalError(
                f"A stored update is a {type(stored).__name__}, not an object. The journal is damaged."
            )
        update: Update = {}
        for name, value in stored.items():  # pyright: ignore[reportUnknownVariableType]
            field = self._by_name.get(str(name))  # pyright: ignore[reportUnknownArgumentType]
            if field is None:
                raise JournalError(
                    f"A stored update has the field '{name}', which the state does not have any more. Register a migration."
                )
            update[field.index] = self._decoded(field, json.dumps(value))
        return update

    def _encoded(self, field: Field, value: Any) -> Any:
        if self._is_plain(field) and is_exact_json(value):
            return value  # its type says that JSON gives it back as it is
        try:
            text = self._adapter(field).dump_json(value, by_alias=False)
            back = self._adapter(field).validate_json(text)
        except PydanticSchemaGenerationError as error:
            raise Unstorable(
                _unstorable(field, value, "pydantic does not know how to write its type")
            ) from error
        except ValidationError as error:
            raise Unstorable(
                _unstorable(
                    field,
                    value,
                    f"it does not come back: {error.errors(include_url=False)[0]['msg']}",
                )
            ) from error
        except (PydanticSerializationError, ValueError) as error:
            raise Unstorable(_unstorable(field, value, str(error).splitlines()[0])) from error
        if back != value:
            raise Unstorable(_unstorable(field, value, f"it comes back as {_short(back)}"))
        return json.loads(text)

    def _decoded(self, field: Field, text: str) -> Any:
        try:
            return self._adapter(field).validate_json(text)
        except ValidationError as error:
            told = error.errors(include_url=False)[0]["msg"]
            raise JournalError(
                f"The stored value of '{field.name}' does not fit its type any more: {told}. Register a migration."
            ) from error

    def _is_plain(self, field: Field) -> bool:
        plain = self._plain.get(field.index)
        if plain is None:
            plain = self._plain[field.index] = is_plain_type(field.info.annotation) and not any(
                hasattr(item, "func") for item in field.info.metadata
            )
        return plain

    def _adapter(self, field: Field) -> TypeAdapter[Any]:
        adapter = self._adapters.get(field.index)
        if adapter is None:
            from pydantic import TypeAdapter

            adapter = self._adapters[field.index] = TypeAdapter(field.info.rebuild_annotation())
        return adapter


class CodecCache:
    """The codec of every plan in a run, the ones of sub-flows and maps included."""

    def __init__(self) -> None:
        self._codecs: dict[int, tuple[Plan, PlanCodec]] = {}

    def of(self, plan: Plan) -> PlanCodec:
        """The codec of a plan."""
        entry = self._codecs.get(id(plan))
        if entry is None:
            # holds the plan, so that its id stays its own
            entry = self._codecs[id(plan)] = (plan, PlanCodec(plan.schema))
        return entry[1]


def is_plain_type(annotation: Any) -> bool:
    """Whether a type holds only what JSON holds, spelt in the same way: text, numbers, booleans, None, and lists and objects of these."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin in (list, Union, UnionType):
        return bool(parts) and all(is_plain_type(part) for part in parts)
    if origin is dict:
        return len(parts) == 2 and parts[0] is str and is_plain_type(parts[1])
    if origin is Literal:
        return all(type(part) in (str, int, bool, NoneType) for part in parts)
    return annotation in (str, int, float, bool, None, NoneType)


def is_exact_json(value: Any) -> bool:
    """Whether a value of such a type can be written as it is; text that is no Unicode and numbers that are none cannot."""
    if isinstance(value, str):
        return type(value) is str and (value.isascii() or _is_unicode(value))
    if isinstance(value, float):
        return type(value) is float and isfinite(value)
    if isinstance(value, list):
        return all(map(is_exact_json, cast("list[Any]", value)))
    if isinstance(value, dict):
        entries = cast("dict[Any, Any]", value)
        return all(type(key) is str and is_exact_json(key) for key in entries) and all(
            map(is_exact_json, entries.values())
        )
    return value is None or type(value) in (int, bool)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _unstorable(field: Field, value: Any, why: str) -> str:
    fix = "Use a type that survives JSON, or give the field a serializer and a validator."
    return f"'{field.name}' = {_short(value)} cannot be kept in the journal: {why}. {fix}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"

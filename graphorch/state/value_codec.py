"""Write the value of one field as JSON, and read back exactly what was written.

Theory of operation. A value is valid already, so it is written and read by the types of its field
alone, without the functions of the user (see `storage_schema`). Where these make the type what it
is, such as a serializer and a validator for a class that pydantic does not know, that does not
lead back; then the field's own schema is tried, with all its functions. The value is read at once,
and refused unless it is identical: nothing is kept that could not be given back.

What JSON cannot hold at all goes into notes beside it (see `model_notes`).
"""

from __future__ import annotations

import inspect
import json
import re
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, cast

from pydantic import (
    BaseModel,
    PlainSerializer,
    Secret,
    SecretBytes,
    SecretStr,
    ValidationError,
)
from pydantic_core import SchemaError, SchemaSerializer, SchemaValidator

from graphorch.state.free_values import FreeValues
from graphorch.state.identity import is_identical
from graphorch.state.model_notes import Notes, apply_notes, list_parts, note_models
from graphorch.state.storage_schema import StorageSchema
from graphorch.state.validators import calls_functions, read_field_schemas
from graphorch.text import truncate_repr

Json = dict[str, Any]
_LONGEST_VALUE: Final = 120  # characters of a value in a message
_MANY_DIGITS: Final = re.compile(rb"\d{1000}")
_set = object.__setattr__
_VALIDATED: Final[Notes] = {"validated": True}  # beside the notes of models: by its own schema


class Lossy(ValueError):
    """A value that does not come back from JSON as it was; the text says why.

    `fix` is what to do about it, where that is known.
    """

    fix = ""


@dataclass(frozen=True, slots=True)
class Written:
    """A value as plain JSON, and the notes that are needed to read it; usually there are none.

    `size` is its length as JSON in bytes. `is_bounded` says that its type bounds how deep it nests,
    and that it holds no number of a thousand digits.
    """

    value: Any
    notes: Notes
    size: int
    is_bounded: bool


class ValueCodec:
    """Writes and reads the values of one field of a model.

    With `reveals`, secrets are written in clear, and serializers of the user are not called.
    """

    def __init__(self, model: type[BaseModel], name: str, *, reveals: bool = False) -> None:
        self._model, self._name, self._reveals = model, name, reveals
        self._free = FreeValues(_list_models(model, name), reveals=reveals)
        storage = StorageSchema(self._free, reveals=reveals)
        self._typed = _build_typed_form(model, name, storage, self._free)
        self._has_functions = storage.drops_functions
        self._own: _Form | None = None  # made when it is needed, which is rare

    def write(self, value: Any) -> Written:
        """Return a value as JSON. Raises `Lossy`."""
        if self._typed is None:
            return self._find_own().write(value, _VALIDATED)
        try:
            return self._typed.write(value, {})
        except Lossy as error:
            try:
                return self._find_own().write(value, _VALIDATED)
            except Lossy as other:
                cause = other if self._has_functions else error
                raise (cause if self._reveals else _name_secret(value, cause)) from None

    def read(self, value: Any, notes: Notes) -> Any:
        """Return the value that was written.

        Raises `ValidationError` if it does not fit the type, `ValueError` if the notes do not fit.
        """
        is_validated = "validated" in notes or self._typed is None
        form = self._find_own() if is_validated else self._typed
        assert form is not None
        return form.read(json.dumps(value), notes)

    def _find_own(self) -> _Form:
        if self._own is None:
            self._own = _build_own_form(self._model, self._name, self._free)
        return self._own


class _Form:
    """One way to write a field as JSON, by one core schema."""

    def __init__(
        self, model: type[BaseModel], name: str, field: Json, around: _Around, free: FreeValues
    ) -> None:
        config: Any = around.config
        definitions = around.definitions
        inner = _without_default(field["schema"])
        body = {"type": "model-fields", "fields": {name: {**field, "schema": inner}}}
        # A serializer of the user may be a method: it needs a model around its field.
        model_schema = {"type": "model", "cls": model, "schema": body, "config": config}
        self._model, self._name = model, name
        self._free = free
        self._has_models = bool(definitions) or _holds(inner, "model")
        self._is_recursive = bool(definitions) or calls_functions(inner)
        self._prefix = f'{{"{name}":'.encode()
        self._serializer = SchemaSerializer(
            _define(model_schema, definitions), config, _use_prebuilt=False
        )
        self._validator = SchemaValidator(_define(inner, definitions), config, _use_prebuilt=False)

    def write(self, value: Any, notes: Notes) -> Written:
        """Return a value as JSON. Raises `Lossy`."""
        try:
            text = self._dump(value)
            restored = self._validator.validate_json(text)
        except ValidationError as error:
            reason = error.errors(include_url=False)[0]["msg"]
            raise Lossy(f"it does not come back: {reason}") from error
        except Exception as error:  # functions of the user may raise anything
            raise Lossy(_format_reason(error)) from error
        if self._has_models:
            notes = {**notes, **note_models(value, restored, self._free)}
        if not is_identical(value, restored):
            raise _build_lossy(value, restored)
        is_bounded = not self._is_recursive and _MANY_DIGITS.search(text) is None
        return Written(json.loads(text), notes, len(text), is_bounded)

    def read(self, text: str, notes: Notes) -> Any:
        """Return the value of a text, as its notes say."""
        value = self._validator.validate_json(text)
        apply_notes(value, notes, self._free)
        return value

    def _dump(self, value: Any) -> bytes:
        instance = object.__new__(self._model)
        _set(instance, "__dict__", {self._name: value})
        _set(instance, "__pydantic_fields_set__", {self._name})
        _set(instance, "__pydantic_extra__", None)
        _set(instance, "__pydantic_private__", None)
        text = self._serializer.to_json(instance, by_alias=True, warnings=False)
        # What is between the braces: "name":value
        return text.removeprefix(self._prefix)[:-1]


class _Around(NamedTuple):
    """What the schema of a field needs from around it."""

    config: Json | None
    definitions: list[Json]


def _build_typed_form(
    model: type[BaseModel], name: str, storage: StorageSchema, free: FreeValues
) -> _Form | None:
    """Return the form of a field by its types alone; None if that is not possible."""
    schemas = read_field_schemas(model)
    around = _Around(storage.adapt_config(schemas.config), storage.adapt(schemas.definitions))
    try:
        return _Form(model, name, storage.adapt(schemas.fields[name]), around, free)
    except SchemaError:
        return None  # two schemas of one name, where a function between them was left out


def _build_own_form(model: type[BaseModel], name: str, free: FreeValues) -> _Form:
    """Return the form of a field by its own schema, with all its functions."""
    schemas = read_field_schemas(model)
    outward = ("serialization_alias", "serialization_exclude", "serialization_exclude_if")
    own = {key: value for key, value in schemas.fields[name].items() if key not in outward}
    own["schema"] = _restore_serializer(_without_default(own["schema"]), model, name)
    return _Form(model, name, own, _Around(schemas.config, schemas.definitions), free)


def _define(schema: Json, definitions: list[Json]) -> Any:
    if not definitions:
        return schema
    return {"type": "definitions", "schema": schema, "definitions": definitions}


def _without_default(schema: Json) -> Json:
    """Return a schema without its default, and with the serializer of what the default was for."""
    outer: Json = {}
    while schema["type"] == "default":
        if "serialization" in schema:
            outer["serialization"] = schema["serialization"]
        schema = schema["schema"]
    return {**schema, **outer}


def _restore_serializer(schema: Json, model: type[BaseModel], name: str) -> Json:
    """Return a schema with the serializer of an annotation whose validator made pydantic forget it.

    That is so in `Annotated[T, PlainSerializer(…), PlainValidator(…)]`.
    """
    if schema["type"] != "function-plain" or "serialization" in schema:
        return schema
    metadata = model.model_fields[name].metadata
    serializer = next((item for item in metadata if isinstance(item, PlainSerializer)), None)
    if serializer is None:
        return schema
    wants_info = len(inspect.signature(serializer.func).parameters) > 1
    written = {
        "type": "function-plain",
        "function": serializer.func,
        "info_arg": wants_info,
        "when_used": serializer.when_used,
    }
    return {**schema, "serialization": written}


def _holds(schema: Any, kind: str) -> bool:
    """Return whether a part of a core schema is of a kind."""
    if isinstance(schema, dict):
        mapping = cast(Json, schema)
        return mapping.get("type") == kind or any(_holds(part, kind) for part in mapping.values())
    return isinstance(schema, list | tuple) and any(
        _holds(part, kind) for part in cast("list[Any]", schema)
    )


def _list_models(model: type[BaseModel], name: str) -> set[type]:
    """Return the models around the values of a field: its own one, and those that it may hold."""
    schemas = read_field_schemas(model)
    found: set[type] = {model}
    pending: list[Any] = [schemas.fields[name], schemas.definitions]
    while pending:
        part = pending.pop()
        if isinstance(part, dict):
            mapping = cast(Json, part)
            if mapping.get("type") == "model":
                found.add(mapping["cls"])
            # What the user put beside a type, such as a default, is no part of it.
            pending += [item for key, item in mapping.items() if key not in ("metadata", "default")]
        elif isinstance(part, list | tuple):
            pending += cast("list[Any]", part)
    return found


def _format_reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply, or in a circle"
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__


def _build_lossy(value: Any, restored: Any) -> Lossy:
    text = truncate_repr(restored, _LONGEST_VALUE)
    if text == truncate_repr(value, _LONGEST_VALUE):
        # The text alone would not show the difference.
        text = f"another {type(restored).__name__} with the text {text}"
    return Lossy(f"it comes back as {text}")


def _name_secret(value: Any, error: Lossy) -> Lossy:
    """Return an error that says it if a secret, which is never written in clear, is the cause."""
    if not any(isinstance(part, Secret | SecretStr | SecretBytes) for part in list_parts(value)):
        return error
    cause = Lossy("it holds a secret, which is never written in clear")
    cause.fix = "Pass secrets to the nodes as `resources`, which are no part of the state."
    return cause

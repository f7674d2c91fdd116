"""Validators compiled one per field, so that checking an update costs what the update costs, never what the state costs.

They come out of the core schema that pydantic made for the whole model, so constraints, `field_validator`s and configuration
all hold. Nested model instances are validated again (and so rebuilt): a nested value that was changed behind pydantic's back
is found, and what is stored shares nothing mutable with what the node still holds, wherever the type says what is inside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from pydantic import BaseModel
from pydantic_core import CoreSchema, SchemaValidator

M = TypeVar("M", bound=BaseModel)
Json = dict[str, Any]

# Core schema types whose validation makes a new object or whose values are immutable; `any`, instances of arbitrary classes, iterators
# and the like are not among them and could let the caller's own object through.
_CLOSED = frozenset(
    "model model-fields model-field list set frozenset dict tuple str int float bool none literal enum nullable union tagged-union default "
    "definitions definition-ref date time datetime timedelta decimal uuid bytes url multi-host-url complex function-after function-before".split()
)


@dataclass(frozen=True, slots=True)
class Validator:
    """Validation of one field. `rebuilds` says that the result shares nothing mutable with what was validated."""

    validate: Callable[[Any], Any]
    rebuilds: bool
    schema: Json
    config: Json | None


def field_validators(model: type[BaseModel]) -> dict[str, Validator]:
    """For each field of `model` a validator that returns the (perhaps coerced) value or raises `ValidationError`."""
    model.model_rebuild()
    schema = cast(Json, model.__pydantic_core_schema__)
    definitions = cast("list[Json]", schema.get("definitions", []))
    body = _model_schema(schema, definitions)
    config = body.get("config")
    fields = cast("dict[str, Json]", _fields_schema(body["schema"])["fields"])
    return {
        name: _validator(cast(Json, field["schema"]), definitions, config)
        for name, field in fields.items()
    }


def _model_schema(schema: Json, definitions: list[Json]) -> Json:
    """The innermost `model` schema: below definitions, references and the model's own validators."""
    while schema["type"] != "model":
        if schema["type"] == "definition-ref":
            schema = next(json for json in definitions if json.get("ref") == schema["schema_ref"])
        else:
            schema = schema["schema"]
    return schema


def _fields_schema(schema: Json) -> Json:
    while schema["type"] != "model-fields":
        schema = schema["schema"]
    return schema


def model_validator(model: type[M]) -> Callable[[object], M]:
    """A function that validates an instance of `model` again, nested instances included, and returns a rebuilt one."""
    model.model_rebuild()
    return _built(_revalidating(model.__pydantic_core_schema__)).validate_python


def _validator(schema: Json, definitions: list[Json], config: Json | None) -> Validator:
    while schema["type"] == "default":
        schema = schema["schema"]
    inner = _revalidating(schema)
    if definitions:
        inner = {
            "type": "definitions",
            "schema": inner,
            "definitions": [_revalidating(json) for json in definitions],
        }
    return Validator(_built(inner, config).validate_python, _is_closed(inner), inner, config)


def whole_validator(fields: Mapping[str, Validator]) -> Callable[[Any], dict[str, Any]] | None:
    """Validates the values of many fields in one go, and returns them in the order of `fields`; None where they have to be looked at singly."""
    parts = list(fields.values())
    if any(
        not part.rebuilds or part.config != parts[0].config or part.schema["type"] == "definitions"
        for part in parts
    ):
        return None
    schema = {
        "type": "model-fields",
        "fields": {
            name: {"type": "model-field", "schema": part.schema} for name, part in fields.items()
        },
    }
    validate = _built(schema, parts[0].config).validate_python
    return lambda values: validate(values)[0]


def _built(schema: Any, config: Json | None = None) -> SchemaValidator:
    """A validator that does what its schema says: by itself pydantic would take the finished validator of each nested model instead."""
    make: Any = SchemaValidator
    return make(cast(CoreSchema, schema), config, _use_prebuilt=False)


def _is_closed(schema: Any) -> bool:
    """Whether every part of a core schema is of a closed type."""
    if isinstance(schema, dict):
        found = cast(Json, schema)
        kind = found.get("type")
        inner = (
            value
            for key, value in found.items()
            if key not in ("metadata", "serialization", "config")
        )
        return (
            not isinstance(kind, str) or kind in _CLOSED or kind == "no-info" or kind == "with-info"
        ) and all(_is_closed(value) for value in inner)
    if isinstance(schema, list | tuple):
        return all(_is_closed(item) for item in cast("list[Any]", schema))
    return True


def _revalidating(schema: Any) -> Any:
    """A copy of a core schema in which every model validates instances again instead of taking them as they are."""
    if isinstance(schema, dict):
        made = {
            key: value if key == "metadata" else _revalidating(value)
            for key, value in cast(Json, schema).items()
        }
        if made.get("type") == "model":
            made["revalidate_instances"] = "always"
        return made
    if isinstance(schema, list):
        return [_revalidating(item) for item in cast("list[Any]", schema)]
    return schema

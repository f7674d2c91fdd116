"""Validators for single fields: the cost of an update does not depend on the size of the state.

They are taken from the core schema that pydantic made for the whole model, so constraints, field
validators and configuration all hold. Nested model instances are validated again, and so rebuilt: a
nested value that was changed without validation is found, and a stored value shares nothing mutable
with the one that the node still holds, wherever the type says what is inside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from pydantic import BaseModel
from pydantic_core import CoreSchema, SchemaValidator

M = TypeVar("M", bound=BaseModel)
Json = dict[str, Any]

# Core schema types whose validation makes a new object or whose values are immutable. Others, such
# as `any`, instances of arbitrary classes and iterators, may pass the caller's own object through.
_CLOSED = frozenset(
    "model model-fields model-field list set frozenset dict tuple str int float bool none "
    "literal enum nullable union tagged-union default definitions definition-ref date time "
    "datetime timedelta decimal uuid bytes url multi-host-url complex function-after function- "
    "before".split()
)


@dataclass(frozen=True, slots=True)
class Validator:
    """Validation of one field. With `rebuilds` the result shares nothing mutable with its input."""

    validate: Callable[[Any], Any]
    rebuilds: bool
    schema: Json
    config: Json | None


def field_validators(model: type[BaseModel]) -> dict[str, Validator]:
    """Return validators by field: they return the (coerced) value or raise `ValidationError`."""
    model.model_rebuild()
    schema = cast(Json, model.__pydantic_core_schema__)
    definitions = cast("list[Json]", schema.get("definitions", []))
    body = _model_schema(schema, definitions)
    config = body.get("config")
    fields = cast("dict[str, Json]", _fields_schema(body["schema"])["fields"])
    return {
        name: _compile_validator(cast(Json, field["schema"]), definitions, config)
        for name, field in fields.items()
    }


def _model_schema(schema: Json, definitions: list[Json]) -> Json:
    """Return the `model` schema below definitions, references and the model's own validators."""
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
    """Return a function that validates an instance again, nested ones included, and rebuilds it."""
    model.model_rebuild()
    return _build_validator(_revalidate_models(model.__pydantic_core_schema__)).validate_python


def _compile_validator(schema: Json, definitions: list[Json], config: Json | None) -> Validator:
    while schema["type"] == "default":
        schema = schema["schema"]
    inner = _revalidate_models(schema)
    if definitions:
        inner = {
            "type": "definitions",
            "schema": inner,
            "definitions": [_revalidate_models(json) for json in definitions],
        }
    return Validator(
        _build_validator(inner, config).validate_python, _is_closed(inner), inner, config
    )


def whole_validator(fields: Mapping[str, Validator]) -> Callable[[Any], dict[str, Any]] | None:
    """Return a function that validates many fields in one go, in the order of `fields`.

    None if they have to be validated singly: one does not rebuild its value, has a configuration of
    its own, or needs definitions.
    """
    validators = list(fields.values())
    config = validators[0].config
    for validator in validators:
        is_recursive = validator.schema["type"] == "definitions"
        if not validator.rebuilds or validator.config != config or is_recursive:
            return None
    schemas = {
        name: {"type": "model-field", "schema": validator.schema}
        for name, validator in fields.items()
    }
    schema = {"type": "model-fields", "fields": schemas}
    validate = _build_validator(schema, config).validate_python
    return lambda values: validate(values)[0]


def _build_validator(schema: Any, config: Json | None = None) -> SchemaValidator:
    """Return a validator of a schema that was changed.

    Without `_use_prebuilt=False` pydantic would use the finished validators of nested models.
    """
    make: Any = SchemaValidator
    return make(cast(CoreSchema, schema), config, _use_prebuilt=False)


def _is_closed(schema: Any) -> bool:
    """Return whether every part of a core schema is of a closed type."""
    if isinstance(schema, dict):
        mapping = cast(Json, schema)
        kind = mapping.get("type")
        # "no-info" and "with-info" are kinds of functions, which stand where types do.
        if isinstance(kind, str) and kind not in _CLOSED and kind not in ("no-info", "with-info"):
            return False
        ignored = ("metadata", "serialization", "config")
        return all(_is_closed(value) for key, value in mapping.items() if key not in ignored)
    if isinstance(schema, list | tuple):
        return all(_is_closed(item) for item in cast("list[Any]", schema))
    return True


def _revalidate_models(schema: Any) -> Any:
    """Return a copy of a core schema in which every model validates instances again."""
    if isinstance(schema, dict):
        changed = dict(cast(Json, schema))
        for key, value in changed.items():
            if key != "metadata":
                changed[key] = _revalidate_models(value)
        if changed.get("type") == "model":
            changed["revalidate_instances"] = "always"
        return changed
    if isinstance(schema, list):
        return [_revalidate_models(item) for item in cast("list[Any]", schema)]
    return schema

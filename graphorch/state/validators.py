"""Validators for single fields: the cost of an update does not depend on the size of the state.

They are taken from the core schema that pydantic made for the whole model, so types, constraints
and configuration all hold. What a node returns was validated when the node made it, and may have
been changed since. So a value is first held against the settled schema (see `settled.py`), which
converts nothing; only a value that pydantic cannot have made is converted to the declared type, or
refused.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from pydantic import BaseModel, ValidationError
from pydantic_core import CoreSchema, SchemaValidator

from graphorch.state.settled import SettledSchema, is_schema, settle, settle_config

Json = dict[str, Any]

# Core schema types whose validation makes a new object or whose values are immutable. Others, such
# as `any`, instances of arbitrary classes and iterators, may pass the caller's own object through.
_CLOSED = frozenset(
    "list set frozenset dict tuple str int float bool none literal enum nullable union "
    "tagged-union default date time datetime timedelta decimal uuid bytes url multi-host-url "
    "complex model model-fields model-field definitions definition-ref".split()
)


@dataclass(frozen=True, slots=True)
class Validator:
    """Validation of one field.

    `check` returns a valid value as it is, or what a raw one is converted to. `rebuild`, if there
    is one, makes a valid value anew in one go, so that it shares nothing mutable with the given
    one. It refuses models that are not of the declared type; where there are no models, it is
    `check`. With `is_opaque` a value may be of another type than the annotation says, because a
    function had the last word.
    """

    check: Callable[[Any], Any]
    rebuild: Callable[[Any], Any] | None
    is_opaque: bool
    schema: Json
    config: Json | None


def field_validators(model: type[BaseModel]) -> dict[str, Validator]:
    """Return validators by field: they return the value or raise `ValidationError`."""
    schemas = read_field_schemas(model)
    return {
        name: _compile_validator(cast(Json, field["schema"]), schemas.definitions, schemas.config)
        for name, field in schemas.fields.items()
    }


@dataclass(frozen=True, slots=True)
class FieldSchemas:
    """Core schemas of a model's fields, with the definitions that they refer to."""

    fields: dict[str, Json]
    definitions: list[Json]
    config: Json | None


def read_field_schemas(model: type[BaseModel]) -> FieldSchemas:
    """Return the core schemas that pydantic made for the fields of a model."""
    model.model_rebuild()
    schema = cast(Json, model.__pydantic_core_schema__)
    definitions = cast("list[Json]", schema.get("definitions", []))
    body = _model_schema(schema, definitions)
    fields = cast("dict[str, Json]", _fields_schema(body["schema"])["fields"])
    return FieldSchemas(fields, definitions, body.get("config"))


def calls_functions(schema: object) -> bool:
    """Return whether a function reads or writes a part of a core schema."""
    if isinstance(schema, dict):
        mapping = cast(Json, schema)
        parts = [value for key, value in mapping.items() if key != "metadata"]
        return "function" in mapping or any(map(calls_functions, parts))
    return isinstance(schema, list) and any(map(calls_functions, cast("list[Any]", schema)))


def is_serialized(schema: Json) -> bool:
    """Return whether a function writes the values of a field as a whole."""
    while schema.get("type") in ("model-field", "default", "nullable"):
        if "function" in schema.get("serialization", ()):
            return True
        schema = schema["schema"]
    return "function" in schema.get("serialization", ())


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


def _compile_validator(schema: Json, definitions: list[Json], config: Json | None) -> Validator:
    while schema["type"] == "default":
        schema = schema["schema"]
    settled = settle(schema, definitions, config)
    # Where validating again changes nothing, it makes new containers on the way.
    can_rebuild = not settled.differs and _is_closed(settled.rebuild)
    rebuild = build_validator(settled.rebuild, config).validate_python if can_rebuild else None
    if rebuild is not None and not settled.has_models:
        check = rebuild
    else:
        check = _compile_check(schema, settled, definitions, config)
    return Validator(check, rebuild, settled.is_opaque, settled.rebuild, config)


def _compile_check(
    schema: Json, settled: SettledSchema, definitions: list[Json], config: Json | None
) -> Callable[[Any], Any]:
    """Return a function that returns a finished value as it is, and makes one of any other."""
    settled_config = settle_config(config)
    validate = build_validator(settled.check, settled_config).validate_python
    if not (settled.differs or settled.has_models):
        return validate
    check = functools.partial(validate, strict=True)
    if settled.has_hooks:
        finish = check  # a rebuilt instance would lack its private attributes
    elif settled.has_models:
        # Some models in the value may be finished, so the original schema must not see them.
        finish = build_validator(settled.finish, settled_config).validate_python
    else:
        original = {"type": "definitions", "schema": schema, "definitions": definitions}
        finish = build_validator(original if definitions else schema, config).validate_python

    def convert(value: Any) -> Any:
        try:
            check(value)
        except ValidationError:
            return finish(value)
        return value

    return convert


def whole_validator(fields: Mapping[str, Validator]) -> Callable[[Any], dict[str, Any]] | None:
    """Return a function that validates many fields in one go, in the order of `fields`.

    None if they have to be validated singly: one cannot be rebuilt, has a configuration of its own,
    or needs definitions. The function refuses what `rebuild` of a field refuses.
    """
    validators = list(fields.values())
    config = validators[0].config
    for validator in validators:
        is_recursive = validator.schema["type"] == "definitions"
        if validator.rebuild is None or validator.config != config or is_recursive:
            return None
    schemas = {
        name: {"type": "model-field", "schema": validator.schema}
        for name, validator in fields.items()
    }
    schema = {"type": "model-fields", "fields": schemas}
    validate = build_validator(schema, config).validate_python
    return lambda values: validate(values)[0]


def build_validator(schema: Any, config: Json | None = None) -> SchemaValidator:
    """Return a validator of a schema that was changed.

    Without `_use_prebuilt=False` pydantic would use the finished validators of nested models.
    """
    make: Any = SchemaValidator
    return make(cast(CoreSchema, schema), config, _use_prebuilt=False)


def _is_closed(schema: Any) -> bool:
    """Return whether every part of a core schema is of a closed type."""
    if isinstance(schema, list | tuple):
        return all(_is_closed(item) for item in cast("list[Any]", schema))
    if not isinstance(schema, dict):
        return True
    mapping = cast(Json, schema)
    if not is_schema(mapping):
        return all(map(_is_closed, mapping.values()))
    ignored = ("metadata", "serialization", "config", "default", "expected", "members")
    parts = [value for key, value in mapping.items() if key not in ignored]
    return mapping["type"] in _CLOSED and all(map(_is_closed, parts))

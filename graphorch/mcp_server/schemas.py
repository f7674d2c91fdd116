"""Models as JSON schemas, and plain JSON values as models."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from pydantic import AliasChoices, AliasPath, BaseModel, ValidationError
from pydantic.fields import FieldInfo

from graphorch.errors import InputError, did_you_mean
from graphorch.text import explain_error

Schema: TypeAlias = dict[str, Any]


def build_schema(model: type[BaseModel], mode: Literal["validation", "serialization"]) -> Schema:
    """Return the JSON schema of a model, with an object at its root.

    `validation` is for what goes in, `serialization` for what comes out. Raises `InputError` for a
    model that has no schema.
    """
    try:
        schema = model.model_json_schema(mode=mode)
    except Exception as error:  # types of users may raise anything
        raise InputError(
            f"{model.__name__} has no JSON schema, which a tool needs: {explain_error(error)}"
        ) from error
    # The schema of a model that holds itself is a reference, which few clients follow at the root.
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    return {**(schema["$defs"][name] if name else {}), **_without(schema, "$ref"), "type": "object"}


def _without(schema: Schema, word: str) -> Schema:
    return {name: value for name, value in schema.items() if name != word}


def parse_values(model: type[BaseModel], values: Mapping[str, Any]) -> BaseModel:
    """Return the model of plain JSON values; a field goes by its name or its alias.

    Raises `InputError` with every problem, also for a field that the model does not have.
    """
    problems = list(find_unknown(model, values).values())
    try:
        parsed = model.model_validate_json(json.dumps(values), by_alias=True, by_name=True)
    except ValidationError as error:
        problems.append(explain_error(error))
        raise InputError(" ".join(problems)) from error
    if problems:
        raise InputError(" ".join(problems))
    return parsed


def find_unknown(model: type[BaseModel], values: Mapping[str, Any]) -> dict[str, str]:
    """Return what is wrong with the names in `values` that a model does not have, by name."""
    if model.model_config.get("extra") == "allow":
        return {}
    names = {name: _list_names(name, field) for name, field in model.model_fields.items()}
    known = set[str]().union(*names.values())
    return {
        name: f"There is no field '{name}'. {did_you_mean(name, known)}"
        for name in values
        if name not in known
    }


def _list_names(name: str, field: FieldInfo) -> set[str]:
    """Return every name under which a value may be given to a field."""
    alias = field.validation_alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
    names = [str(choice.path[0]) if isinstance(choice, AliasPath) else choice for choice in choices]
    return {name, *(other for other in (field.alias, *names) if other)}


def dump_output(output: BaseModel) -> Any:
    """Return an output as plain JSON values, as its schema describes them.

    Numbers that JSON lacks are null. Raises `InputError` for one that cannot be written as JSON.
    """
    try:
        return json.loads(output.model_dump_json(by_alias=True))
    except Exception as error:  # serializers of users may raise anything
        raise InputError(
            f"The output {type(output).__name__} cannot be written as JSON: {explain_error(error)}"
        ) from error

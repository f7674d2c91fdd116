"""All types of the API as JSON schemas with one set of definitions, in which no two share a name.

Models of flows come from files of users, and two of them may have a class of the same name: then
both get the name of their module as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, cast

from pydantic import TypeAdapter

from graphorch.errors import InputError
from graphorch.mcp_server.schemas import build_schema
from graphorch.server.encoding import build_adapter

Schema: TypeAlias = dict[str, Any]
Mode: TypeAlias = Literal["validation", "serialization"]
Key: TypeAlias = tuple[str, Mode]
"""A name that the caller gives to a type, and whether values of it come in or go out."""

_TEMPLATE: Final = "#/components/schemas/{model}"


@dataclass(frozen=True, slots=True)
class Schemas:
    """The schemas of some types, and the definitions that they refer to."""

    by_key: Mapping[Key, Schema]
    definitions: Mapping[str, Schema]

    def resolve(self, key: Key) -> Schema:
        """Return the schema of a type itself, where it is a reference to its definition."""
        schema = self.by_key[key]
        reference = schema.get("$ref")
        if reference is None:
            return schema
        return self.definitions[str(reference).rpartition("/")[2]]


def collect_schemas(types: Mapping[Key, Any]) -> Schemas:
    """Return the schemas of types by their keys."""
    inputs: Sequence[tuple[str, Mode, TypeAdapter[Any]]] = [
        (name, mode, build_adapter(type_)) for (name, mode), type_ in types.items()
    ]
    by_key, rest = TypeAdapter.json_schemas(inputs, ref_template=_TEMPLATE)
    return Schemas(dict(by_key), _separate_titles(rest.get("$defs", {})))


def _separate_titles(definitions: Mapping[str, Schema]) -> dict[str, Schema]:
    """Return definitions of which no two have one title: generators name classes by it."""
    counts = Counter(schema.get("title", name) for name, schema in definitions.items())
    return {
        name: {**schema, "title": name} if counts[schema.get("title", name)] > 1 else schema
        for name, schema in definitions.items()
    }


def list_references(value: Any) -> set[str]:
    """Return the names of the definitions that a part of a document refers to."""
    names: set[str] = set()
    left = [value]
    while left:
        part = left.pop()
        if isinstance(part, dict):
            reference = cast("dict[str, Any]", part).get("$ref")
            if isinstance(reference, str):
                names.add(reference.rpartition("/")[2])
            left += cast("dict[str, Any]", part).values()
        elif isinstance(part, list):
            left += cast("list[Any]", part)
    return names


def keep_referred(definitions: Mapping[str, Schema], names: set[str]) -> dict[str, Schema]:
    """Return the definitions that some names lead to."""
    kept: dict[str, Schema] = {}
    left = set(names)
    while left:
        name = left.pop()
        if name in definitions and name not in kept:
            kept[name] = definitions[name]
            left |= list_references(definitions[name])
    return {name: kept[name] for name in definitions if name in kept}


def find_flow_type(model: Any, mode: Mode) -> Any:
    """Return a model of a flow, or `Any` for one that has no schema: types of users may lack it."""
    try:
        build_schema(model, mode)
    except InputError:
        return Any
    return model

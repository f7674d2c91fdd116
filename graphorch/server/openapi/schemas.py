"""All types of the API as JSON schemas with one set of definitions, in which no two share a name.

Models of flows come from files of users, and two of them may have a class of the same name: then
both get the name of their module as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from pydantic import TypeAdapter

from graphorch.errors import InputError
from graphorch.mcp_server.schemas import build_schema
from graphorch.server.dispatch import build_adapter

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
    return Schemas(dict(by_key), rest.get("$defs", {}))


def find_flow_type(model: Any, mode: Mode) -> Any:
    """Return a model of a flow, or `Any` for one that has no schema: types of users may lack it."""
    try:
        build_schema(model, mode)
    except InputError:
        return Any
    return model

"""JSON schemas of servers: checked when they arrive, and held against values."""

from __future__ import annotations

from typing import Any

import pytest

from graphorch.agents.mcp.schemas import find_schema_problem, list_misfits

NESTED: Any = []
for _ in range(5_000):
    NESTED = [NESTED]


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "object"},
        {"properties": {"n": {"$ref": "#/$defs/n"}}, "$defs": {"n": {"type": "integer"}}},
        {"properties": {"child": {"$ref": "#"}}},
        {"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"},
        {"properties": {"n": {"$ref": "#n"}}, "$defs": {"n": {"$anchor": "n"}}},
    ],
)
def test_usable_schemas_have_no_problem(schema: dict[str, Any]) -> None:
    """Schemas of older drafts, with references and with recursion can be used."""
    assert find_schema_problem(schema) == ""


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ({"type": "string"}, "its arguments are 'string' instead of an object"),
        ({"type": ["object", "null"]}, "instead of an object"),
        ({"properties": {"n": {"type": "int"}}}, "not a JSON schema at properties/n/type"),
        ({"properties": {"n": {"minimum": "1"}}}, "not a JSON schema at properties/n/minimum"),
        ({"$ref": "#"}, "refers to itself without end"),
        (
            {"properties": {"n": {"$ref": "http://127.0.0.1:9/n"}}},
            "its schema refers to 'http://127.0.0.1:9/n', which is not in it",
        ),
        ({"properties": {"n": {"$ref": "file:///etc/passwd"}}}, "which is not in it"),
        ({"properties": {"n": {"$ref": "#/$defs/n"}}}, "refers to '#/$defs/n', which is not in it"),
        ({"patternProperties": {"(": {}}}, "its schema"),
    ],
)
def test_unusable_schema_is_named(schema: dict[str, Any], problem: str) -> None:
    """A schema that is none, leads out of itself or in a circle is said to be so."""
    assert problem in find_schema_problem(schema)


def test_misfits_have_places() -> None:
    """Each fault says where it is, and at most five are told."""
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer"}, "list": {"items": {"type": "string"}}},
        "required": ["x"],
    }
    assert list_misfits(schema, {"n": "1", "list": ["a", 2]}) == [
        "n: '1' is not of type 'integer'",
        "list.1: 2 is not of type 'string'",
        "arguments: 'x' is a required property",
    ]
    many = {"required": [str(number) for number in range(9)]}
    assert len(list_misfits(many, {})) == 5


def test_endless_value_is_no_crash() -> None:
    """A value that is nested thousands of times is refused instead of an exception."""
    schema = {"properties": {"n": {"$ref": "#/$defs/n"}}, "$defs": {"n": {"items": {}}}}
    deep = {
        "$defs": {"n": {"items": {"$ref": "#/$defs/n"}}},
        "properties": {"n": {"$ref": "#/$defs/n"}},
    }
    assert list_misfits(schema, {"n": []}) == []
    assert list_misfits(deep, {"n": NESTED}) == ["it is nested too deeply"]

"""Schemas for structured output: strict where an endpoint can enforce it, otherwise as they are."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from graphorch.models.json_schema import build_response_format, describe_schema, strip_code_fence


class Inner(BaseModel):
    kind: Literal["a", "b"] = "a"


class Outer(BaseModel):
    name: str = ""
    inner: Inner = Field(default_factory=Inner, description="what is inside")
    items: list[Inner] = []


def build_schema(model: type[BaseModel]) -> tuple[bool, dict[str, Any]]:
    described: Any = build_response_format(model)
    return described["json_schema"]["strict"], described["json_schema"]["schema"]


def test_strict_schema_closes_objects() -> None:
    """Forbid extra keys and require every field in each object of a strict schema."""
    strict, schema = build_schema(Outer)
    assert strict
    for item in (schema, schema["$defs"]["Inner"]):
        assert item["additionalProperties"] is False
        assert item["required"] == list(item["properties"])
    assert "default" not in str(schema)
    assert schema["properties"]["inner"] == {"$ref": "#/$defs/Inner"}


class Open(BaseModel):
    values: dict[str, int]


class Anything(BaseModel):
    value: Any


class Pair(BaseModel):
    pair: tuple[int, str]


class Many(BaseModel):
    values: list[Any]


class Defaulted(BaseModel):
    default: dict[str, int] = {}
    inner: Inner = Inner()


def test_every_schema_requires_every_key() -> None:
    """Require every key in words and where a schema cannot be strict, and show no defaults."""
    strict, schema = build_schema(Defaulted)
    assert not strict
    assert schema["required"] == ["default", "inner"]
    assert schema["$defs"]["Inner"]["required"] == ["kind"]
    assert "default" not in schema["properties"]["inner"]
    words = describe_schema(Outer)
    assert '"required":["name","inner","items"]' in words
    assert '"default"' not in words


@pytest.mark.parametrize("model", [Open, Anything, Pair, Many])
def test_unsupported_schema_is_not_strict(model: type[BaseModel]) -> None:
    """Send a schema that strict mode cannot express unchanged, and not as strict."""
    assert build_schema(model) == (False, model.model_json_schema())


def test_strict_schema_keeps_keyword_fields() -> None:
    """Keep fields whose names are keywords of JSON Schema."""

    class Odd(BaseModel):
        default: int = 1
        discriminator: str = ""

    strict, schema = build_schema(Odd)
    assert strict
    assert list(schema["properties"]) == ["default", "discriminator"]


def test_schema_name_fits_endpoints() -> None:
    """Send a name of at most 64 ASCII characters."""
    described: Any = build_response_format(type("Ünïcode[int]" + "x" * 90, (Outer,), {}))
    name = described["json_schema"]["name"]
    assert name.isascii()
    assert len(name) == 64


def test_described_schema_forbids_other_text() -> None:
    """Describe the schema in words and ask for nothing else."""
    words = describe_schema(Outer)
    assert '"what is inside"' in words
    assert "nothing else" in words


@pytest.mark.parametrize(
    "text, inside",
    [
        ('```json\n{"a": 1}\n```', '{"a": 1}'),
        ("```\n{}\n```\n", "{}"),
        ("{}", "{}"),
        ("see ```x```", "see ```x```"),
        ("```json\n{}", "```json\n{}"),
    ],
)
def test_code_fence_around_everything_is_stripped(text: str, inside: str) -> None:
    """Strip a code fence only if it encloses the whole text."""
    assert strip_code_fence(text) == inside

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


def shape_of(model: type[BaseModel]) -> tuple[bool, dict[str, Any]]:
    described: Any = build_response_format(model)
    return described["json_schema"]["strict"], described["json_schema"]["schema"]


def test_a_strict_schema_closes_every_object_and_requires_every_field() -> None:
    strict, schema = shape_of(Outer)
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


@pytest.mark.parametrize("model", [Open, Anything, Pair, Many])
def test_what_strict_mode_lacks_is_sent_as_it_is(model: type[BaseModel]) -> None:
    assert shape_of(model) == (False, model.model_json_schema())


def test_a_field_that_is_called_like_a_word_of_the_schema_language_stays() -> None:
    class Odd(BaseModel):
        default: int = 1
        discriminator: str = ""

    strict, schema = shape_of(Odd)
    assert strict
    assert list(schema["properties"]) == ["default", "discriminator"]


def test_the_name_fits_what_endpoints_take() -> None:
    described: Any = build_response_format(type("Ünïcode[int]" + "x" * 90, (Outer,), {}))
    name = described["json_schema"]["name"]
    assert name.isascii()
    assert len(name) == 64


def test_in_words_holds_the_schema_and_forbids_the_rest() -> None:
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
def test_a_fence_is_taken_off_only_if_it_is_around_everything(text: str, inside: str) -> None:
    assert strip_code_fence(text) == inside

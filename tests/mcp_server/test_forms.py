"""Forms: every answer of every model can be given, and what a client sends is validated."""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Any, Literal

import pytest
from mcp_types._v2025_11_25 import PrimitiveSchemaDefinition  # what every client has to draw
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from graphorch.errors import InputError
from graphorch.mcp_server.forms import build_form


class Colour(StrEnum):
    red = "red"
    blue = "blue"


class Size(BaseModel):
    width: int


class Order(BaseModel):
    ok: bool
    why: str = ""
    maybe: int | None
    count: int = Field(3, ge=1, le=5)
    kind: Literal["new", "old"]
    only: Literal["this"] = "this"
    level: Literal[1, 2] = 1
    colour: Colour = Colour.red
    colours: list[Colour] = []
    tags: list[str] = []
    when: date | None = None
    size: Size | None = None
    either: int | str = 3
    name: str = Field("x", alias="called")


class Tree(BaseModel):
    name: str
    children: list[Tree] = []


class Nothing(BaseModel): ...


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    name: str = ""


PLAIN = {"ok": True, "kind": "new"}


@pytest.mark.parametrize("model", [Order, Tree, Nothing, Open])
def test_fields_of_form_are_flat(model: type[BaseModel]) -> None:
    """Each field of a form is one that the protocol knows, whatever the field of the model is."""
    schema = build_form(model).schema
    assert schema["type"] == "object"
    for field in schema["properties"].values():
        TypeAdapter[Any](PrimitiveSchemaDefinition).validate_python(field)


def test_form_requires_what_has_no_default() -> None:
    """A field is required if the model needs it and null is none of its values."""
    assert build_form(Order).schema["required"] == ["ok", "kind"]
    assert "required" not in build_form(Nothing).schema


def test_form_keeps_choices_limits_and_defaults() -> None:
    """What a form can say of a field, it says."""
    fields = build_form(Order).schema["properties"]
    assert fields["kind"]["enum"] == ["new", "old"]
    assert fields["colours"]["items"] == {"type": "string", "enum": ["red", "blue"]}
    assert (fields["count"]["minimum"], fields["count"]["maximum"]) == (1, 5)
    assert fields["count"]["default"] == 3
    assert fields["when"]["format"] == "date"
    assert '"width"' in fields["size"]["description"]


@pytest.mark.parametrize(
    "content, field, value",
    [
        ({}, "maybe", None),
        ({"maybe": 4}, "maybe", 4),
        ({"count": "4"}, "count", 4),
        ({"level": "2"}, "level", 2),
        ({"colours": ["blue"]}, "colours", [Colour.blue]),
        ({"tags": '["a", "b"]'}, "tags", ["a", "b"]),
        ({"when": "2026-03-31"}, "when", date(2026, 3, 31)),
        ({"size": '{"width": 3}'}, "size", Size(width=3)),
        ({"either": '"text"'}, "either", "text"),
        ({"either": 5}, "either", 5),
        ({"called": "y"}, "name", "y"),
        ({"why": ""}, "why", ""),
        ({"size": "", "tags": "", "maybe": ""}, "size", None),
        ({"tags": None, "count": None}, "tags", []),
    ],
)
def test_filled_form_is_answer(content: dict[str, Any], field: str, value: object) -> None:
    """Every kind of field can be filled in; one that forms lack is JSON in a text."""
    answer = build_form(Order).read({**PLAIN, **content})
    assert getattr(answer, field) == value


@pytest.mark.parametrize(
    "content, reason",
    [
        (None, "Nothing was filled in. Known: ok, why,"),
        ({}, "Nothing was filled in"),
        ({"ok": None, "size": "", "tags": ""}, "Nothing was filled in"),
        ({"ok": True, "kimd": "new"}, "There is no field 'kimd'. Did you mean 'kind'?"),
        ({**PLAIN, "size": "{"}, "size: '{' is not JSON"),
        ({**PLAIN, "size": "[" * 100_000}, "is not JSON"),
        ({**PLAIN, "size": '{"width": "wide"}'}, "size.width: Input should be a valid integer"),
        ({**PLAIN, "count": 9}, "count: Input should be less than or equal to 5"),
        ({"ok": True, "kind": "odd"}, "kind: Input should be 'new' or 'old'"),
        ({"ok": None, "kind": "new"}, "ok: Field required"),
    ],
)
def test_wrong_form_says_what_is_wrong(content: dict[str, Any] | None, reason: str) -> None:
    """A form that does not fit is no answer; the message names the field and the value."""
    with pytest.raises(InputError) as raised:
        build_form(Order).read(content)
    assert reason in str(raised.value)


def test_empty_model_is_answered_by_nothing() -> None:
    """An answer without fields is a plain yes: the accepted form is all that it takes."""
    assert build_form(Nothing).read(None) == Nothing()


def test_model_that_holds_itself_has_form() -> None:
    """A recursive answer has a form whose deep part is JSON."""
    tree = build_form(Tree).read({"name": "a", "children": '[{"name": "b"}]'})
    assert tree == Tree(name="a", children=[Tree(name="b")])

"""Questions of a run as forms of a client, and filled-in forms as answers.

A form of the protocol has flat fields: texts, numbers, truth values, and choices among texts. A
field of an answer that is none of these is a text in which the client writes JSON. Whatever a
client sends, the model of the answer validates it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from pydantic import BaseModel

from graphorch.errors import InputError, did_you_mean
from graphorch.mcp_server.schemas import Schema, build_schema, parse_values
from graphorch.text import truncate, truncate_repr

_LONGEST_SCHEMA: Final = 600  # characters of a schema that a field describes
_WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "string": ("minLength", "maxLength", "format", "default"),
    "integer": ("minimum", "maximum", "default"),
    "number": ("minimum", "maximum", "default"),
    "boolean": ("default",),
}
"""Types of plain fields, and the words of their schemas that a form may have."""
_FORMATS: Final = ("date", "date-time", "email", "uri")


@dataclass(frozen=True, slots=True)
class _Field:
    """Field of a form: its schema, whether it is a text that holds JSON, and what may be absent."""

    words: Schema
    is_json: bool
    is_nullable: bool
    is_required: bool

    def is_blank(self, value: object) -> bool:
        """Return whether a client shows by an empty text that nothing was filled in."""
        may_be_absent = self.is_nullable or (self.is_json and not self.is_required)
        return value is None or (value == "" and may_be_absent)


@dataclass(frozen=True, slots=True)
class Form:
    """Form that asks for a model."""

    model: type[BaseModel]
    fields: Mapping[str, _Field]

    @property
    def schema(self) -> Schema:
        """JSON schema that a client draws the form from."""
        required = [
            name
            for name, field in self.fields.items()
            if field.is_required and not field.is_nullable
        ]
        properties = {name: field.words for name, field in self.fields.items()}
        schema: Schema = {"type": "object", "properties": properties}
        return {**schema, "required": required} if required else schema

    def read(self, content: Mapping[str, Any] | None) -> BaseModel:
        """Return the answer of a filled-in form. Raises `InputError` that says what does not fit.

        A form in which nothing is filled in is no answer, also if every field has a default: a
        question is answered once and for good.
        """
        given = dict(content or {})
        for name in given:
            if name not in self.fields:
                raise InputError(f"There is no field '{name}'. {did_you_mean(name, self.fields)}")
        values = {
            name: _read_value(name, value, self.fields[name])
            for name, value in given.items()
            if not self.fields[name].is_blank(value)
        }
        if not values and self.fields:
            raise InputError(f"Nothing was filled in. Known: {', '.join(self.fields)}.")
        for name, field in self.fields.items():
            if field.is_required and field.is_nullable:  # a form cannot say null
                values.setdefault(name, None)
        return parse_values(self.model, values)


def _read_value(name: str, value: object, field: _Field) -> object:
    if not field.is_json or not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name}: {truncate_repr(value)} is not JSON: {error}") from None


def build_form(model: type[BaseModel]) -> Form:
    """Return the form that asks for a model. Raises `InputError` for one without a JSON schema."""
    root = build_schema(model, "validation")
    required = set(cast("list[str]", root.get("required", [])))
    fields: dict[str, _Field] = {}
    for name, words in cast("dict[str, Schema]", root.get("properties", {})).items():
        full, is_nullable = _resolve(words, root)
        field, is_json = _build_field(full, root)
        fields[name] = _Field(field, is_json, is_nullable, name in required)
    return Form(model, fields)


def _resolve(words: Schema, root: Schema) -> tuple[Schema, bool]:
    """Return a schema without references at its top, and whether null is one of its values."""
    is_nullable = False
    while True:
        choices = cast("list[Schema]", words.get("anyOf", []))
        others = [choice for choice in choices if choice.get("type") != "null"]
        if "$ref" in words:
            target = cast("Schema", root["$defs"][str(words["$ref"]).rpartition("/")[2]])
        elif len(others) == 1 and len(choices) == 2:
            is_nullable, target = True, others[0]
        else:
            return words, is_nullable
        rest = {key: value for key, value in words.items() if key not in ("$ref", "anyOf")}
        words = {**target, **rest}


def _build_field(words: Schema, root: Schema) -> tuple[Schema, bool]:
    """Return the schema of a field of a form, and whether the field is a text that holds JSON."""
    kind = words.get("type")
    about = {key: words[key] for key in ("title", "description") if key in words}
    # Four cases: one or several choices among texts; a plain value; anything else.
    if choices := _list_choices(words):
        return {"type": "string", **about, "enum": choices, **_keep(words, ("default",))}, False
    if kind == "array":
        items, _ = _resolve(cast("Schema", words.get("items", {})), root)
        if choices := _list_choices(items):
            limits = _keep(words, ("minItems", "maxItems", "default"))
            item = {"type": "string", "enum": choices}
            return {"type": "array", **about, "items": item, **limits}, False
    if kind in _WORDS and not words.keys() & {"enum", "const"}:
        return {"type": kind, **about, **_keep(words, _WORDS[kind])}, False
    return {"type": "string", **about, "description": _describe_json(words, root)}, True


def _list_choices(words: Schema) -> list[str]:
    """Return the texts that a field may have; none if it may have others, or is no text."""
    choices = cast("list[object]", [words["const"]] if "const" in words else words.get("enum", []))
    texts = [choice for choice in choices if isinstance(choice, str)]
    return texts if len(texts) == len(choices) else []


def _keep(words: Schema, names: tuple[str, ...]) -> Schema:
    """Return the words of a schema that a form may have; a default of null is left out."""
    kept = {name: words[name] for name in names if words.get(name) is not None}
    if kept.get("format") not in _FORMATS:
        kept.pop("format", None)
    return kept


def _describe_json(words: Schema, root: Schema) -> str:
    """Return the description of a text that holds JSON, with the schema of its value."""
    schema = {key: value for key, value in words.items() if key not in ("title", "description")}
    text = json.dumps(schema, ensure_ascii=False)
    if "$ref" in text:
        text = json.dumps({**schema, "$defs": root["$defs"]}, ensure_ascii=False)
    text = truncate(text, _LONGEST_SCHEMA)
    return f"{words.get('description', '')} Write JSON of this schema: {text}".strip()

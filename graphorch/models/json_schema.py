"""The JSON schema of a structured output: strict where endpoints enforce it, else in words."""

from __future__ import annotations

import json
import re
from typing import Any, cast

from pydantic import BaseModel

# A value without any of these words may be anything.
_TYPE_WORDS = frozenset({"type", "$ref", "anyOf", "allOf", "oneOf", "enum", "const"})


def build_response_format(schema: type[BaseModel]) -> dict[str, object]:
    """Return the `response_format` of a request, strict wherever the schema allows it.

    Every key is required, since one that is missing would silently become its default.
    Source: OpenAI, "Structured outputs", 2026-11.
    """
    json_schema = schema.model_json_schema()
    is_strict = _can_be_strict(json_schema)
    json_schema = _make_strict(json_schema) if is_strict else _require_all(json_schema)
    name = re.sub(r"[^A-Za-z0-9_-]", "_", schema.__name__)[:64]
    return {
        "type": "json_schema",
        "json_schema": {"name": name, "schema": json_schema, "strict": is_strict},
    }


def describe_schema(schema: type[BaseModel]) -> str:
    """Return the instruction to follow a schema, for an endpoint without structured output."""
    json_schema = _require_all(schema.model_json_schema())
    described = json.dumps(json_schema, ensure_ascii=False, separators=(",", ":"))
    return (
        "Answer with one JSON object and nothing else: no explanation, no code fence. "
        f"It must fit this JSON schema:\n{described}"
    )


def strip_code_fence(text: str) -> str:
    """Remove the code fence that models put around JSON; return other text unchanged."""
    fenced = re.fullmatch(r"\s*```[A-Za-z]*\s*\n(.*)\n\s*```\s*", text, re.DOTALL)
    return fenced.group(1) if fenced else text


def _can_be_strict(node: object) -> bool:
    """Return whether strict mode can express a schema: no open objects, no untyped values."""
    if isinstance(node, list):
        return all(_can_be_strict(item) for item in cast("list[object]", node))
    if not isinstance(node, dict):
        return True
    words = cast("dict[str, Any]", node)
    if _is_open_object(words) or "prefixItems" in words:
        return False
    properties = cast("dict[str, object]", words.get("properties") or {})
    values = list(properties.values())
    if "items" in words:
        values.append(words["items"])
    if not all(_is_typed(value) for value in values):
        return False
    return all(_can_be_strict(value) for value in words.values())


def _is_open_object(words: dict[str, Any]) -> bool:
    """Return whether a schema allows keys that it does not name, as `dict[str, …]` does."""
    if words.get("type") != "object":
        return False
    return "properties" not in words or words.get("additionalProperties") not in (None, False)


def _is_typed(node: object) -> bool:
    return isinstance(node, dict) and not _TYPE_WORDS.isdisjoint(cast("dict[str, Any]", node))


def _make_strict(node: Any) -> Any:
    """Return a copy in which every object is closed and requires all its fields.

    Defaults are dropped, because a required field never uses them.
    """
    if isinstance(node, list):
        return [_make_strict(item) for item in cast("list[Any]", node)]
    if not isinstance(node, dict):
        return node
    words = cast("dict[str, Any]", node)
    # strict mode takes no neighbours of a reference
    if "$ref" in words:
        return {"$ref": words["$ref"]}
    copy: dict[str, Any] = {}
    for word, value in words.items():
        # keys of these two are names that the author chose, not words of the schema language
        if word in ("properties", "$defs"):
            copy[word] = {name: _make_strict(field) for name, field in value.items()}
        elif word not in ("default", "discriminator"):
            copy["anyOf" if word == "oneOf" else word] = _make_strict(value)
    if copy.get("type") == "object":
        copy["additionalProperties"] = False
        copy["required"] = list(copy.get("properties", {}))
    return copy


def _require_all(node: Any) -> Any:
    """Return a copy in which every object requires all keys that it names.

    Their defaults are dropped, because a required key never uses them.
    """
    if isinstance(node, list):
        return [_require_all(item) for item in cast("list[Any]", node)]
    if not isinstance(node, dict):
        return node
    words = cast("dict[str, Any]", node)
    copy: dict[str, Any] = {}
    for word, value in words.items():
        # keys of these two are names that the author chose, not words of the schema language
        if word in ("properties", "$defs"):
            copy[word] = {name: _require_all(field) for name, field in value.items()}
        elif word != "default":
            copy[word] = _require_all(value)
    if copy.get("properties"):
        copy["required"] = list(copy["properties"])
    return copy

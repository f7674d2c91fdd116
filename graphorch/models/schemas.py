"""The JSON schema of a structured output: in the strict form that endpoints enforce, or in words for those that cannot."""

from __future__ import annotations

import json
import re
from typing import Any, cast

from pydantic import BaseModel


def response_format(schema: type[BaseModel]) -> dict[str, object]:
    """The `response_format` of a request. Strict wherever the schema allows it (OpenAI, "Structured outputs", 2026-11)."""
    described = schema.model_json_schema()
    strict = _can_be_strict(described)
    name = re.sub(r"[^A-Za-z0-9_-]", "_", schema.__name__)[:64]
    shape = _strict(described) if strict else described
    return {"type": "json_schema", "json_schema": {"name": name, "schema": shape, "strict": strict}}


def in_words(schema: type[BaseModel]) -> str:
    """The same demand as an instruction, for an endpoint that has no structured output."""
    described = json.dumps(schema.model_json_schema(), ensure_ascii=False, separators=(",", ":"))
    return f"Answer with one JSON object and nothing else: no explanation, no code fence. It must fit this JSON schema:\n{described}"


def unfenced(text: str) -> str:
    """The JSON without the code fence that a model put around it although it was told not to; other text is returned unchanged."""
    fenced = re.fullmatch(r"\s*```[A-Za-z]*\s*\n(.*)\n\s*```\s*", text, re.DOTALL)
    return fenced.group(1) if fenced else text


def _can_be_strict(node: object) -> bool:
    """Strict mode has no open objects (`dict[str, …]`) and no untyped values."""
    if isinstance(node, list):
        return all(_can_be_strict(each) for each in cast("list[object]", node))
    if not isinstance(node, dict):
        return True
    fields = cast("dict[str, Any]", node)
    if fields.get("type") == "object" and ("properties" not in fields or fields.get("additionalProperties") not in (None, False)):
        return False
    named = cast("dict[str, Any]", fields.get("properties") or {})
    if any(not _is_typed(each) for each in [*named.values(), *([fields["items"]] if "items" in fields else [])]):
        return False
    return "prefixItems" not in fields and all(_can_be_strict(each) for each in fields.values())


def _is_typed(node: object) -> bool:
    return isinstance(node, dict) and bool(set(cast("dict[str, Any]", node)) & {"type", "$ref", "anyOf", "allOf", "oneOf", "enum", "const"})


def _strict(node: Any) -> Any:
    """A copy in which every object is closed and requires all its fields; defaults are dropped, because they are no longer used."""
    if isinstance(node, list):
        return [_strict(each) for each in cast("list[Any]", node)]
    if not isinstance(node, dict):
        return node
    fields = cast("dict[str, Any]", node)
    if "$ref" in fields:  # strict mode takes no neighbours of a reference
        return {"$ref": fields["$ref"]}
    copy: dict[str, Any] = {}
    for name, value in fields.items():
        if name in ("properties", "$defs"):  # the keys are names of the author, not words of the schema language
            copy[name] = {each: _strict(shape) for each, shape in value.items()}
        elif name not in ("default", "discriminator"):
            copy["anyOf" if name == "oneOf" else name] = _strict(value)
    if copy.get("type") == "object":
        copy |= {"additionalProperties": False, "required": list(copy.get("properties", {}))}
    return copy

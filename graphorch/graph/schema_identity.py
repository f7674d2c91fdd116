"""Identity of a JSON schema: what decides which values fit, without titles and class names."""

from __future__ import annotations

from typing import Any, cast

_PROSE = frozenset({"title", "description", "$defs"})
# their keys are names of the author's fields
_NAMED_SCHEMAS = frozenset({"properties", "patternProperties", "dependentSchemas"})
# their content is data, not schema
_VALUES = frozenset({"default", "const", "enum", "examples", "required"})
_REFERENCE = "#/$defs/"


def strip_names(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a JSON schema without titles and descriptions.

    Its definitions are numbered in the order in which they are first referred to.
    """
    definitions: dict[str, Any] = schema.get("$defs", {})
    numbers: dict[str, str] = {}
    stripped = _strip(schema, numbers)
    # A definition may refer to others, which then get the next numbers.
    numbered: dict[str, Any] = {}
    while len(numbered) < len(numbers):
        name = list(numbers)[len(numbered)]
        numbered[numbers[name]] = _strip(definitions.get(name, {}), numbers)
    return {**stripped, "$defs": numbered} if numbered else stripped


def _strip(schema: Any, numbers: dict[str, str]) -> Any:
    if isinstance(schema, str) and schema.startswith(_REFERENCE):
        name = schema.removeprefix(_REFERENCE)
        return f"{_REFERENCE}{numbers.setdefault(name, str(len(numbers)))}"
    if isinstance(schema, list):
        return [_strip(item, numbers) for item in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    stripped: dict[str, Any] = {}
    for key, value in cast("dict[str, Any]", schema).items():
        if key in _PROSE:
            continue
        if key in _VALUES:
            stripped[key] = value
        elif key in _NAMED_SCHEMAS:
            stripped[key] = {name: _strip(inner, numbers) for name, inner in value.items()}
        else:
            stripped[key] = _strip(value, numbers)
    return stripped

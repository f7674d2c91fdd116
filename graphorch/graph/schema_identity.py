"""Identity of a JSON schema: what decides which values fit, without titles and class names."""

from __future__ import annotations

from functools import cache
from math import isfinite
from typing import TYPE_CHECKING, Any, cast

from graphorch.text import clean

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.json_schema import GenerateJsonSchema

_PROSE = frozenset({"title", "description", "$defs"})
# their keys are names of the author's fields
_NAMED_SCHEMAS = frozenset({"properties", "patternProperties", "dependentSchemas"})
# their content is data, not schema
_VALUES = frozenset({"default", "const", "enum", "examples", "required"})
_REFERENCE = "#/$defs/"
_LARGEST = 2**53  # whole numbers that every reader of JSON holds exactly


def build_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON schema of a model as plain JSON.

    A field that has no JSON, such as a connection or a function, is described by what it is in
    Python: a state may hold what is never written down.
    """
    return to_plain(model.model_json_schema(schema_generator=_lenient_generator()))


@cache
def _lenient_generator() -> type[GenerateJsonSchema]:
    from pydantic.json_schema import GenerateJsonSchema, JsonSchemaWarningKind

    class LenientGenerator(GenerateJsonSchema):
        """Describes every type, and leaves defaults out that have no JSON, without a warning."""

        def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> dict[str, Any]:
            return {"python": schema["type"]}

        def emit_warning(self, kind: JsonSchemaWarningKind, detail: str) -> None: ...

    return LenientGenerator


def to_plain(value: Any) -> Any:
    """Return a description as JSON that any file can hold: no NaN, no half surrogate pairs."""
    if isinstance(value, dict):
        entries = cast("dict[Any, Any]", value).items()
        return {clean(str(key)): to_plain(item) for key, item in entries}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in cast("list[Any]", value)]
    if isinstance(value, str):
        return clean(str(value))
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) <= _LARGEST:
        return int(value)
    if isinstance(value, float) and isfinite(value):
        return float(value)
    return clean(str(value)) if isinstance(value, int | float) else type(value).__name__


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

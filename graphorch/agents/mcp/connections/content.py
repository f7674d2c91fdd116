"""Results of servers as texts for a model.

Rules of this file:
1. The parts of a result stand in their order, with an empty line between them. Text and text
   resources stay as they are; a resource is headed by its address.
2. What is no text (images, audio, binary resources) is named with its type and size.
3. A structured result is added as JSON, unless a text part says the very same already.
4. Nothing is left out without a word.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from graphorch.text import escape_surrogates

if TYPE_CHECKING:
    import mcp_types as types

NOTHING = "(The tool returned nothing.)"


def write_content(content: list[Any], structured: object) -> str:
    """Return the parts of a result, and its structured form, as one text."""
    parts = [_write_part(part) for part in content]
    if structured is not None and not _is_repeated(structured, parts):
        parts.append(json.dumps(structured, ensure_ascii=False))
    return escape_surrogates("\n\n".join(part for part in parts if part)) or NOTHING


def _write_part(part: types.ContentBlock) -> str:
    if part.type == "text":
        return part.text
    if part.type == "resource":
        return "\n".join(_write_resource(part.resource))
    if part.type == "resource_link":
        details = [part.title or part.name, part.mime_type, part.description]
        return f"[link to {part.uri}: {', '.join(detail for detail in details if detail)}]"
    return f"[{part.type} of type {part.mime_type}, {_measure_base64(part.data)}, not shown]"


def _write_resource(
    resource: types.TextResourceContents | types.BlobResourceContents,
) -> Iterator[str]:
    kind = f", {resource.mime_type}" if resource.mime_type else ""
    blob: str | None = getattr(resource, "blob", None)
    if blob is not None:
        yield f"[resource {resource.uri}{kind}, {_measure_base64(blob)}, not shown]"
        return
    yield f"[resource {resource.uri}{kind}]"
    yield getattr(resource, "text", "")


def _measure_base64(data: str) -> str:
    count = len(data) * 3 // 4 - data[-2:].count("=")
    return f"{max(count, 0):,} bytes"


def _is_repeated(structured: object, parts: list[str]) -> bool:
    """Return whether a text part is the JSON of the structured result."""
    for part in parts:
        try:
            value: object = json.loads(part)
        except (ValueError, RecursionError):
            continue
        if _write_canonical(value) == _write_canonical(structured):
            return True
    return False


def _write_canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True)

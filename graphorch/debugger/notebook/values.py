"""Values of a state as text for a page, and text of a page as values."""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic import TypeAdapter

from graphorch.errors import GraphorchError
from graphorch.text import truncate_counted

_MODULE = re.compile(r"(?:\w+\.)+(?=\w)")
_LINE = 120  # characters; longer objects get a line per field
MAX_SHOWN = 4000  # characters of one value, message or answer


def format_value(value: object) -> str:
    """Return a value as text: text as it is, anything else as JSON if possible, long ones cut."""
    if isinstance(value, str):
        return cut_text(value)
    try:
        adapter = TypeAdapter[Any](type(value))
        text = adapter.dump_json(value, warnings=False).decode()
        if len(text) > _LINE and "{" in text:
            text = adapter.dump_json(value, indent=1, warnings=False).decode()
    except Exception:
        # A user's serializer may raise anything, and a display must not end the run.
        text = repr(value)
    return cut_text(text)


def describe_type(annotation: Any) -> str:
    """Return a type as it is written, without the modules of its names."""
    is_generic = bool(getattr(annotation, "__args__", None))
    if not is_generic and getattr(annotation, "__name__", ""):
        return annotation.__name__
    return _MODULE.sub("", str(annotation))


def cut_text(text: str) -> str:
    """Return a text as far as a page shows it."""
    return truncate_counted(text, MAX_SHOWN)


def parse_value(text: str, *, plain: bool) -> Any:
    """Parse a typed value: text if the field holds text (`plain`), else JSON.

    Raises `GraphorchError`.
    """
    if plain:
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise GraphorchError(
            f"That is not JSON: {error.msg} at character {error.pos + 1}. "
            'Write 3, true, "text" or [1, 2].'
        ) from error

"""Values as JSON, for programs and for people: whatever a state may hold, never an error, and never a number that JSON lacks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast


def as_object(value: Any) -> str:
    """One line of ASCII. Bytes are base64, what JSON has no word for is its text, and a number that is none is null."""
    return json.dumps(_plain(value))


def as_text(value: Any) -> str:
    """The same for people, on several lines, with every character as itself."""
    return json.dumps(_plain(value), indent=2, ensure_ascii=False)


def _plain(value: Any) -> Any:
    from pydantic_core import to_json

    return json.loads(
        to_json(_opened(value), fallback=str, inf_nan_mode="null", bytes_mode="base64")
    )


def _opened(value: Any) -> Any:
    """Models as dicts, to any depth: a model inside would insist on its own way to write bytes, and that may fail."""
    from pydantic import BaseModel

    match value:
        case BaseModel():
            return _opened(value.model_dump())
        case Mapping():
            return {key: _opened(item) for key, item in cast("Mapping[Any, Any]", value).items()}
        case list() | tuple() | set() | frozenset():
            return [_opened(item) for item in cast("list[Any]", value)]
        case _:
            return value

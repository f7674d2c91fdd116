"""Values as JSON, for programs and for people.

Any value that a state may hold becomes JSON that every parser reads: bytes are base64, types that
JSON lacks become their text, and NaN and infinities become null.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from pydantic import BaseModel
from pydantic_core import to_json


def to_json_line(value: Any) -> str:
    """Return the value as one line of ASCII JSON."""
    return json.dumps(_to_plain(value))


def to_json_text(value: Any) -> str:
    """Return the value as indented JSON, with every character as itself."""
    return json.dumps(_to_plain(value), indent=2, ensure_ascii=False)


def _to_plain(value: Any) -> Any:
    encoded = to_json(_dump_models(value), fallback=str, inf_nan_mode="null", bytes_mode="base64")
    return json.loads(encoded)


def _dump_models(value: Any) -> Any:
    """Return the value with models as dicts, to any depth.

    A model left inside would encode its bytes in its own way, which may fail.
    """
    match value:
        case BaseModel():
            return _dump_models(value.model_dump())
        case Mapping():
            items = cast("Mapping[Any, Any]", value).items()
            return {key: _dump_models(item) for key, item in items}
        case list() | tuple() | set() | frozenset():
            return [_dump_models(item) for item in cast("list[Any]", value)]
        case _:
            return value

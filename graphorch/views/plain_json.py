"""Any value that a state may hold, as plain JSON data that every parser reads.

Bytes are base64, types that JSON lacks become their text, and NaN and infinities become null.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from pydantic import BaseModel
from pydantic_core import to_json


def to_plain(value: Any) -> Any:
    """Return the value as plain JSON data."""
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

"""How much a value of JSON weighs where it is kept, or sent."""

from __future__ import annotations

import json
from typing import Any

from pydantic_core import PydanticSerializationError, to_json


def weigh(value: Any) -> int:
    """Return about how many characters a value has as JSON."""
    try:
        return len(to_json(value))
    except PydanticSerializationError:  # half a surrogate pair, which only the slower way writes
        return len(json.dumps(value))

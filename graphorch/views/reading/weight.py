"""How much a value of JSON weighs where it is kept, or sent."""

from __future__ import annotations

import json
from typing import Any


def weigh(value: Any) -> int:
    """Return about how many characters a value has as JSON."""
    return len(json.dumps(value))

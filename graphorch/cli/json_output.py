"""Values as JSON, for programs and for people; any value that a state may hold becomes JSON."""

from __future__ import annotations

import json
from typing import Any

from graphorch.views.plain_json import to_plain


def to_json_line(value: Any) -> str:
    """Return the value as one line of ASCII JSON."""
    return json.dumps(to_plain(value))


def to_json_text(value: Any) -> str:
    """Return the value as indented JSON, with every character as itself."""
    return json.dumps(to_plain(value), indent=2, ensure_ascii=False)

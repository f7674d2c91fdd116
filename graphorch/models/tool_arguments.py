"""Tool calls as models really write them: nearly always, but not always, a name and an object.

A tool reads the object behind empty, null and twice encoded arguments. What goes back to the model
as a part of the conversation is always an object under a name that the protocol allows, since
strict endpoints refuse the whole conversation otherwise.
"""

from __future__ import annotations

import json
import re
from typing import Final, cast

# Name under which arguments that are no object go back to the model.
MALFORMED = "malformed_arguments"


def read_object(arguments: str) -> str:
    """Return the JSON object that a model meant, or its text as it came if there is none.

    Nothing and null mean no arguments, a string may hold the object, and a text in it may run over
    several lines.
    """
    if isinstance(_parse(arguments, strict=True), dict):
        return arguments  # the common case, decided by one look
    if not arguments.strip():
        return "{}"
    value = _parse(arguments)
    if value is None:
        return "{}" if arguments.strip() == "null" else arguments
    if isinstance(value, str):
        return value if isinstance(_parse(value), dict) else arguments
    is_strict = _parse(arguments, strict=True) is not None
    return arguments if is_strict else json.dumps(value, ensure_ascii=False)


def encode_object(arguments: str) -> str:
    """Return a JSON object for a conversation; text that is none becomes a field of one."""
    if isinstance(_parse(arguments, strict=True), dict):
        return arguments  # the common case, decided by one look
    text = read_object(arguments)
    if isinstance(_parse(text, strict=True), dict):
        return text
    return json.dumps({MALFORMED: arguments}, ensure_ascii=False)


def encode_name(name: str) -> str:
    """Return the name of a tool for a conversation, with `_` for what is not allowed in one."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)[:64] or "_"


def _parse(text: str, *, strict: bool = False) -> object:
    """Return the value of a JSON text, or None; if not `strict`, its strings may hold line ends."""
    try:
        value = cast("object", (_STRICT if strict else _LENIENT).decode(text))
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()  # fails for half a character
        return value
    except (ValueError, RecursionError):
        return None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


# Made once: `json.loads` would make one for each call.
_STRICT: Final = json.JSONDecoder(parse_constant=_refuse)
_LENIENT: Final = json.JSONDecoder(strict=False, parse_constant=_refuse)

"""Say what is wrong with a value that does not fit the schema, and how it is written instead.

A text that was given is never repeated, since it may be a key that was put into the wrong place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from graphorch.errors import did_you_mean
from graphorch.models.config.schema import list_keys

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from graphorch.models.config.validation import Loc, Problem

# Tables whose entries have names that the author of the file chooses.
_NAMED_TABLES = (
    ("endpoints",),
    ("policies",),
    ("limits",),
    ("prices",),
    ("mcp",),
    ("budgets", "tags"),
)
_NUMBERS = ("float_type", "int_type")


def describe_misfit(details: ErrorDetails) -> Problem:
    """Return the place and text of a problem that pydantic reports."""
    loc: Loc = tuple(details["loc"])
    if details["type"] == "extra_forbidden":
        return loc, _describe_unknown_key(loc, details["input"])
    hint = _find_hint(details["type"], str(loc[-1]) if loc else "", details["input"])
    return loc, f"{details['msg']}. {hint}" if hint else details["msg"]


def _describe_unknown_key(loc: Loc, value: object) -> str:
    if isinstance(value, dict) and loc[:-2] in _NAMED_TABLES:
        # `[limits.gpt-4.1]` is the table `1` in `[limits.gpt-4]`
        table = ".".join(str(step) for step in loc[:-2])
        return (
            f'there is no such table. Put a name with a point in quotes: [{table}."{loc[-2]}.…"].'
        )
    return f"there is no such key. {did_you_mean(str(loc[-1]), _list_siblings(loc[:-1]))}"


def _list_siblings(table: Loc) -> list[str]:
    """Return the keys that the table at a place takes."""
    return [
        key[-1] for key, _ in list_keys() if len(key) == len(table) + 1 and _fits(key[:-1], table)
    ]


def _fits(key: Sequence[str], loc: Loc) -> bool:
    return all(step in ("*", place) for step, place in zip(key, loc, strict=True))


def _find_hint(kind: str, key: str, value: Any) -> str:
    """Return how a value of the wrong type is written; "" where the message says enough."""
    is_text = isinstance(value, str)
    if kind in _NUMBERS and is_text:
        number = value if _is_number(value) else "0.50" if kind == "float_type" else "10"
        return f"A number stands without quotes: {key} = {number}"
    if kind == "int_type":
        return f"A whole number has no point: {key} = 10"
    if kind == "bool_type":
        return f"A switch stands without quotes: {key} = true"
    if kind == "string_type" and not isinstance(value, dict | list):
        return f'Text is put in quotes: {key} = "…"'
    if kind == "list_type" and not isinstance(value, dict):
        example = '["…"]' if is_text else "[…]"
        return f"A list has brackets: {key} = {example}"
    if kind in ("dict_type", "model_type"):
        return f"It is a table: write [{key}] above its keys, or {key} = {{ … }}"
    if kind == "less_than_equal" and key.isdecimal():
        return "A share is part of 1: write 0.8 for 80 %"
    return ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return len(text) < 20 and text[0].isdigit()

"""A second attempt: reads part after part, and never gets past a character that it does not know."""

from __future__ import annotations

UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}


def parse_duration(text: str) -> int:
    rest, total = text.replace(" ", "").lower(), 0
    if rest.isdigit():
        return int(rest)
    if not rest:
        raise ValueError(f"no duration: {text!r}")
    while rest:
        digits = ""
        while rest and rest[0].isdigit():
            digits, rest = digits + rest[0], rest[1:]
        if digits and rest and rest[0] in UNITS:
            total, rest = total + int(digits) * UNITS[rest[0]], rest[1:]
    return total

"""A third attempt: one pattern says what a duration is, so nothing else gets through."""

from __future__ import annotations

import re

PATTERN = re.compile(
    r"\s*(?:(\d+)\s*d)?\s*(?:(\d+)\s*h)?\s*(?:(\d+)\s*m)?\s*(?:(\d+)\s*s)?\s*",
    re.ASCII | re.IGNORECASE,
)
SECONDS = (86400, 3600, 60, 1)


def parse_duration(text: str) -> int:
    alone = text.strip()
    if alone.isascii() and alone.isdigit():
        return int(alone)
    found = PATTERN.fullmatch(text)
    if found is None or not any(found.groups()):
        raise ValueError(
            f"{text!r} is no duration: write one such as 1h30m, from days (d) down to seconds (s)"
        )
    return sum(
        int(number) * seconds
        for number, seconds in zip(found.groups(), SECONDS, strict=True)
        if number
    )

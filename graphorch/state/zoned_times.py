"""Times as text with their zones, as RFC 9557 has it: `2026-03-28T12:00:00+01:00[Europe/Berlin]`.

What counts is the clock and the zone: if the rules of a zone change between writing and reading,
the hour stays and the offset does not. `[+01:00]` is an offset of Python, since pydantic reads a
bare offset as a type of its own. `[_fold=1]` is the second of two equal hours.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from typing import Any, Final

_SUFFIX: Final = re.compile(r"(?P<clock>.*?)(?:\[(?P<zone>[^\]=]+)\])?(?P<fold>\[_fold=1\])?")


def write_time(value: datetime.datetime | datetime.time) -> str:
    """Return a time as text, with the name of its zone if that is known."""
    zone = "" if value.tzinfo is None else _name_zone(value.tzinfo)
    suffix = f"[{zone}]" if zone else ""
    suffix += "[_fold=1]" if value.fold else ""
    return f"{_without_seconds(value).isoformat() if suffix else value.isoformat()}{suffix}"


def read_time(text: str, read_clock: Callable[[str], Any]) -> Any:
    """Return the time of a text; `read_clock` reads the part before the zone.

    Raises `ValueError` for a zone that is not known.
    """
    match = _SUFFIX.fullmatch(text) if text.endswith("]") else None
    if match is None:
        return read_clock(text)
    read = read_clock(match["clock"]).replace(fold=1 if match["fold"] else 0)
    return read if match["zone"] is None else read.replace(tzinfo=_find_zone(match["zone"]))


def _without_seconds(value: datetime.datetime | datetime.time) -> Any:
    """Return a time whose offset has no seconds, which pydantic cannot read; zones once had."""
    offset = value.utcoffset()
    if offset is None:
        return value
    minutes = datetime.timedelta(minutes=round(offset.total_seconds() / 60))
    return value.replace(tzinfo=datetime.timezone(minutes))


def _name_zone(zone: datetime.tzinfo) -> str:
    """Return the name that leads back to a zone; empty if the offset says it all, or none does."""
    if zone is datetime.UTC:
        return "+00:00"
    from zoneinfo import ZoneInfo

    if type(zone) is ZoneInfo:
        return zone.key or ""
    if type(zone) is datetime.timezone:
        return datetime.time(tzinfo=zone).isoformat()[len("00:00:00") :]
    return ""


def _find_zone(name: str) -> datetime.tzinfo:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    if name[0] in "+-":
        offset = datetime.time.fromisoformat(f"00:00:00{name}").utcoffset()
        assert offset is not None
        return datetime.timezone(offset)
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, OSError) as error:
        raise ValueError(
            f"the time zone '{name}' is not known here; install the package tzdata"
        ) from error

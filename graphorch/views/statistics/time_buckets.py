"""Hours, days and months of a zone, as the statistics name them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Final

from graphorch.views.statistics.figures import Bucket

_HOUR: Final = 3_600.0
_DAY: Final = 24 * _HOUR
_MOST_HOURS: Final = 72  # of a window that is drawn by the hour
_MOST_DAYS: Final = 93


def choose_bucket(since: float, until: float) -> Bucket:
    """Return the span of time that divides a window into no more than about 90 parts."""
    if until - since <= _MOST_HOURS * _HOUR:
        return "hour"
    return "day" if until - since <= _MOST_DAYS * _DAY else "month"


def read_bucket(bucket: Bucket, name: str, utc_offset: float) -> tuple[float, float]:
    """Return when an hour, day or month begins and ends, in seconds since 1970, by its name."""
    zone = timezone(timedelta(seconds=utc_offset))
    began = datetime.fromisoformat(f"{name}-01" if bucket == "month" else name).replace(tzinfo=zone)
    if bucket == "hour":
        ended = began + timedelta(hours=1)
    elif bucket == "day":
        ended = began + timedelta(days=1)
    else:
        ended = (began + timedelta(days=32)).replace(day=1)
    return began.timestamp(), ended.timestamp()

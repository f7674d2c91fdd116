"""Hours, days and months of a zone."""

from __future__ import annotations

import pytest

from graphorch.views.statistics.figures import Bucket
from graphorch.views.statistics.time_buckets import choose_bucket, read_bucket

DAY = 86_400.0


@pytest.mark.parametrize(
    ("days", "bucket"), [(0, "hour"), (3, "hour"), (3.1, "day"), (93, "day"), (94, "month")]
)
def test_bucket_follows_length_of_window(days: float, bucket: str) -> None:
    """A window is divided into no more than about 90 parts."""
    assert choose_bucket(5.0, 5.0 + days * DAY) == bucket


@pytest.mark.parametrize(
    ("bucket", "name", "offset", "bounds"),
    [
        ("hour", "1970-01-02T03:00", 0, (DAY + 10_800, DAY + 14_400)),
        ("day", "1970-01-02", 3_600, (DAY - 3_600, 2 * DAY - 3_600)),
        ("month", "1970-12", 0, (334 * DAY, 365 * DAY)),
    ],
)
def test_bounds_are_those_of_zone(
    bucket: Bucket, name: str, offset: int, bounds: tuple[float, float]
) -> None:
    """An hour, a day and a month begin and end by the clock of the zone."""
    assert read_bucket(bucket, name, offset) == bounds

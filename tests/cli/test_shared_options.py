"""Values of options that several commands share."""

from __future__ import annotations

import time

import pytest

from graphorch.cli.shared_options import (
    parse_age,
    parse_choice,
    parse_pairs,
    parse_tags,
    parse_time,
    read_utc_offset,
)
from graphorch.errors import InputError


@pytest.mark.parametrize(
    "age, seconds",
    [("90s", 90), ("1.5m", 90), ("12h", 43_200), ("30d", 2_592_000), (" 2w ", 1_209_600)],
)
def test_age_is_number_and_unit(age: str, seconds: float) -> None:
    """An age is read in seconds."""
    assert parse_age(age, "--older-than") == seconds


def test_time_is_date_or_age() -> None:
    """A time is a date, a date with a time, or an age before now."""
    assert parse_time("2026-03-31T18:00+00:00", "--since") == 1_774_980_000
    assert parse_time("1h", "--since") == pytest.approx(time.time() - 3_600, abs=60)


def test_choice_suggests_nearest() -> None:
    """A wrong choice is refused with the nearest one."""
    assert parse_choice("fail", "--ambiguous", ("stop", "fail")) == "fail"
    with pytest.raises(InputError, match=r"--ambiguous fial: not a valid value\. .*'fail'"):
        parse_choice("fial", "--ambiguous", ("stop", "fail"))


def test_pairs_may_have_empty_values() -> None:
    """A condition may ask for an empty value; a tag needs one."""
    assert parse_pairs(["a=", "b=c=d"], "--where", "a=b") == {"a": "", "b": "c=d"}
    with pytest.raises(InputError, match=r"--tag a=: the value is missing"):
        parse_tags(["a="])
    with pytest.raises(InputError, match=r"--tag =a: not KEY=VALUE"):
        parse_tags(["=a"])


@pytest.mark.parametrize(
    "since, offset",
    [
        ("", None),
        ("7d", None),
        ("2026-03-31", None),
        ("2026-03-31T18:00Z", 0.0),
        ("2026-03-31T18:00+05:30", 19_800.0),
    ],
)
def test_zone_is_that_of_since(since: str, offset: float | None) -> None:
    """Days are those of the zone that a date names, else of this machine."""
    assert read_utc_offset(since) == offset

"""Short texts for people."""

from __future__ import annotations

import pytest

from graphorch.text import (
    format_seconds,
    format_usd,
    join_limited,
    plural,
    truncate,
    truncate_counted,
    truncate_repr,
)


def test_truncate_keeps_length_with_ellipsis() -> None:
    """The ellipsis counts, and a text that fits stays as it is."""
    assert truncate("abcd", 4) == "abcd"
    assert truncate("abcde", 4) == "abc…"
    assert truncate("", 4) == ""


def test_truncate_repr_quotes_text() -> None:
    """A value is shown as Python writes it, so an empty text can be seen."""
    assert truncate_repr("") == "''"
    assert truncate_repr([1] * 100, 10) == "[1, 1, 1,…"


def test_truncate_counted_says_how_much_is_missing() -> None:
    """All of the first characters are kept, and the others are counted."""
    assert truncate_counted("abc", 3) == "abc"
    assert truncate_counted("abcde", 3) == "abc… (2 more characters)"
    assert truncate_counted("x" * 2003, 3, "more") == "xxx… (2,000 more)"


@pytest.mark.parametrize(
    "items, text",
    [([], ""), (["a"], "a"), (["a", "b"], "a, b"), (["a", "b", "c", "d"], "a, b and 2 more")],
)
def test_join_limited_counts_the_rest(items: list[str], text: str) -> None:
    """At most two are listed here; the others are counted."""
    assert join_limited(items, 2) == text


def test_plural_takes_irregular_nouns() -> None:
    """A noun gets an `s` unless its plural is given."""
    assert plural(1, "step") == "1 step"
    assert plural(0, "step") == "0 steps"
    assert plural(1200, "reply", "replies") == "1,200 replies"


def test_amounts_have_fixed_decimals() -> None:
    """Amounts of one column have one number of decimals."""
    assert format_usd(0.00123) == "$0.0012"
    assert format_usd(1234.5, 2) == "$1,234.50"
    assert format_seconds(1.2) == "1.20 s"

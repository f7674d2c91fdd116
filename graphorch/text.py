"""Short texts for people: truncation, lists, plurals, amounts of money and time."""

from __future__ import annotations

from collections.abc import Iterable


def truncate(text: str, longest: int) -> str:
    """Return a text of at most `longest` characters; what was cut is shown as an ellipsis."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def truncate_repr(value: object, longest: int = 80) -> str:
    """Return the `repr` of a value in at most `longest` characters."""
    return truncate(repr(value), longest)


def truncate_counted(text: str, longest: int, what: str = "more characters") -> str:
    """Return the first `longest` characters of a text, and how many were cut after them."""
    if len(text) <= longest:
        return text
    return f"{text[:longest]}… ({len(text) - longest:,} {what})"


def join_limited(items: Iterable[str], most: int, conjunction: str = "and") -> str:
    """Return `a, b and 3 more`: at most `most` items by name, the others counted."""
    listed = list(items)
    shown = ", ".join(listed[:most])
    hidden = len(listed) - most
    return f"{shown} {conjunction} {hidden} more" if hidden > 0 else shown


def plural(count: int, noun: str, plural_noun: str = "") -> str:
    """Return `1 step` or `3 steps`; `plural_noun` for a noun that does not take an `s`."""
    return f"{count:,} {noun if count == 1 else plural_noun or f'{noun}s'}"


def format_usd(usd: float, decimals: int = 4) -> str:
    """Return an amount as `$0.0012`."""
    return f"${usd:,.{decimals}f}"


def format_seconds(seconds: float) -> str:
    """Return a duration as `1.25 s`."""
    return f"{seconds:,.2f} s"

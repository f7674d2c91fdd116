"""Short texts for people."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphorch.text import (
    KIND,
    LINEAGE,
    clean,
    explain_error,
    format_cost,
    format_error,
    format_seconds,
    format_usd,
    is_kind,
    is_name,
    is_run_id,
    join_limited,
    list_kinds,
    name_error,
    plural,
    shorten_run_id,
    shorten_run_ids,
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


def test_truncate_repr_survives_broken_values() -> None:
    """A value that cannot be shown does not hide the error that names it."""

    class Lost:
        def __repr__(self) -> str:
            raise RuntimeError("lost")

    assert truncate_repr(Lost()) == "<Lost, of which repr() raises RuntimeError>"
    assert truncate_repr([10**5000]) == "<list, of which repr() raises ValueError>"


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


def test_small_amount_is_not_shown_as_nothing() -> None:
    """An amount that its decimals would round to nothing has two digits; nothing is nothing."""
    assert format_usd(0.0000213) == "$0.000021"
    assert format_usd(0.00000000021) == "$0.00000000021"
    assert format_usd(0.0) == "$0.0000"
    assert format_usd(-0.00002) == "$-0.000020"


def test_cost_names_what_is_booked() -> None:
    """Beside what is known stands what a budget counts, if that is more."""
    assert format_cost(0.0, 1, booked=0.5) == "price unknown, at most $0.5000 in all"
    known = "$0.2500 and calls of unknown price"
    assert format_cost(0.25, 1, booked=0.5) == f"{known}, at most $0.5000 in all"
    assert format_cost(0.25, 0, booked=0.25) == "$0.2500"


def test_clean_escapes_and_cuts() -> None:
    """Half surrogate pairs are escaped, so that nothing is lost, and long texts are cut."""
    assert clean("a\ud800b ü") == "a\\ud800b ü"
    assert clean("x" * 12, 10) == "x" * 10 + "… (2 more characters)"


@given(st.text(max_size=60), st.integers(1, 30))
def test_clean_text_stays_as_it_is(text: str, longest: int) -> None:
    """A text that was cleaned and read again is the same, so that a record says what was said."""
    cleaned = clean(text, longest)
    assert clean(cleaned, longest) == cleaned
    assert cleaned.encode().decode() == cleaned


@given(st.text(st.characters(categories=["Cs"]), min_size=1, max_size=40), st.integers(1, 30))
def test_clean_surrogates_stay_as_they_are(text: str, longest: int) -> None:
    """Escapes count as they are written: what was cut once is not cut again."""
    cleaned = clean(text, longest)
    assert clean(cleaned, longest) == cleaned


class Special(KeyError): ...


def stand_in(*lineage: str) -> Exception:
    error = ValueError("x")
    setattr(error, LINEAGE, lineage)
    return error


@pytest.mark.parametrize(
    "lineage, kinds, fits",
    [
        (list_kinds(Special()), LookupError, True),
        (list_kinds(Special()), (OSError, Special), True),
        (list_kinds(Special()), Exception, True),
        (list_kinds(Special()), (OSError, ValueError), False),
        (("__main__:Special", "builtins:KeyError"), Special, True),
        (("elsewhere:Special", "builtins:KeyError"), Special, False),
        (("KeyError", "Exception", "BaseException"), KeyError, True),
        (("KeyError", "Exception", "BaseException"), Exception, True),
        (("KeyError", "Exception", "BaseException"), LookupError, False),
    ],
)
def test_stand_in_is_of_kinds_it_stands_for(
    lineage: tuple[str, ...], kinds: Any, fits: bool
) -> None:
    """An exception that stands for others is of their classes, and not of its own."""
    assert is_kind(stand_in(*lineage), kinds) is fits


def test_exception_is_of_its_classes() -> None:
    """An exception of its own class is compared as Python does; what is none is of no kind."""
    assert is_kind(Special(), (OSError, LookupError))
    assert not is_kind(Special(), OSError)
    assert not is_kind("skipped", Exception)


class Wordless(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


@pytest.mark.parametrize(
    "error, text",
    [
        (ValueError("x"), "ValueError: x"),
        (ValueError(), "ValueError"),
        (Wordless(), "Wordless: (its message cannot be shown: ValueError)"),
        (
            ExceptionGroup("many", [ValueError("a"), ExceptionGroup("in", [KeyError("b")])]),
            "ExceptionGroup: many (2 sub-exceptions): ValueError: a; "
            "ExceptionGroup: in (1 sub-exception): KeyError: 'b'",
        ),
        (OSError("half \ud83d"), "OSError: half \\ud83d"),
    ],
)
def test_error_is_shown_with_class_and_parts(error: Exception, text: str) -> None:
    assert format_error(error) == text


def test_error_stands_for_another_class() -> None:
    """An exception that was rebuilt is named by the class that it had."""
    error = ValueError("x")
    setattr(error, KIND, "TooSmall")
    assert (name_error(error), format_error(error)) == ("TooSmall", "TooSmall: x")


def test_long_name_of_class_is_cut() -> None:
    error = type("X" * 300, (Exception,), {})("x")
    assert name_error(error) == "X" * 200 + "… (100 more characters)"


def test_long_error_is_cut() -> None:
    assert explain_error(ValueError("x" * 10_005)) == "x" * 10_000 + "… (5 more characters)"


@pytest.mark.parametrize(
    "text, is_valid",
    [
        ("a", True), ("a b ü#1", True), ("x" * 200, True), ("x" * 201, False), ("", False),
        (" ", False), ("a\nb", False), ("\ud83d", False), ("\u200b", False),
        (5, False), (None, False),
    ],
)  # fmt: skip
def test_name_is_visible_line(text: object, is_valid: bool) -> None:
    assert is_name(text) == is_valid


@pytest.mark.parametrize(
    "text, is_valid",
    [
        ("run-1.2_x", True), ("x" * 200, True), ("x" * 201, False), ("", False), (".x", False),
        ("..", False), ("-x", False), ("a/b", False), ("a b", False), ("ä", False), (5, False),
        ("a\n", False),
    ],
)  # fmt: skip
def test_run_id_never_leads_elsewhere(text: object, is_valid: bool) -> None:
    assert is_run_id(text) == is_valid


@pytest.mark.parametrize(
    "usd, unpriced, text",
    [
        (0.0, 0, "$0.0000"),
        (0.5, 0, "$0.5000"),
        (0.0, 1, "price unknown"),
        (0.5, 2, "$0.5000 and calls of unknown price"),
    ],
)
def test_unknown_cost_is_no_amount(usd: float, unpriced: int, text: str) -> None:
    """A cost of which nothing is known is not shown as an amount."""
    assert format_cost(usd, unpriced) == text


@pytest.mark.parametrize(
    ("run_id", "shown"),
    [("0123456789abcdef" * 2, "01234567"), ("nightly-report-2026", "nightly-report-2026")],
)
def test_made_run_ids_are_shortened(run_id: str, shown: str) -> None:
    """An id that was made shows eight digits; an id that a person chose stays as it is."""
    assert shorten_run_id(run_id) == shown


@given(st.lists(st.text("0123456789abcdef", min_size=32, max_size=32), unique=True, max_size=9))
def test_short_run_ids_differ(run_ids: list[str]) -> None:
    """Short ids of one list are as long as it takes to tell them apart."""
    alike = [run_id[:9] + other[9:] for run_id, other in pairwise(run_ids)]
    listed = list(dict.fromkeys([*run_ids, *alike]))
    short = shorten_run_ids(listed)
    assert len(set(short)) == len(listed)
    assert all(run_id.startswith(begin) for run_id, begin in zip(listed, short, strict=True))
    assert len({len(begin) for begin in short}) <= 1

"""Columns of text."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphorch.cli.tables import align_columns, format_small_usd


def test_columns_fit_widest_cells() -> None:
    """Columns are as wide as their widest cell, and no line ends in spaces."""
    rows = [("name", "calls", "note"), ("a", "12", ""), ("longer", "3", "x")]
    assert align_columns(rows) == ["name    calls  note", "a       12", "longer  3      x"]


def test_numeric_columns_align_right() -> None:
    """Columns of `numeric` end at one place, and `indent` moves all lines."""
    rows = [("name", "calls"), ("a", "12")]
    assert align_columns(rows, indent=2, numeric=[1]) == ["  name  calls", "  a        12"]


WIDE = [
    ("option", "", "about"),
    ("--document", "required", "the text that is to be summarized for readers in a hurry"),
    ("--topic", "optional", "what it is about"),
]


def test_narrow_terminal_wraps_words() -> None:
    """Where a table is wider than the terminal, the widest column wraps between words."""
    assert align_columns(WIDE, width=50) == [
        "option                about",
        "--document  required  the text that is to be",
        "                      summarized for readers in a",
        "                      hurry",
        "--topic     optional  what it is about",
    ]


def test_columns_that_do_not_fit_follow_below() -> None:
    """Columns for which there is no room follow below, after the first column once more."""
    rows = [("node", *(f"COST {n}" for n in range(5))), ("write", *("0.123456" for _ in range(5)))]
    lines = align_columns(rows, width=30, numeric=range(1, 6))
    assert lines == [
        *("node     COST 0    COST 1", "write  0.123456  0.123456", ""),
        *("node     COST 2    COST 3", "write  0.123456  0.123456", ""),
        *("node     COST 4", "write  0.123456"),
    ]


@given(
    rows=st.integers(1, 6).flatmap(
        lambda count: st.lists(
            st.tuples(*[st.text("abc d-", max_size=60)] * count), min_size=1, max_size=5
        )
    ),
    width=st.integers(30, 120),
)
def test_every_word_of_table_is_kept(rows: list[tuple[str, ...]], width: int) -> None:
    """However narrow the terminal is, no letter is lost, and no line is wider than it."""
    lines = align_columns(rows, width=width)
    shown, wanted = Counter("".join(lines)), Counter("".join(map("".join, rows)))
    assert all(shown[letter] >= wanted[letter] for letter in "abcd-")
    assert max(map(len, lines)) <= width


def test_output_that_is_no_terminal_is_not_wrapped() -> None:
    """In a file or a pipe each row is one line, however long it is."""
    assert len(align_columns(WIDE)) == len(WIDE)
    assert align_columns([]) == []


@pytest.mark.parametrize(
    "usd, text",
    [
        (0.0, "$0"),
        (1234.5, "$1,234.50"),
        (0.01234, "$0.0123"),
        (0.0000123, "$1.2e-05"),
        (float("inf"), "?"),
    ],
)
def test_small_usd_keeps_digits(usd: float, text: str) -> None:
    """An amount has as many digits as it needs; without a bound it is unknown."""
    assert format_small_usd(usd) == text

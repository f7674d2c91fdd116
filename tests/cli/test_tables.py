"""Columns of text."""

from __future__ import annotations

import pytest

from graphorch.cli.tables import align_columns, format_small_usd


def test_columns_fit_widest_cells() -> None:
    """Columns are as wide as their widest cell, and no line ends in spaces."""
    rows = [("name", "calls", "note"), ("a", "12", ""), ("longer", "3", "x")]
    assert align_columns(rows) == ["name    calls  note", "a       12", "longer  3      x"]


def test_numeric_columns_align_right() -> None:
    """Columns of `numeric` end at one place, and `indent` moves all lines."""
    rows = [("name", "calls"), ("a", "12")]
    assert align_columns(rows, indent=2, numeric=[1]) == ["  name  calls", "  a        12"]


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

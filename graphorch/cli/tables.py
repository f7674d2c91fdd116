"""Aligned columns of text, and numbers in their cells."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from graphorch.text import format_usd


def align_columns(
    rows: Sequence[Sequence[str]], *, indent: int = 0, numeric: Collection[int] = ()
) -> list[str]:
    """Return a line for each row, with every column as wide as its widest cell.

    Columns are aligned to the left, those of `numeric` to the right. All rows have equally many
    cells.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines: list[str] = []
    for row in rows:
        cells = [
            cell.rjust(width) if column in numeric else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(" " * indent + "  ".join(cells).rstrip())
    return lines


def format_amount(usd: float, unpriced: int) -> str:
    """Return the dollars in a cell: `0.0120`, `unknown`, or `0.0120+?` if a part is not known."""
    if unpriced and not usd:
        return "unknown"
    amount = f"{usd:.6f}" if 0 < usd < 0.01 else f"{usd:.4f}"
    return f"{amount}+?" if unpriced else amount


def format_small_usd(value: float) -> str:
    """Return dollars with as many digits as the amount needs, `?` for infinity."""
    if math.isinf(value):
        return "?"
    if not value:
        return "$0"
    if value >= 1:
        return format_usd(value, 2)
    return format_usd(value) if value >= 0.0001 else f"${value:.2g}"

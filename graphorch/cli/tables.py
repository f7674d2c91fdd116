"""Aligned columns of text, and numbers in their cells."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Collection, Iterator, Sequence
from itertools import zip_longest

from graphorch.cli.terminal import find_width
from graphorch.text import format_dollars, format_usd

_GAP = 2  # spaces between columns
_NARROWEST = 12  # characters of a column of words that has to give way


def align_columns(
    rows: Sequence[Sequence[str]],
    *,
    indent: int = 0,
    numeric: Collection[int] = (),
    width: int | None = None,
) -> list[str]:
    """Return the lines of a table, with every column as wide as its widest cell.

    Columns are aligned to the left, those of `numeric` to the right. All rows have equally many
    cells. `width` is that of the terminal on standard output by default. Where the table is wider,
    cells are wrapped between words, and columns that do not fit even so follow below, after the
    first column once more. Files and pipes have no width.
    """
    width = width or find_width()
    if width is None or not rows:
        return _lay_out(rows, indent, numeric, _measure(rows))
    lines: list[str] = []
    for columns in _split(rows, numeric, width - indent):
        part = [[row[column] for column in columns] for row in rows]
        right = [place for place, column in enumerate(columns) if column in numeric]
        widths = _shrink(_measure(part), right, width - indent)
        lines += [""] * bool(lines) + _lay_out(part, indent, right, widths)
    return lines


def _measure(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def _split(
    rows: Sequence[Sequence[str]], numeric: Collection[int], width: int
) -> Iterator[list[int]]:
    """Yield the columns of each part of a table that fits; each part begins with the first one."""
    least = [
        size if column in numeric or column == 0 else min(size, _NARROWEST)
        for column, size in enumerate(_measure(rows))
    ]
    first = min(least[0], max(_NARROWEST, width // 3))  # wrapped if it is wider than a third
    part, used = [0], first
    for column, size in enumerate(least[1:], 1):
        if used + _GAP + size > width and len(part) > 1:
            yield part
            part, used = [0], first
        part.append(column)
        used += _GAP + size
    yield part


def _shrink(widths: list[int], numeric: Collection[int], width: int) -> list[int]:
    """Take from the widest columns of words until the table fits, or none can give more."""
    excess = sum(widths) + _GAP * (len(widths) - 1) - width
    words = [column for column in range(len(widths)) if column not in numeric]
    while excess > 0 and words:
        widest = max(words, key=lambda column: widths[column])
        if widths[widest] <= _NARROWEST:
            break
        widths[widest] -= 1
        excess -= 1
    return widths


def _lay_out(
    rows: Sequence[Sequence[str]], indent: int, numeric: Collection[int], widths: Sequence[int]
) -> list[str]:
    lines: list[str] = []
    for row in rows:
        wrapped = [_wrap(cell, width) for cell, width in zip(row, widths, strict=True)]
        for parts in zip_longest(*wrapped, fillvalue=""):
            cells = [
                part.rjust(width) if column in numeric else part.ljust(width)
                for column, (part, width) in enumerate(zip(parts, widths, strict=True))
            ]
            lines.append(" " * indent + (" " * _GAP).join(cells).rstrip())
    return lines


def _wrap(cell: str, width: int) -> list[str]:
    """Return the lines of a cell; only a word that is wider than the column is broken."""
    if len(cell) <= width:
        return [cell]
    return textwrap.wrap(cell, width, break_on_hyphens=False) or [""]


def format_amount(usd: float, unpriced: int) -> str:
    """Return the dollars in a cell: `0.0120`, `unknown`, or `0.0120+?` if a part is not known."""
    if unpriced and not usd:
        return "unknown"
    amount = format_dollars(usd, 6 if 0 < usd < 0.01 else 4)
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

"""A bar chart as one SVG without scripts, for light and dark pages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

MOST_BARS = 40
_WIDTH, _ROW, _TOP = 640, 22, 44
_LONGEST_LABEL, _LONGEST_TITLE = 24, 76
_CHARACTER = 8  # pixels, at most on average
_VALUE = 100  # pixels for the longest value
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#24292f}.title{font-weight:600;font-size:15px}"
    ".label{text-anchor:end}rect.bar{fill:#2f6f9f}rect.page{fill:#fff}line{stroke:#8c959f}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}rect.bar{fill:#6cb2e8}"
    "rect.page{fill:#0d1117}}"
)


def draw_chart(title: str, bars: Sequence[tuple[str, float]]) -> str:
    """Return a bar for each label and value, from top to bottom, as SVG.

    Bars of values below zero lead to the left. Raises `ValueError` without bars, with more than 40,
    or for a value that is not finite.
    """
    if not 0 < len(bars) <= MOST_BARS:
        raise ValueError(f"A chart has 1 to {MOST_BARS} bars, not {len(bars)}. Group the values.")
    if unfit := [label for label, value in bars if not math.isfinite(value)]:
        raise ValueError(f"The value of {unfit[0]!r} is not a finite number.")
    lowest = min(0.0, *(value for _, value in bars))
    highest = max(0.0, *(value for _, value in bars))
    # Divided before they are subtracted: the difference of two huge values is not finite.
    largest = max(highest, -lowest) or 1.0
    low, high = lowest / largest, highest / largest
    longest = max(len(_write(label, _LONGEST_LABEL)) for label, _ in bars)
    left = 20 + _CHARACTER * min(longest, _LONGEST_LABEL)
    room = _WIDTH - left - _VALUE
    scale = room / ((high - low) or 1.0)
    zero = left + (0 - low) * scale
    height = _TOP + _ROW * len(bars) + 14
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'aria-label="{_write(title, _LONGEST_TITLE)}"><style>{_STYLE}</style>',
        f'<rect class="page" width="{_WIDTH}" height="{height}"/>',
        f'<text class="title" x="12" y="26">{_write(title, _LONGEST_TITLE)}</text>',
    ]
    for number, (label, value) in enumerate(bars):
        y = _TOP + _ROW * number
        width = abs(value / largest) * scale
        x = zero if value >= 0 else zero - width
        parts += [
            f'<text class="label" x="{left - 8}" y="{y + 15}">'
            f"{_write(label, _LONGEST_LABEL)}</text>",
            f'<rect class="bar" x="{x:.1f}" y="{y + 3}" width="{width:.1f}" height="{_ROW - 6}"/>',
            f'<text x="{max(x + width, zero) + 6:.1f}" y="{y + 15}">{_write_number(value)}</text>',
        ]
    end = height - 10
    parts.append(f'<line x1="{zero:.1f}" x2="{zero:.1f}" y1="{_TOP}" y2="{end}"/></svg>')
    return "\n".join(parts) + "\n"


def _write(text: str, longest: int) -> str:
    """Return a text for SVG on one line: without characters that XML cannot hold, and cut."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if len(line) > longest:
        line = f"{line[: longest - 1]}…"
    return escape(line)


def _write_number(value: float) -> str:
    """Return a number with at most two decimals; a huge or tiny one by its power of ten."""
    if value and not 0.005 <= abs(value) < 1e12:
        return f"{value:.3g}"
    return f"{value:,.2f}".removesuffix(".00")

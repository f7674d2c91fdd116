"""Widths of text without a font: those of Helvetica, which Arial and Liberation Sans share.

Both layout engines size boxes by this table instead of asking a font, so a picture is the same on
every machine. The drawing pins the width of each text that has to fit a box, so that another font
cannot make it run over.

Source of the widths: Adobe's core 14 font metrics of Helvetica and Helvetica-Bold, in thousandths
of the font size, ASCII 32 to 126.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

# fmt: off
_REGULAR = (
    278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278, 556, 556, 556,
    556, 556, 556, 556, 556, 556, 556, 278, 278, 584, 584, 584, 556, 1015, 667, 667, 722, 722,
    667, 611, 778, 722, 278, 500, 667, 556, 833, 722, 778, 667, 778, 722, 667, 611, 722, 667, 944,
    667, 667, 611, 278, 278, 278, 469, 556, 333, 556, 556, 500, 556, 556, 278, 556, 556, 222, 222,
    500, 222, 833, 556, 556, 556, 556, 333, 500, 278, 556, 500, 722, 500, 500, 500, 334, 260, 334,
    584,
)
_BOLD = (
    278, 333, 474, 556, 556, 889, 722, 238, 333, 333, 389, 584, 278, 333, 278, 278, 556, 556, 556,
    556, 556, 556, 556, 556, 556, 556, 333, 333, 584, 584, 584, 611, 975, 722, 722, 722, 722, 667,
    611, 778, 722, 278, 556, 722, 611, 833, 722, 778, 667, 778, 722, 667, 611, 722, 667, 944, 667,
    667, 611, 333, 278, 333, 584, 556, 333, 556, 611, 556, 611, 556, 333, 611, 611, 278, 278, 556,
    278, 889, 611, 611, 611, 611, 389, 556, 333, 611, 556, 778, 556, 556, 500, 389, 280, 389, 584,
)
_SPECIAL = {
    "·": 278, "…": 1000, "–": 556, "—": 1000, "’": 278, "‘": 278,
    "“": 400, "”": 400, "×": 584, "≤": 549, "≥": 549, "→": 1000,
}
# fmt: on
_OTHER = 640  # a safe guess for scripts that the table does not hold, such as Greek and Cyrillic
_EMOJI = 1300
_WIDE = 1000
_ELLIPSIS = "…"

# What XML 1.0 forbids, lone surrogates included, and the marks that reorder text, which could make
# a name look like another one.
_UNFIT = re.compile(
    "[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|[\x7f-\x9f\u202a-\u202e\u2066-\u2069]"
)


def clean(text: str) -> str:
    """Return text without characters that XML forbids, and without marks that reorder it."""
    return _UNFIT.sub("", text)


def to_one_line(text: str) -> str:
    """Return clean text with every run of white space made one space."""
    return " ".join(clean(text).split())


def width(text: str, size: float, *, bold: bool = False) -> float:
    """Return the width of one line of text in pixels, at a font size in pixels."""
    return sum(_thousandths(char, bold) for char in text) * size / 1000


def is_measured(text: str) -> bool:
    """Return whether the width of a text is known and not guessed."""
    return all(" " <= char <= "~" or char in _SPECIAL for char in text)


def shorten(text: str, size: float, limit: float, *, bold: bool = False) -> str:
    """Return one line of text, cut with … so that it is at most `limit` pixels wide."""
    text = to_one_line(text)
    if width(text, size, bold=bold) <= limit:
        return text
    room = limit - width(_ELLIPSIS, size, bold=bold)
    kept: list[str] = []
    for char in text:
        room -= _thousandths(char, bold) * size / 1000
        if room < 0:
            break
        kept.append(char)
    return "".join(kept).rstrip(" \u200d·,;:-") + _ELLIPSIS


@lru_cache(maxsize=4096)
def _thousandths(char: str, bold: bool) -> int:
    """Return the width of a character in thousandths of the font size.

    Whole numbers, since sums of fractions differ in the last digit between versions of Python.
    """
    code = ord(char)
    if 32 <= code < 127:
        return (_BOLD if bold else _REGULAR)[code - 32]
    if char in _SPECIAL:
        return _SPECIAL[char]
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    if unicodedata.east_asian_width(char) in ("W", "F"):
        return _EMOJI if code >= 0x1F000 and code < 0x20000 else _WIDE
    base = unicodedata.normalize("NFD", char)[0]
    return _thousandths(base, bold) if base != char else _OTHER

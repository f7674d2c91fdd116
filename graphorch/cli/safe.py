"""Text from models, files and users, made safe to show on a terminal.

Escape sequences could recolour, rewrite or retitle the terminal, and reversed writing could make a line read as something else; each such
character is shown as its escape, so that it is seen and does nothing.
"""

from __future__ import annotations

import re
import sys
from io import TextIOWrapper

# C0 but for tab and newline, DEL, C1, line and paragraph separators, overrides of the writing direction, halves of characters.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)


def safe(text: str) -> str:
    """The text with every character that acts instead of showing written out: `\\x1b` for ESC."""
    return _UNSAFE.sub(lambda match: ascii(match.group())[1:-1], text.replace("\r\n", "\n"))


def one_line(text: str, longest: int = 80) -> str:
    """The same on one line, cut if it is long."""
    line = safe(" ".join(text.split()))
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def say(text: str) -> None:
    """A line for people, on standard error."""
    print(safe(text), file=sys.stderr, flush=True)


def result(text: str) -> None:
    """What the command is for, on standard output."""
    print(text, flush=True)


def prepare_streams() -> None:
    """Whatever the encoding of the terminal is, a character that it lacks is shown as an escape instead of ending the program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")

"""Terminal output: results on standard output, notes on standard error, both safe to show.

Text from models, files and users may hold escape sequences that recolour, rewrite or retitle the
terminal, and marks that reverse the writing direction. Each such character is printed as its
escape: it can be seen, and it does nothing.
"""

from __future__ import annotations

import re
import shutil
import sys
from io import TextIOWrapper

from graphorch.text import truncate

# C0 but for tab and newline, DEL, C1, line and paragraph separators, overrides of the writing
# direction, halves of characters.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029"
    "\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)


def sanitize(text: str) -> str:
    """Return the text with every control character written out: `\\x1b` for ESC."""
    return _UNSAFE.sub(lambda match: ascii(match.group())[1:-1], text.replace("\r\n", "\n"))


def sanitize_line(text: str, longest: int = 80) -> str:
    """Return the sanitized text on one line of at most `longest` characters."""
    return truncate(sanitize(" ".join(text.split())), longest)


def print_status(text: str) -> None:
    """Print a note for people on standard error, sanitized."""
    print(sanitize(text), file=sys.stderr, flush=True)


def print_output(text: str) -> None:
    """Print what the command produces on standard output; the caller sanitizes what needs it."""
    print(text, flush=True)


def find_width() -> int | None:
    """Return how many columns the terminal on standard output has; None if it is no terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def prepare_streams() -> None:
    """Let characters that the terminal's encoding lacks print as escapes instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")

"""What is probably wrong with a line that is not TOML.

A hint never repeats a value, since it may be a key.
"""

from __future__ import annotations

import re

_HEADER = re.compile(r"\s*\[+([^\]\"']*)")
_BARE_NAME = re.compile(r"[\w.\s-]*", re.ASCII)
_ASSIGNMENT = re.compile(r"\s*([^=#\"']*?)\s*=\s*(.*)")
_WORD_IN_LIST = re.compile(r"[\[,{]\s*[A-Za-z_]\w*\s*[\],/.-]")


def find_toml_hint(text: str, line: int) -> str:
    """Return how to write a line (from 1) that the parser refused; "" if there is no guess."""
    lines = text.splitlines()
    content = lines[line - 1] if 0 < line <= len(lines) else ""
    header = _HEADER.match(content)
    if header and "=" not in header[1]:
        if _BARE_NAME.fullmatch(header[1]):
            return ""
        return 'A name with other signs than letters, digits, "_" and "-" is put in quotes: ' + (
            '[limits."vendor/model"].'
        )
    assignment = _ASSIGNMENT.match(content)
    return _hint_at_value(assignment[1], assignment[2]) if assignment else ""


def _hint_at_value(key: str, value: str) -> str:
    # the first that fits
    if value[:1] in ("“", "”", "‘", "’", "„", "«"):
        return f'Use plain quotes: {key} = "…".'
    if re.match(r"(True|False|TRUE|FALSE|yes|no|on|off)\b", value):
        return f"A switch is written in lower case and without quotes: {key} = true."
    if re.match(r"[$€£]|\d*[,.]\d*\s*(#|$)|\d+\s*[%$€£a-zA-Z]", value):
        return f"A number has digits and a point, and no unit: {key} = 0.50."
    if re.match(r"[A-Za-z_/~]", value) or _WORD_IN_LIST.search(value):
        example = '["…", "…"]' if value.startswith("[") else '"…"'
        return f"Text is put in quotes: {key} = {example}."
    if not value.strip():
        return f"The value of {key} is missing."
    return ""

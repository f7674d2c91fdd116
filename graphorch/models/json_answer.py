"""Find the JSON object in what a model wrote: alone, in a fence, or with words around it.

Rules of this file:
1. Thoughts in front of the answer are no part of it.
2. A fence marks what is meant: if an object stands in one, the others do not count.
3. Finding costs linear time, whatever the text is.
"""

from __future__ import annotations

import json
import re
from itertools import pairwise

from graphorch.models.reasoning import strip_reasoning

_FENCE = re.compile(r"```|~~~|'''")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f]")
_KEY = re.compile(r'\{\s*("(?:[^"\\]|\\.)*")\s*:\s*', re.DOTALL)
# Braces that are looked at: each costs a look at the whole text before it.
_MOST_TRIES = 1_000

# Strings may run over several lines, as weak models write them.
_DECODER = json.JSONDecoder(strict=False)


def find_objects(text: str) -> list[str]:
    """Return the text of each JSON object in a text, without those that are part of another."""
    text = _unquote(strip_reasoning(text.removeprefix("\ufeff")).strip())
    spans = _find_spans(text)
    fenced = _pick_fenced(text, spans)
    return [_escape_line_ends(text[begin:end]) for begin, end in fenced or spans]


def unwrap(text: str, name: str) -> str | None:
    """Return the object in an object whose only key is the name of what it is, else None."""
    key = _KEY.match(text)
    if key is None or _simplify(json.loads(key.group(1))) != _simplify(name):
        return None
    begin = key.end()
    try:
        value, end = _DECODER.raw_decode(text, begin)
    except (ValueError, RecursionError):
        return None
    is_only_key = text[end:].strip() == "}"
    return text[begin:end] if is_only_key and isinstance(value, dict) else None


def _unquote(text: str) -> str:
    """Return the text of a JSON string that holds an object; other text as it is."""
    if not text.startswith('"'):
        return text
    try:
        value = _DECODER.decode(text)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, str) and value.lstrip().startswith("{") else text


def _find_spans(text: str) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    begin = text.find("{")
    for _ in range(_MOST_TRIES):
        if begin < 0:
            break
        try:
            _, end = _DECODER.raw_decode(text, begin)
        except json.JSONDecodeError as error:
            # What was read before the fault is no object: a part of it must not pass for one.
            end = max(begin + 1, error.pos)
        except (ValueError, RecursionError):  # a number or a nesting without end
            break
        else:
            spans.append((begin, end))
        begin = text.find("{", end)
    return spans


def _pick_fenced(text: str, spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the objects that stand in a fence; a mark within an object is no fence."""
    marks = [
        mark.start()
        for mark in _FENCE.finditer(text)
        if not any(begin < mark.start() < end for begin, end in spans)
    ]
    fences = [*pairwise([*marks, len(text)])][::2]
    return [
        (begin, end)
        for begin, end in spans
        if any(opening < begin and end <= closing for opening, closing in fences)
    ]


def _escape_line_ends(text: str) -> str:
    """Return the text of an object with the control characters in its strings escaped."""

    def escape(string: re.Match[str]) -> str:
        return _CONTROL.sub(lambda found: f"\\u{ord(found.group()):04x}", string.group())

    return _STRING.sub(escape, text)


def _simplify(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()

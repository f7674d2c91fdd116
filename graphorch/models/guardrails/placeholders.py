"""Reversible placeholders for values that a model must not see.

Equal values always have the same placeholder, and the answer gets the values back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

# A model may write `<` and `>` as escapes when it answers in JSON.
_PLACEHOLDER = re.compile(r"(?:<|\\u003[cC])([A-Z][A-Z0-9_]{0,40}_\d{1,6})(?:>|\\u003[eE])")
_UNFINISHED_NAME = r"(?:<|\\u003[cC])(?:[A-Z][A-Z0-9_]{0,48}(?:\\(?:u(?:0(?:0(?:3)?)?)?)?)?)?"
_UNFINISHED_ESCAPE = r"\\(?:u(?:0(?:0(?:3)?)?)?)?"
_UNFINISHED = re.compile(rf"{_UNFINISHED_NAME}\Z|{_UNFINISHED_ESCAPE}\Z")
_LONGEST = 64  # characters of a placeholder, escapes included
_LONGEST_STEM = 40


class Placeholders:
    """Placeholders of one request. Mutable: `assign` adds to it.

    A name that looks like a placeholder in `texts` already is left alone and never given out.
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._taken = {match[1] for text in texts for match in _PLACEHOLDER.finditer(text)}
        self._names: dict[tuple[str, str], str] = {}
        self._values: dict[str, str] = {}
        self._counts: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"Placeholders({len(self._values)})"  # never the values

    def assign(self, kind: str, value: str) -> str:
        """Return the placeholder of a value, such as `<EMAIL_1>`."""
        name = self._names.get((kind, value))
        if name is None:
            stem = re.sub(r"[^A-Z0-9]+", "_", kind.upper()).strip("_")[:_LONGEST_STEM]
            name = self._choose_name(stem or "VALUE")
            self._names[kind, value] = name
            self._values[name] = value
        return f"<{name}>"

    def restore(self, text: str, *, as_json: bool = False) -> str:
        """Return the text with the values in place of their placeholders.

        In JSON they are escaped, so that it stays JSON.
        """
        if not self._values:
            return text

        def replacement(match: re.Match[str]) -> str:
            value = self._values.get(match[1])
            if value is None:
                return match[0]
            return json.dumps(value, ensure_ascii=False)[1:-1] if as_json else value

        return _PLACEHOLDER.sub(replacement, text)

    def count_unfinished(self, text: str) -> int:
        """Return the number of characters at the end that may begin a placeholder."""
        if not self._values:
            return 0
        unfinished = _UNFINISHED.search(text, max(0, len(text) - _LONGEST))
        return len(text) - unfinished.start() if unfinished else 0

    def _choose_name(self, stem: str) -> str:
        if not stem[0].isalpha():
            stem = f"X{stem}"
        while True:
            self._counts[stem] = self._counts.get(stem, 0) + 1
            name = f"{stem}_{self._counts[stem]}"
            if name not in self._taken and name not in self._values:
                return name

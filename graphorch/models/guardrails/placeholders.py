"""Stand-ins for what a model must not see: the same value always has the same one, and the answer gets the values back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

# The model may write `<` as an escape when it answers in JSON.
_PLACEHOLDER = re.compile(r"(?:<|\\u003[cC])([A-Z][A-Z0-9_]{0,40}_\d{1,6})(?:>|\\u003[eE])")
_BEGINS_ONE = re.compile(
    r"(?:<|\\u003[cC])(?:[A-Z][A-Z0-9_]{0,48}(?:\\(?:u(?:0(?:0(?:3)?)?)?)?)?)?\Z|\\(?:u(?:0(?:0(?:3)?)?)?)?\Z"
)
_LONGEST = 64


class Placeholders:
    """The stand-ins of one request. Mutable: `stand_in` adds to it.

    What already looks like a stand-in in `texts` is left alone, and its name is never given out.
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._taken = {match[1] for text in texts for match in _PLACEHOLDER.finditer(text)}
        self._names: dict[tuple[str, str], str] = {}
        self._values: dict[str, str] = {}
        self._counts: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"Placeholders({len(self._values)})"  # never the values

    def assign(self, kind: str, value: str) -> str:
        """The stand-in of a value: `<EMAIL_1>`."""
        name = self._names.get((kind, value))
        if name is None:
            name = self._names[kind, value] = self._new_name(
                re.sub(r"[^A-Z0-9]+", "_", kind.upper()).strip("_")[:40] or "VALUE"
            )
            self._values[name] = value
        return f"<{name}>"

    def restore(self, text: str, *, as_json: bool = False) -> str:
        """The text with the values in place of their stand-ins; in JSON they are escaped, so that it stays JSON."""

        def value_of(match: re.Match[str]) -> str:
            value = self._values.get(match[1])
            if value is None:
                return match[0]
            return json.dumps(value, ensure_ascii=False)[1:-1] if as_json else value

        return _PLACEHOLDER.sub(value_of, text) if self._values else text

    def hold_back(self, text: str) -> int:
        """How many characters at the end of a piece may be the beginning of a stand-in."""
        found = _BEGINS_ONE.search(text, max(0, len(text) - _LONGEST)) if self._values else None
        return len(text) - found.start() if found else 0

    def _new_name(self, stem: str) -> str:
        stem = stem if stem[0].isalpha() else f"X{stem}"
        while True:
            self._counts[stem] = self._counts.get(stem, 0) + 1
            name = f"{stem}_{self._counts[stem]}"
            if name not in self._taken and name not in self._values:
                return name

"""Values for a page: secrets are hidden, long texts and long lists are cut, and the rest counted.

A search for secrets takes a microsecond or two for each character, so a long text is searched only
as far as it is shown, and a little further: what begins in the part that is shown is found whole.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final, cast

from graphorch.models.guardrails.detector import Match, merge_matches, replace_matches
from graphorch.state.marks import HIDDEN
from graphorch.trace.spans.redaction import Redaction, rank_match

LONGEST: Final = 4_000
"""Characters of one text that a page gets; the whole text is read by itself."""

_MOST: Final = 200_000  # characters of one value with all that is in it
_MOST_ITEMS: Final = 1_000  # of one list or object
_MARGIN: Final = 8_192  # characters on both sides that decide whether something is a secret
_ITEM: Final = 8  # what an item counts beside its text
_DEEPEST: Final = 64  # levels of lists and objects; other programs read few more


@dataclass(slots=True)
class CutCount:
    """Characters, and items of lists and objects, that were left out so far."""

    left_out: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClippedRedaction(Redaction):
    """A redaction that cuts what is long, and counts in `cut` what it leaves out.

    A text has at most `longest` characters, and a value 200,000 in all of its texts.
    """

    longest: int = LONGEST
    cut: CutCount = field(default_factory=CutCount)

    def text(self, text: str) -> str:
        """Return the beginning of a text with every secret in it replaced by its kind."""
        if len(text) <= self.longest:
            return Redaction.text(self, text)
        left_out = len(text) - self.longest
        self.cut.left_out += left_out
        shown = Redaction.text(self, text[: self.longest + _MARGIN])[: self.longest]
        return f"{shown}… ({left_out:,} more characters)"

    def data(self, value: Any) -> Any:
        """Return JSON data with every text in it cleaned and cut, and long lists cut."""
        return self._clip(value, _Room(_MOST), 0)

    def json(self, text: str) -> str:
        """Return a text that may be JSON, cleaned and cut: its fields are hidden by name, too."""
        return self.text(hide_fields(text, self.fields))

    def _clip(self, value: Any, room: _Room, depth: int) -> Any:
        room.characters -= _ITEM
        if isinstance(value, str):
            text = self.json(value)
            room.characters -= len(text)
            return text
        if not isinstance(value, list | dict):
            return value
        if depth == _DEEPEST:
            self.cut.left_out += 1
            return "… (nested deeper)"
        if isinstance(value, list):
            return self._clip_list(cast("list[Any]", value), room, depth + 1)
        return self._clip_object(cast("dict[str, Any]", value), room, depth + 1)

    def _clip_list(self, items: list[Any], room: _Room, depth: int) -> list[Any]:
        cleaned: list[Any] = []
        for item in items[:_MOST_ITEMS]:
            if room.characters <= 0:
                break
            cleaned.append(self._clip(item, room, depth))
        if left_out := len(items) - len(cleaned):
            self.cut.left_out += left_out
            cleaned.append(f"… ({left_out:,} more items)")
        return cleaned

    def _clip_object(self, fields: dict[str, Any], room: _Room, depth: int) -> dict[str, Any]:
        cleaned: dict[str, Any] = {}
        for number, (key, item) in enumerate(fields.items()):
            if room.characters <= 0 or number >= _MOST_ITEMS:
                left_out = len(fields) - number
                self.cut.left_out += left_out
                cleaned["…"] = f"{left_out:,} more fields"
                break
            name = self.text(key)
            room.characters -= len(name)
            cleaned[name] = HIDDEN if key in self.fields else self._clip(item, room, depth)
        return cleaned


@dataclass(slots=True)
class _Room:
    """Characters that a value may still have."""

    characters: int


def hide_fields(text: str, fields: frozenset[str]) -> str:
    """Return a text that may be JSON with the fields of these names hidden in it."""
    if text[:1] not in ("{", "[") or not any(f'"{name}"' in text for name in fields):
        return text
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return json.dumps(_hide(value, fields), ensure_ascii=False)


def _hide(value: Any, fields: frozenset[str]) -> Any:
    if isinstance(value, list):
        return [_hide(item, fields) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    items = cast("dict[str, Any]", value).items()
    return {key: HIDDEN if key in fields else _hide(item, fields) for key, item in items}


def read_window(redaction: Redaction, text: str, begin: int, end: int) -> str:
    """Return `text[begin:end]` with every secret in it replaced by its kind.

    Also of those that reach into it from outside. Takes time in proportion to the window, however
    long the text is.
    """
    reach = max((_MARGIN, *map(len, redaction.values)))
    first = max(0, begin - reach)
    around = text[first : end + reach]
    values = _find_values(redaction, around)
    # As where values are replaced first: a secret may begin right after one.
    rest = replace_matches(around, values, lambda match: " " * (match.end - match.start))
    matches = [match for detector in redaction.checks for match in detector.find(rest)]
    parts: list[str] = []
    place = begin - first
    last = min(end, len(text)) - first
    for match in merge_matches([*values, *matches], rank_match):
        if match.end <= place or match.start >= last:
            continue
        parts += [around[place : max(place, match.start)], _name(match)]
        place = match.end
    return "".join([*parts, around[place : max(place, last)]])


_VALUE: Final = "value"


def _find_values(redaction: Redaction, text: str) -> list[Match]:
    """Return where the known secrets are in a text, in order and without overlaps."""
    matches: list[Match] = []
    for value in redaction.values:
        start = text.find(value)
        while start >= 0:
            matches.append(Match(_VALUE, start, start + len(value)))
            start = text.find(value, start + 1)
    return merge_matches(matches, rank_match)


def _name(match: Match) -> str:
    return HIDDEN if match.kind == _VALUE else f"[{match.kind}]"

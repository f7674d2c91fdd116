"""Mask of a key in text of the endpoint that it was sent to, in every common encoding.

Some endpoints and gateways echo the `Authorization` header or the address of a request, as it is,
percent-encoded, escaped as in JSON, HTML or code, or in base64 or hexadecimal digits. A key must
not reach a terminal, an answer or a journal in any of these forms, nor a preview of an answer,
whose pieces may each hold a part of it.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from functools import cached_property

MASK = "[key]"
_LONGEST_ESCAPE = 20  # characters that stand for one
_PART_OF_ESCAPE = re.compile(r"%[0-9A-Fa-f]{0,8}|\\{1,4}[ux{}0-9A-Fa-f]{0,12}|&[#;0-9A-Za-z]{0,18}")
_SHORTEST = 6  # characters; what is shorter is a word that stands for "no key"


class KeyMask:
    """Replaces a key by `[key]`. A key of fewer than six characters is not masked."""

    def __init__(self, key: str) -> None:
        self._key = key if len(key) >= _SHORTEST else ""
        self._forms = _list_forms(self._key) if self._key else ()
        self._shortest = min(map(len, self._list_all()))

    def hide(self, text: str) -> str:
        """Return the text without the key. Takes time in proportion to the text."""
        if not self._key or len(text) < self._shortest:
            return text
        if self._key in text:
            text = text.replace(self._key, MASK)
        for form in self._forms:
            if form in text:
                text = text.replace(form, MASK)
        if "%" in text or "\\" in text or "&" in text:
            text = self._pattern.sub(MASK, text)
        return text

    def open_stream(self) -> KeyStream | None:
        """Return the mask of one text that comes in pieces; None if there is no key to hide."""
        return KeyStream(self) if self._key else None

    def find_beginning(self, text: str) -> int:
        """Return where a part at the end of the text begins that may become the key; else its end.

        Looks no further back than the longest form of the key.
        """
        first = max(0, len(text) - self._longest)
        candidate = self._tail.search(text, first)
        if candidate is None:
            return len(text)
        for place in range(candidate.start(), len(text)):
            if text[place:] in self._beginnings or self._begins_escaped(text, place):
                return place
        return len(text)

    def _begins_escaped(self, text: str, place: int) -> bool:
        """Return whether the text from a place on is a beginning of the key with escapes in it."""
        for character in self._characters:
            # Part of an escape may look like another one that is whole, such as \\x of \\x78.
            if place == len(text) or _PART_OF_ESCAPE.fullmatch(text, place):
                return True
            found = character.match(text, place)
            if found is None:
                return False
            place = found.end()
        return False

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile("".join(map(_match_escaped, self._key)))

    @cached_property
    def _characters(self) -> list[re.Pattern[str]]:
        return [re.compile(_match_escaped(character)) for character in self._key]

    @cached_property
    def _longest(self) -> int:
        return _LONGEST_ESCAPE * len(self._key)

    @cached_property
    def _beginnings(self) -> frozenset[str]:
        return frozenset(form[:end] for form in self._list_all() for end in range(1, len(form)))

    @cached_property
    def _tail(self) -> re.Pattern[str]:
        """Return what finds the end of a text in which a form may begin, without white space."""
        if self._key.split() != [self._key]:
            return re.compile(r"(?s).")
        first = "".join(re.escape(form[0]) for form in self._list_all())
        return re.compile(rf"[%\\&{first}]\S*\Z")

    def _list_all(self) -> Iterator[str]:
        yield self._key
        yield from self._forms


class KeyStream:
    """Hides a key in one text that comes in pieces; what may become the key is held back."""

    def __init__(self, mask: KeyMask) -> None:
        self._mask = mask
        self._held = ""

    def add(self, piece: str) -> str:
        """Return what of the text can be shown now."""
        text = self._mask.hide(self._held + piece)
        end = self._mask.find_beginning(text)
        self._held = text[end:]
        return text[:end]

    def finish(self) -> str:
        """Return what was held back, at the end of the text."""
        shown, self._held = self._held, ""
        return shown


def _list_forms(key: str) -> tuple[str, ...]:
    """Return the key in base64 and in hexadecimal digits.

    In base64 the characters at the ends depend on what stands beside the key: each of the three
    alignments gives those in between.
    """
    data = key.encode()
    forms = {data.hex(), data.hex().upper(), data.hex(":"), data.hex(":").upper(), key[::-1]}
    for offset in range(3):
        padded = bytes(offset) + data
        whole = len(padded) // 3 * 3
        encoded = base64.b64encode(padded[:whole]).decode()[(4 if offset else 0) :]
        forms |= {encoded, encoded.replace("+", "-").replace("/", "_")}
    forms.discard(key)
    # Longer forms first, since one may be a part of another.
    return tuple(sorted((form for form in forms if len(form) >= _SHORTEST), key=len, reverse=True))


def _match_escaped(character: str) -> str:
    """Return a pattern for a character: as it is, and as URLs, JSON, code and HTML escape it."""
    code = ord(character)
    low = f"{code:02x}"
    digits = "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in low)
    forms = [
        rf"%(?:25){{0,3}}{digits}",
        rf"\\{{1,4}}(?:u00|u\{{0{{0,4}}|x){digits}\}}?",
        rf"\\{{1,4}}{re.escape(character)}",
        rf"\\0?{code:o}",
        rf"&(?:amp;)?#(?:0{{0,4}}{code}|[xX]0{{0,4}}{digits});?",
    ]
    name = _HTML_NAMES.get(character)
    if name:
        forms.append(f"&(?:amp;)?{name};")
    forms.append(re.escape(character))  # the last one: an escape begins with a character, too
    return f"(?:{'|'.join(forms)})"


_HTML_NAMES = {
    "&": "amp",
    "<": "lt",
    ">": "gt",
    '"': "quot",
    "'": "apos",
    "/": "sol",
    "+": "plus",
    "=": "equals",
    ".": "period",
    "_": "lowbar",
    "-": "(?:hyphen|dash)",
    ":": "colon",
}

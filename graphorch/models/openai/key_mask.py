"""Mask of a key in text of the endpoint that it was sent to, in every common encoding.

Some endpoints and gateways echo the `Authorization` header or the address of a request, as it is,
percent-encoded, escaped as in JSON, HTML or code, or in base64 or hexadecimal digits. A key must
not reach a terminal, an answer or a journal in any of these forms.
"""

from __future__ import annotations

import base64
import re

MASK = "[key]"
_SHORTEST = 6  # characters; what is shorter is a word that stands for "no key"


class KeyMask:
    """Replaces a key by `[key]`. A key of fewer than six characters is not masked."""

    __slots__ = ("_escaped", "_forms", "_key")

    def __init__(self, key: str) -> None:
        self._key = key if len(key) >= _SHORTEST else ""
        self._forms = _list_forms(self._key) if self._key else ()
        self._escaped: re.Pattern[str] | None = None

    def hide(self, text: str) -> str:
        """Return the text without the key. Takes time in proportion to the text."""
        if not self._key or not text:
            return text
        if self._key in text:
            text = text.replace(self._key, MASK)
        for form in self._forms:
            if form in text:
                text = text.replace(form, MASK)
        if "%" in text or "\\" in text or "&" in text:
            text = self._pattern.sub(MASK, text)
        return text

    @property
    def _pattern(self) -> re.Pattern[str]:
        if self._escaped is None:
            self._escaped = re.compile(
                "".join(_match_escaped(character) for character in self._key)
            )
        return self._escaped


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

"""Detect tokens: JSON Web Tokens, and what stands behind `Bearer`, `Basic` or in a header."""

from __future__ import annotations

import base64
import binascii
import re

from graphorch.models.guardrails.detector import RegexDetector

_JWT = re.compile(
    r"eyJ(?<![A-Za-z0-9_-]...)[A-Za-z0-9_-]{10,512}+\.[A-Za-z0-9_-]{0,2400}+"
    r"\.[A-Za-z0-9_-]{0,1000}+(?:\.[A-Za-z0-9_-]{1,80}){0,2}"
)


def _locate_jwt(text: str, start: int, end: int) -> tuple[int, int] | None:
    """Accept three parts, or five if encrypted, of which the first names the algorithm."""
    header = text[start : text.index(".", start)]
    return (start, end) if b'"alg"' in _decode_base64(header) else None


def _decode_base64(encoded: str) -> bytes:
    bare = encoded.rstrip("=")
    padding = "=" * (-len(bare) % 4)
    try:
        return base64.b64decode(bare + padding, altchars=b"-_")
    except (binascii.Error, ValueError):
        return b""


_AUTH = re.compile(r"[Bb](?<![A-Za-z].)(?:earer|EARER|asic|ASIC)[ \t]{1,4}(?=[A-Za-z0-9])")
# `Authorization: token …`, `Authorization: ApiKey …`, and a header with the credential alone.
_HEADER = re.compile(
    r"(?i)(?=a)(?<![a-z])authorization[\"']?[ \t]{0,4}[:=][ \t]{0,4}[\"']?"
    r"(?:(?:token|api-?key|key|digest|negotiate|aws4-hmac-sha256|splunk)[ \t]{1,4})?"
    r"(?=[A-Za-z0-9])(?!bearer|basic)"
)
_CREDENTIAL = re.compile(r"[A-Za-z0-9._~+/\-]{8,4000}+={0,2}")
_SHORTEST_BEARER = 16


def _locate_auth_token(text: str, start: int, end: int) -> tuple[int, int] | None:
    """Locate the credential behind `Bearer` or `Basic`.

    Behind `Bearer` it is not just a word, and behind `Basic` it is a name and a password.
    """
    match = _CREDENTIAL.match(text, end)
    if match is None:
        return None
    token = match[0].rstrip(".")
    is_bearer = text[start + 1] in "eE"
    is_token = _is_bearer_token(token) if is_bearer else b":" in decode_text(token)
    return (end, end + len(token)) if is_token else None


def _locate_header_token(text: str, start: int, end: int) -> tuple[int, int] | None:
    """Locate the credential of an `Authorization` header of another scheme than the usual two."""
    match = _CREDENTIAL.match(text, end)
    if match is None:
        return None
    token = match[0].rstrip(".")
    return (end, end + len(token)) if _is_bearer_token(token) else None


def _is_bearer_token(token: str) -> bool:
    has_digit = any(character.isdigit() for character in token)
    has_letter = any(character.isalpha() for character in token)
    return len(token) >= _SHORTEST_BEARER and has_digit and has_letter


def decode_text(encoded: str) -> bytes:
    """Return the text that is encoded; empty if it is not printable text."""
    plain = _decode_base64(encoded)
    is_text = all(32 <= code < 127 or code in (9, 10, 13) for code in plain)
    return plain if is_text else b""


JWT = (RegexDetector("jwt", _JWT, _locate_jwt),)
AUTH_TOKEN = (
    RegexDetector("auth_token", _AUTH, _locate_auth_token),
    RegexDetector("auth_token", _HEADER, _locate_header_token),
)

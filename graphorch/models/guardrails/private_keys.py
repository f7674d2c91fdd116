"""Detect private keys in PEM blocks, also those that are not over yet or have lost their end."""

from __future__ import annotations

import re

from graphorch.models.guardrails.detector import RegexDetector

_LONGEST_BLOCK = 16_384
_END_MARK = 64  # characters that hold the whole end mark
_BLOCK_BEGINS = re.compile(r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_BLOCK_ENDS = re.compile(r"-----END (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
# Header lines, and then base64 in lines; the lines may be quoted, escaped or commented out, as they
# are in code and in JSON.
_HEADERS = r"(?:(?:\s|\\[nr]){0,8}[A-Za-z-]{1,24}: [^\n\\]{0,100}){0,6}"
_BODY = re.compile(rf"{_HEADERS}[A-Za-z0-9+/=\s\\\"',#>|]{{0,{_LONGEST_BLOCK}}}+")
_BASE64_LINE = re.compile(r"[A-Za-z0-9+/=]{40}")


def _locate_block(text: str, start: int, end: int) -> tuple[int, int] | None:
    """Locate the block with its end mark, or as much as there is of it.

    Without a line of base64 the text only mentions a key.
    """
    body_end = _find_body_end(text, end)
    if _BASE64_LINE.search(text, end, body_end) is None:
        return None
    mark = _BLOCK_ENDS.match(text, body_end)
    return start, mark.end() if mark else body_end


def _find_body_end(text: str, start: int) -> int:
    body = _BODY.match(text, start)
    return body.end() if body else start


def find_open_key(text: str) -> int | None:
    """Return where a private key begins whose end has not been seen, so that more may come."""
    for begin in _BLOCK_BEGINS.finditer(text):
        body_end = _find_body_end(text, begin.end())
        # Open in three conditions: the body reaches to the end of the text (but for a piece of the
        # end mark), it may still grow, and the end mark is not there.
        reaches_end = len(text) - body_end < _END_MARK
        may_grow = body_end - begin.end() < _LONGEST_BLOCK
        if reaches_end and may_grow and not _BLOCK_ENDS.match(text, body_end):
            return begin.start()
    return None


PRIVATE_KEY = (RegexDetector("private_key", _BLOCK_BEGINS, _locate_block),)

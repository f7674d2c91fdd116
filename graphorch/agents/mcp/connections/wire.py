"""Lines that a started server writes: cut from what arrives, bounded, and read as messages.

Rules of this file:
1. A line longer than the limit is not kept: its length, its beginning and its end are.
2. A line that is no message fails the call that it seems to answer, by the number in it. Without
   a number it is kept as noise, since servers write to standard output what belongs elsewhere.
3. Bytes that are no UTF-8 are never guessed at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from graphorch.text import clean

# Codes of errors that stand for an answer: one that could not be used, or did not come.
TOO_LARGE: Final = 90_001
UNREADABLE: Final = 90_002
UNREACHED: Final = 90_003  # the request cannot have reached the server
BROKEN: Final = 90_004  # it may have reached the server
REFUSED: Final = 90_005  # the server, or what stands before it, refused it with an HTTP status

_KEPT: Final = 400  # bytes of the beginning and of the end of a line that is not kept
_ID_FIRST = re.compile(rb'\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"id"\s*:\s*(\d{1,15})\s*[,}]')
_ID_LAST = re.compile(rb'[,{]\s*"id"\s*:\s*(\d{1,15})\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?\}\s*$')


@dataclass(frozen=True, slots=True)
class Line:
    """A line as it was written, without its end; of one that is too long only both ends."""

    head: bytes
    tail: bytes
    size: int

    @property
    def is_whole(self) -> bool:
        """Whether nothing of it was left out."""
        return self.size == len(self.head) and not self.tail

    def find_request(self) -> int | None:
        """Return the number of the request that the line seems to answer; None without one."""
        first = _ID_FIRST.match(self.head)
        last = _ID_LAST.search(self.tail or self.head)
        number = first or last
        return None if number is None else int(number[1])

    def show(self) -> str:
        """Return the beginning of the line, for a message."""
        return clean(self.head[:200].decode("utf-8", "backslashreplace").strip(), 200)


@dataclass(slots=True)
class LineCutter:
    """Cuts lines from pieces of a stream; holds at most `longest` bytes of one that goes on."""

    longest: int
    _buffer: bytearray = field(default_factory=bytearray)
    _head: bytes = b""
    _skipped: int = 0

    def feed(self, piece: bytes) -> Iterator[Line]:
        """Yield the lines that a piece completes. Costs linear time in all pieces."""
        begin = 0
        while (end := piece.find(b"\n", begin)) >= 0:
            self._buffer += piece[begin:end]
            yield self._take()
            begin = end + 1
        self._buffer += piece[begin:]
        if len(self._buffer) > self.longest:
            self._shorten()

    def _shorten(self) -> None:
        """Drop what is neither the beginning of a line nor its last bytes so far."""
        kept = min(_KEPT, self.longest)
        if not self._skipped:
            self._head = bytes(self._buffer[:kept])
        dropped = len(self._buffer) - kept
        self._skipped += dropped
        del self._buffer[:dropped]

    def _take(self) -> Line:
        if len(self._buffer) > self.longest:
            self._shorten()
        rest, skipped, head = bytes(self._buffer), self._skipped, self._head
        self._buffer.clear()
        self._skipped, self._head = 0, b""
        if not skipped:
            return Line(rest, b"", len(rest))
        return Line(head, rest[-_KEPT:], skipped + len(rest))

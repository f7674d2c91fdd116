"""Scan of a text that arrives in pieces, with the outcome of a scan of the whole.

Theory of operation. The decision of a detector about a place depends on few characters before it
and few after it (`detector.py` has the rules). So the text up to a *cut* is settled if the cut

1. is `REACH` characters before the end and behind white space, or `LONGEST` before the end;
2. is not inside of a match;
3. is not behind the beginning of a private key that has not ended.

A little of the settled text is kept as context, for detectors that look back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from graphorch.models.guardrails.detector import CONTEXT, LONGEST, REACH, Match

_SPACE = re.compile(r"\s")


class StreamScanner:
    """Scanner of a stream: hands each settled part with its matches to `on_settled`. Mutable.

    `find` searches a text, `merge` makes the matches separate and brings them in order, and
    `find_open` returns where something begins that may not have ended.
    """

    def __init__(
        self,
        find: Callable[[str], Iterable[Match]],
        merge: Callable[[Iterable[Match]], list[Match]],
        find_open: Callable[[str], int | None],
        on_settled: Callable[[str, list[Match]], None],
    ) -> None:
        self._find = find
        self._merge = merge
        self._find_open = find_open
        self._on_settled = on_settled
        self._context = ""
        self._held = ""

    def feed(self, piece: str) -> None:
        """Add a piece, and let go of the text that it settles."""
        self._held += piece
        if self._latest_cut(self._held):
            self._let_go(is_end=False)

    def finish(self) -> None:
        """Let go of the rest: there are no more pieces."""
        self._let_go(is_end=True)

    def _let_go(self, *, is_end: bool) -> None:
        text = self._context + self._held
        begin = len(self._context)
        # A match that begins in the context was handed over with the context.
        matches = self._merge(match for match in self._find(text) if match.start >= begin)
        cut = len(text) if is_end else self._find_cut(text, begin, matches)
        if cut <= begin:
            return
        settled = [
            Match(match.kind, match.start - begin, match.end - begin)
            for match in matches
            if match.end <= cut
        ]
        self._on_settled(text[begin:cut], settled)
        self._context = text[max(0, cut - CONTEXT) : cut]
        self._held = text[cut:]

    def _find_cut(self, text: str, begin: int, matches: list[Match]) -> int:
        cut = begin + self._latest_cut(self._held)
        opened = self._find_open(text[begin:])
        if opened is not None:
            cut = min(cut, begin + opened)
        # Backwards, since moving the cut before one match may put it inside of the match before.
        for match in reversed(matches):
            if match.start < cut < match.end:
                cut = match.start
        return cut

    def _latest_cut(self, held: str) -> int:
        """Return the latest place that is far enough from the end; 0 if there is none."""
        earliest = max(0, len(held) - LONGEST)
        for place in range(len(held) - REACH, earliest, -1):
            if _SPACE.match(held, place - 1):
                return place
        return earliest

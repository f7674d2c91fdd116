"""The same judgement over a stream as over the whole text, whatever the pieces are: nothing is let go that may still be part of a find.

Theory of operation. What a finder decides about a place depends on few characters before it and on few after it (the rules are in
`guardrails_scan`). So the text up to a *cut* is settled if the cut is `REACH` characters before the end and behind white space, or
`LONGEST` characters before the end; not inside of a find; and not behind the beginning of a private key that has not ended. A little of
what was let go is kept, for finders that look back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from graphorch.models.guardrails.detector import CONTEXT, LONGEST, REACH, Match

_SPACE = re.compile(r"\s")


class StreamScanner:
    """Takes a text in pieces and gives `judge` each settled part, with the spans in it. Mutable.

    `find` finds in a text, `unite` makes the finds separate and brings them in order, and `open_from` says where something begins
    that may not have ended.
    """

    def __init__(
        self,
        find: Callable[[str], Iterable[Match]],
        unite: Callable[[Iterable[Match]], list[Match]],
        open_from: Callable[[str], int | None],
        judge: Callable[[str, list[Match]], None],
    ) -> None:
        self._find = find
        self._unite = unite
        self._open_from = open_from
        self._judge = judge
        self._before = ""
        self._held = ""

    def feed(self, piece: str) -> None:
        """Add a piece, and let go what it settles."""
        self._held += piece
        if self._latest_cut(self._held):
            self._let_go(is_end=False)

    def finish(self) -> None:
        """There are no more pieces: let go of everything."""
        self._let_go(is_end=True)

    def _let_go(self, *, is_end: bool) -> None:
        text = self._before + self._held
        begin = len(self._before)
        # what begins before was judged before
        spans = self._unite(match for match in self._find(text) if match.start >= begin)
        cut = len(text) if is_end else self._cut(text, begin, spans)
        if cut <= begin:
            return
        settled = [
            Match(match.kind, match.start - begin, match.end - begin)
            for match in spans
            if match.end <= cut
        ]
        self._judge(text[begin:cut], settled)
        self._before = text[max(0, cut - CONTEXT) : cut]
        self._held = text[cut:]

    def _cut(self, text: str, begin: int, spans: list[Match]) -> int:
        cut = begin + self._latest_cut(self._held)
        opened = self._open_from(text[begin:])
        if opened is not None:
            cut = min(cut, begin + opened)
        for span in reversed(spans):
            if span.start < cut < span.end:
                cut = span.start
        return cut

    def _latest_cut(self, held: str) -> int:
        """The latest place that is far enough from the end; 0 if there is none."""
        furthest = len(held) - REACH
        for place in range(furthest, max(0, len(held) - LONGEST), -1):
            if _SPACE.match(held, place - 1):
                return place
        return max(0, len(held) - LONGEST)

"""How text is searched: what a check is, what it finds, and how overlapping finds become one.

Rules for a finder, which make streams and large texts safe:
- its trigger matches in a bounded number of steps, so that a scan takes time in proportion to the text, whatever the text is;
- what it decides about a place depends on at most `CONTEXT` characters before it, and either on `REACH` characters after it or, if it
  holds no white space, on the run of characters up to the next white space and no more than `LONGEST` of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

CONTEXT = 512
REACH = 128
LONGEST = 4096


@dataclass(frozen=True, slots=True)
class Match:
    """A part of a text: `text[start:end]` is of this kind."""

    kind: str
    start: int
    end: int


class Detector(Protocol):
    """Anything that finds something in a text: a built-in set of finders or your own."""

    def find(self, text: str) -> Iterable[Match]:
        """What it found, in any order; spans may overlap. It should take time in proportion to the text."""
        ...


Locate: TypeAlias = Callable[[str, int, int], tuple[int, int] | None]


@dataclass(frozen=True, slots=True)
class RegexDetector:
    """Finds one kind: where `trigger` matches, `locate(text, start, end)` gives the span around that match, or None."""

    kind: str
    trigger: re.Pattern[str]
    locate: Locate

    def find(self, text: str) -> Iterator[Match]:
        """Every span, also those that overlap: what is found at one place never hides another."""
        place = 0
        while (match := self.trigger.search(text, place)) is not None:
            place = match.start() + 1
            found = self.locate(text, match.start(), match.end())
            if found is not None:
                yield Match(self.kind, *found)


@dataclass(frozen=True, slots=True)
class DetectorSet:
    """A `Detector` made of finders."""

    finders: tuple[RegexDetector, ...]

    def find(self, text: str) -> Iterator[Match]:
        """What any of them finds."""
        for finder in self.finders:
            yield from finder.find(text)


def locate_whole_match(text: str, start: int, end: int) -> tuple[int, int] | None:
    """A `Locate` for triggers that are the thing itself."""
    return (start, end)


def merge_matches(spans: Iterable[Match], rank: Callable[[Match], tuple[int, ...]]) -> list[Match]:
    """Spans without overlaps, in the order of the text: those that touch a common character are one, of the kind with the lowest rank."""
    groups: list[list[Match]] = []
    reached = -1
    for span in sorted(spans, key=lambda match: match.start):
        if span.start >= reached:
            groups.append([])
        groups[-1].append(span)
        reached = max(reached, span.end)
    return [group[0] if len(group) == 1 else _union(group, rank) for group in groups]


def _union(group: list[Match], rank: Callable[[Match], tuple[int, ...]]) -> Match:
    return Match(min(group, key=rank).kind, group[0].start, max(match.end for match in group))


def replace_matches(text: str, spans: Sequence[Match], stand_in: Callable[[Match], str]) -> str:
    """The text with each span replaced; they must not overlap and be in order."""
    parts: list[str] = []
    place = 0
    for span in spans:
        parts += [text[place : span.start], stand_in(span)]
        place = span.end
    return "".join([*parts, text[place:]])

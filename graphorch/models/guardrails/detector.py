"""Search of a text: detectors, their matches, and the merging of matches that overlap.

Rules for a `RegexDetector`, which make streams and large texts safe:
1. Its trigger matches in a bounded number of steps, so that a scan takes time in proportion to the
   text, for any text.
2. Its decision about a place depends on at most `CONTEXT` characters before it, and either on
   `REACH` characters after it or, if the match holds no white space, on the run of characters up
   to the next white space, of at most `LONGEST` characters.
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
    """Part of a text: `text[start:end]` is of this kind."""

    kind: str
    start: int
    end: int


class Detector(Protocol):
    """Search for something in a text: a built-in set of detectors, or your own."""

    def find(self, text: str) -> Iterable[Match]:
        """Return the matches in any order; they may overlap.

        It should take time in proportion to the text.
        """
        ...


Locate: TypeAlias = Callable[[str, int, int], tuple[int, int] | None]
"""Return the span around a match of the trigger, `locate(text, start, end)`, or None."""


@dataclass(frozen=True, slots=True)
class RegexDetector:
    """Detector of one kind: `locate` decides about each place where `trigger` matches."""

    kind: str
    trigger: re.Pattern[str]
    locate: Locate

    def find(self, text: str) -> Iterator[Match]:
        """Yield every match, also those that overlap: no match hides another."""
        place = 0
        while (trigger := self.trigger.search(text, place)) is not None:
            place = trigger.start() + 1
            span = self.locate(text, trigger.start(), trigger.end())
            if span is not None:
                yield Match(self.kind, *span)


@dataclass(frozen=True, slots=True)
class DetectorSet:
    """A `Detector` made of several."""

    detectors: tuple[RegexDetector, ...]

    def find(self, text: str) -> Iterator[Match]:
        """Yield the matches of each detector."""
        for detector in self.detectors:
            yield from detector.find(text)


def locate_whole_match(text: str, start: int, end: int) -> tuple[int, int] | None:
    """Return the span unchanged: a `Locate` for triggers that match exactly what is sought."""
    return (start, end)


def merge_matches(
    matches: Iterable[Match], rank: Callable[[Match], tuple[int, ...]]
) -> list[Match]:
    """Return matches without overlaps, in the order of the text.

    Matches that share a character become one, of the kind with the lowest rank.
    """
    groups: list[list[Match]] = []
    reached = -1
    for match in sorted(matches, key=lambda match: match.start):
        if match.start >= reached:
            groups.append([])
        groups[-1].append(match)
        reached = max(reached, match.end)
    return [_merge_group(group, rank) for group in groups]


def _merge_group(group: list[Match], rank: Callable[[Match], tuple[int, ...]]) -> Match:
    if len(group) == 1:
        return group[0]
    kind = min(group, key=rank).kind
    return Match(kind, group[0].start, max(match.end for match in group))


def replace_matches(
    text: str, matches: Sequence[Match], replacement: Callable[[Match], str]
) -> str:
    """Return the text with each match replaced; matches are in order and do not overlap."""
    parts: list[str] = []
    place = 0
    for match in matches:
        parts += [text[place : match.start], replacement(match)]
        place = match.end
    return "".join([*parts, text[place:]])

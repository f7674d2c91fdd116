"""Pairs what two runs have in common: activations by their places, model calls by their prompts."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from graphorch.views.comparison.recorded_run import Place, RecordedCall


def merge_places(left: Iterable[Place], right: Iterable[Place]) -> Iterator[Place]:
    """Yield all places in the order of the left run.

    One that only the right run has comes after the one before it there, so that both read in their
    causal order.
    """
    ordered = list(left)
    known = set(ordered)
    following: defaultdict[Place | None, list[Place]] = defaultdict(list)
    before: Place | None = None
    for place in right:
        if place in known:
            before = place
        else:
            following[before].append(place)
    yield from following[None]
    for place in ordered:
        yield place
        yield from following.get(place, ())


class CallPair(NamedTuple):
    """The calls of two runs that belong together; None where one run made no such call."""

    left: RecordedCall | None
    right: RecordedCall | None


def pair_calls(left: Sequence[RecordedCall], right: Sequence[RecordedCall]) -> list[CallPair]:
    """Pair the calls of an activation in two runs: those with equal prompts, then the rest.

    The rest goes in order. Calls that run at once end in any order: that of their beginning counts.
    """
    waiting: defaultdict[str, deque[RecordedCall]] = defaultdict(deque)
    for call in sorted(right, key=lambda each: each.number):
        waiting[call.prompt].append(call)
    found: dict[int, RecordedCall] = {}
    ordered = sorted(left, key=lambda each: each.number)
    for call in ordered:
        if waiting[call.prompt]:
            found[call.seq] = waiting[call.prompt].popleft()
    rest = deque(sorted((each for queue in waiting.values() for each in queue), key=_by_number))
    pairs = list[CallPair]()
    for call in ordered:
        other = found.get(call.seq) or (rest.popleft() if rest else None)
        pairs.append(CallPair(call, other))
    return [*pairs, *(CallPair(None, call) for call in rest)]


def _by_number(call: RecordedCall) -> int:
    return call.number

"""Seconds that limits add to an estimate: only so much of nodes, runs and endpoints runs at once.

Rule 1: whatever the order, a run takes no longer than its longest path, and for each limit its work
    divided by what the limit lets run at once: while the next node of the path waits, the limit is
    used in full. Of the limit of the run, the path itself uses a part (Graham 1969, "Bounds on
    multiprocessing timing anomalies"). And work that runs one after another takes its sum.
Rule 2: the expected case takes the longest of these: the limit that is the narrowest decides.
    An exclusive region lets one of its nodes run at once, with all that is inside of it.
Rule 3: waiting for a turn at an endpoint is part of an attempt and ends with its timeout, so the
    worst case has it. The limit of a map is counted where its items are (`estimator.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from graphorch.graph.estimate.amounts import Amounts

_WORKING = ("node", "agent")  # kinds of nodes that take a slot while they run


@dataclass(frozen=True, slots=True)
class ModelPace:
    """Limits of one model: how many calls at once, and how many a minute; None is no limit."""

    concurrency: int | None = None
    per_minute: float | None = None


Pace: TypeAlias = Callable[[str], ModelPace | None]


@dataclass(frozen=True, slots=True)
class Row:
    """All activations of one node: its path, kind and model, and its amounts at most and usually.

    `limit` is how many of them may run at once, `width` how many flows that have the node may. The
    node is in exclusive `regions`; `held` are these and those of the nodes around it.
    """

    path: str
    kind: str
    model: str
    worst: Amounts
    expected: Amounts
    limit: int | None = None
    width: int = 1
    regions: frozenset[str] = frozenset()
    held: frozenset[str] = frozenset()

    def times(self, most: float, usual: float) -> Row:
        """Return the row of a node that runs so often."""
        return replace(self, worst=self.worst.times(most), expected=self.expected.times(usual))

    def under(self, name: str, width: int = 1, held: Iterable[str] = ()) -> Row:
        """Return the row as that of a node inside of another one.

        `width` flows run inside of that at once, and it holds the exclusive regions `held`.
        """
        return replace(
            self,
            path=f"{name}/{self.path}",
            width=self.width * width,
            held=self.held.union(held),
        )

    def __add__(self, other: Row) -> Row:
        """Return one row for both, which are the same node in two places."""
        return replace(
            self,
            worst=self.worst + other.worst,
            expected=self.expected + other.expected,
            width=self.width + other.width,
            held=self.held | other.held,
        )


def no_pace(model: str) -> ModelPace | None:
    """Return None: no limit is known."""
    return None


def limit_worst(rows: Sequence[Row], longest: float, concurrency: int | None) -> float:
    """Return the most seconds of a run whose longest path takes `longest` seconds."""
    work = [(row, row.worst.seconds) for row in rows]
    limited = longest + sum(seconds / at_once for seconds, at_once in _shares(work, concurrency))
    if concurrency is not None and math.isfinite(longest):
        limited -= longest / concurrency
    # Seconds of maps are those of their items, which are rows of their own.
    in_turn = sum(seconds for _, seconds in work)
    return max(longest, min(limited, in_turn))


def limit_expected(
    rows: Sequence[Row], longest: float, concurrency: int | None, pace: Pace
) -> float:
    """Return the usual seconds of a run whose longest path usually takes `longest` seconds."""
    work = [(row, row.expected.seconds) for row in rows]
    waits = [seconds / at_once for seconds, at_once in _shares(work, concurrency)]
    by_model: dict[str, list[Amounts]] = {}
    for row in rows:
        if row.model:
            by_model.setdefault(row.model, []).append(row.expected)
    for model, amounts in by_model.items():
        limits = pace(model)
        if limits is None:
            continue
        if limits.concurrency is not None:
            waits.append(sum(item.seconds for item in amounts) / limits.concurrency)
        if limits.per_minute is not None:
            # The bucket is full at the beginning: the calls of the first minute do not wait.
            calls = sum(item.calls for item in amounts)
            waits.append(60 * max(0.0, calls / limits.per_minute - 1))
    return max([longest, *waits])


def _shares(
    work: Sequence[tuple[Row, float]], concurrency: int | None
) -> Iterator[tuple[float, int]]:
    """Yield the seconds of work under each limit that may be met, and how many run at once.

    The limit of a node may be if more of it could be ready than may run.
    """
    if concurrency is not None:
        yield sum(seconds for row, seconds in work if row.kind in _WORKING), concurrency
    for row, seconds in work:
        if row.limit is not None and row.limit < row.width:
            yield seconds, row.limit
    names = dict.fromkeys(name for row, _ in work for name in sorted(row.regions))
    for name in names:
        if sum(row.width for row, _ in work if name in row.regions) > 1:
            yield sum(seconds for row, seconds in work if name in row.held), 1

"""Two flows in figures: quality, cost, latency and errors of both and of their difference, each with an interval.

The intervals are the percentile bootstrap's (Efron 1979): cases are drawn anew with replacement, 2,000 times, each time with both of their
runs, so that a hard case is hard for both; 95 % of the figures computed from these lie within the interval. With few cases it is narrow
by chance, so a difference is only called one if its interval leaves out zero and there are ten cases at least.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

RESAMPLES = 2_000
FEW = 10  # cases below which nothing is concluded

Verdict = Literal["A is better", "B is better", "no difference shown"]


@dataclass(frozen=True, slots=True)
class Ran:
    """One run: seconds, dollars, its score if there is one, and what went wrong, or ""."""

    seconds: float = 0.0
    usd: float = 0.0
    score: float | None = None
    error: str = ""


Pair = tuple[Ran, Ran]


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure and its interval; NaN if there is nothing to compute it from."""

    value: float
    low: float
    high: float

    @property
    def is_known(self) -> bool:
        """Whether there was anything to compute it from."""
        return not math.isnan(self.value)


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of both flows. `difference` is B's less A's."""

    name: str
    more_is_better: bool
    first: Figure
    second: Figure
    difference: Figure
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Comparison:
    """All of it. Quality and latency are of the cases that both flows answered, cost and errors of all; `answered` says how many."""

    titles: Sequence[str]
    pairs: Sequence[Pair]
    answered: int
    rows: Sequence[Row]
    seed: int


@dataclass(frozen=True, slots=True)
class Measure:
    """How one figure is made of the runs of one flow."""

    name: str
    more_is_better: bool
    needs_answers: bool
    of: Callable[[Sequence[Ran]], float]


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which a share of the values lies, between two of them by straight line; NaN of none."""
    if not values:
        return math.nan
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def mean(values: Sequence[float]) -> float:
    """The mean; NaN of none."""
    return math.fsum(values) / len(values) if values else math.nan


MEASURES = (
    Measure(
        "quality",
        True,
        True,
        lambda runs: mean([run.score for run in runs if run.score is not None]),
    ),
    Measure("dollars a run", False, False, lambda runs: mean([run.usd for run in runs])),
    Measure("seconds, P50", False, True, lambda runs: quantile([run.seconds for run in runs], 0.5)),
    Measure("seconds, P90", False, True, lambda runs: quantile([run.seconds for run in runs], 0.9)),
    Measure(
        "failed runs", False, False, lambda runs: mean([float(bool(run.error)) for run in runs])
    ),
)


def compared(titles: Sequence[str], pairs: Sequence[Pair], seed: int = 0) -> Comparison:
    """The figures of these runs; the same seed gives the same intervals. Without scores there is no row for quality."""
    answered = [pair for pair in pairs if not any(run.error for run in pair)]
    has_scores = any(run.score is not None for pair in answered for run in pair)
    measures = [measure for measure in MEASURES if measure.name != "quality" or has_scores]
    rows = [
        _row(measure, answered if measure.needs_answers else pairs, random.Random(seed))
        for measure in measures
    ]
    return Comparison(titles, pairs, len(answered), rows, seed)


def _row(measure: Measure, pairs: Sequence[Pair], rng: random.Random) -> Row:
    first, second = ([pair[side] for pair in pairs] for side in (0, 1))
    firsts: list[float] = []
    seconds: list[float] = []
    for _ in range(RESAMPLES if pairs else 0):
        drawn = rng.choices(range(len(pairs)), k=len(pairs))
        firsts.append(measure.of([first[at] for at in drawn]))
        seconds.append(measure.of([second[at] for at in drawn]))
    number, two = measure.of(first), measure.of(second)
    difference = _figure(two - number, [b - a for a, b in zip(firsts, seconds, strict=True)])
    return Row(
        measure.name,
        measure.more_is_better,
        _figure(number, firsts),
        _figure(two, seconds),
        difference,
        _verdict(measure, difference, len(pairs)),
    )


def _figure(value: float, resampled: Sequence[float]) -> Figure:
    return Figure(value, quantile(resampled, 0.025), quantile(resampled, 0.975))


def _verdict(measure: Measure, difference: Figure, cases: int) -> Verdict:
    if cases < FEW or not (difference.low > 0 or difference.high < 0):
        return "no difference shown"
    return "B is better" if (difference.low > 0) is measure.more_is_better else "A is better"

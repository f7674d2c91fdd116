"""Two flows in figures: quality, cost, latency and errors, and their difference, with intervals.

The intervals are those of the percentile bootstrap (Efron 1979): cases are drawn with replacement,
2,000 times, each time with both of their runs, so that a hard case is hard for both; 95 % of the
figures computed from these samples lie within the interval. With few cases it is narrow by chance,
so a difference counts only if its interval excludes zero and there are at least ten cases.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

RESAMPLES: Final = 2_000
MIN_CASES: Final = 10
"""Cases below which nothing is concluded."""

Verdict: TypeAlias = Literal["A is better", "B is better", "no difference shown"]


@dataclass(frozen=True, slots=True)
class CaseRun:
    """Run of one case: seconds, dollars, its score if there is one, and its error or "".

    The dollars are NaN if a part of them is not known.
    """

    seconds: float = 0.0
    usd: float = 0.0
    score: float | None = None
    error: str = ""


RunPair: TypeAlias = tuple[CaseRun, CaseRun]
"""Runs of one case by A and by B."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure and its interval; NaN if there is nothing to compute it from."""

    value: float
    low: float
    high: float

    @property
    def is_known(self) -> bool:
        """Return whether there was anything to compute it from."""
        return not math.isnan(self.value)


@dataclass(frozen=True, slots=True)
class ComparisonRow:
    """A figure of both flows, and their difference: B's less A's."""

    name: str
    more_is_better: bool
    first: Figure
    second: Figure
    difference: Figure
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Comparison:
    """All figures of two flows.

    Quality and latency are of the `answered` cases, which both flows answered; cost and errors are
    of all cases.
    """

    titles: Sequence[str]
    pairs: Sequence[RunPair]
    answered: int
    rows: Sequence[ComparisonRow]
    seed: int


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure, and how it is computed from the runs of one flow."""

    name: str
    more_is_better: bool
    needs_answers: bool
    compute: Callable[[Sequence[CaseRun]], float]


def compute_quantile(values: Sequence[float], share: float) -> float:
    """Return the value below which a share of the values lies, interpolated; NaN of none."""
    if not values:
        return math.nan
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def compute_mean(values: Sequence[float]) -> float:
    """Return the mean; NaN of none."""
    return math.fsum(values) / len(values) if values else math.nan


def _compute_quality(runs: Sequence[CaseRun]) -> float:
    return compute_mean([run.score for run in runs if run.score is not None])


def _compute_usd(runs: Sequence[CaseRun]) -> float:
    return compute_mean([run.usd for run in runs])


def _compute_median_seconds(runs: Sequence[CaseRun]) -> float:
    return compute_quantile([run.seconds for run in runs], 0.5)


def _compute_p90_seconds(runs: Sequence[CaseRun]) -> float:
    return compute_quantile([run.seconds for run in runs], 0.9)


def _compute_failure_rate(runs: Sequence[CaseRun]) -> float:
    return compute_mean([float(bool(run.error)) for run in runs])


MEASURES: Final = (
    Measure("quality", True, True, _compute_quality),
    Measure("dollars a run", False, False, _compute_usd),
    Measure("seconds, P50", False, True, _compute_median_seconds),
    Measure("seconds, P90", False, True, _compute_p90_seconds),
    Measure("failed runs", False, False, _compute_failure_rate),
)


def compare_runs(titles: Sequence[str], pairs: Sequence[RunPair], seed: int = 0) -> Comparison:
    """Return the figures of these runs; without scores there is no row for quality.

    Equal runs and an equal seed give equal intervals.
    """
    answered = [pair for pair in pairs if not any(run.error for run in pair)]
    has_scores = any(run.score is not None for pair in answered for run in pair)
    rows = [
        _build_row(measure, answered if measure.needs_answers else pairs, random.Random(seed))
        for measure in MEASURES
        if measure.name != "quality" or has_scores
    ]
    return Comparison(titles, pairs, len(answered), rows, seed)


def _build_row(measure: Measure, pairs: Sequence[RunPair], rng: random.Random) -> ComparisonRow:
    runs_a, runs_b = ([pair[side] for pair in pairs] for side in (0, 1))
    resampled_a: list[float] = []
    resampled_b: list[float] = []
    # a case is drawn with both of its runs, which keeps the pairs together
    for _ in range(RESAMPLES if pairs else 0):
        drawn = rng.choices(range(len(pairs)), k=len(pairs))
        resampled_a.append(measure.compute([runs_a[index] for index in drawn]))
        resampled_b.append(measure.compute([runs_b[index] for index in drawn]))
    value_a, value_b = measure.compute(runs_a), measure.compute(runs_b)
    differences = [b - a for a, b in zip(resampled_a, resampled_b, strict=True)]
    difference = _build_figure(value_b - value_a, differences)
    return ComparisonRow(
        measure.name,
        measure.more_is_better,
        _build_figure(value_a, resampled_a),
        _build_figure(value_b, resampled_b),
        difference,
        _judge(measure, difference, len(pairs)),
    )


def _build_figure(value: float, resampled: Sequence[float]) -> Figure:
    # 95 % of the resampled figures lie between these two
    low = compute_quantile(resampled, 0.025)
    high = compute_quantile(resampled, 0.975)
    return Figure(value, low, high)


def _judge(measure: Measure, difference: Figure, cases: int) -> Verdict:
    excludes_zero = difference.low > 0 or difference.high < 0
    if cases < MIN_CASES or not excludes_zero:
        return "no difference shown"
    b_is_more = difference.low > 0
    return "B is better" if b_is_more is measure.more_is_better else "A is better"

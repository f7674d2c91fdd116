"""The figures of a comparison, worked out by hand, and intervals that hold what they promise."""

from __future__ import annotations

import math
import random

import pytest

from graphorch.cli.compare.statistics import CaseRun, compare_runs, compute_mean, compute_quantile


def test_quantiles_are_interpolated() -> None:
    """A quantile between two values lies on the straight line between them."""
    assert [compute_quantile([4, 1, 3, 2], share) for share in (0, 0.5, 0.9, 1)] == [
        1,
        2.5,
        pytest.approx(3.7),
        4,
    ]
    assert math.isnan(compute_quantile([], 0.5))
    assert math.isnan(compute_mean([]))


def test_pairs_stay_together() -> None:
    """Cases of very different size, and B always one dearer: only the pairing shows it."""
    pairs = [(CaseRun(usd=size), CaseRun(usd=size + 1)) for size in range(0, 200, 10)]
    row = next(item for item in compare_runs("AB", pairs).rows if item.name == "dollars a run")
    assert (row.difference.low, row.difference.high) == pytest.approx((1, 1))
    assert row.verdict == "A is better"


@pytest.mark.slow
def test_interval_covers_true_mean() -> None:
    """The 95 % interval holds the true mean in about 95 of a hundred samples."""
    held = 0
    for seed in range(60):
        rng = random.Random(seed)
        pairs = [
            (CaseRun(score=rng.gauss(0, 1)), CaseRun(score=rng.gauss(0.5, 1))) for _ in range(40)
        ]
        difference = compare_runs("AB", pairs, seed).rows[0].difference
        held += difference.low <= 0.5 <= difference.high
    assert 52 <= held <= 60


def test_no_common_answer_has_no_quality() -> None:
    """Without a case that both answered there is no row for quality."""
    comparison = compare_runs("AB", [(CaseRun(error="no"), CaseRun(score=1.0))] * 12)
    assert comparison.answered == 0
    assert comparison.rows[0].name == "dollars a run"
    assert not next(row for row in comparison.rows if row.name == "seconds, P50").first.is_known

"""Savings of routing: the accounts agree, results repeat, and the claimed effects are there."""

from __future__ import annotations

import pytest

from tests.benchmarks.routing_savings import (
    JUDGES,
    STRATEGIES,
    Line,
    choose_threshold,
    format_table,
    make_items,
    measure,
)


@pytest.fixture(scope="module")
def lines() -> dict[tuple[str, float, str], Line]:
    return {
        (line.shape, line.ratio, line.strategy): line for line in measure(150, 3, ratios=(3, 50))
    }


def test_strategies_are_measured(lines: dict[tuple[str, float, str], Line]) -> None:
    """All strategies are measured; `measure` raises if the account and the ledgers differ."""
    assert {strategy for _, _, strategy in lines} == set(STRATEGIES)
    assert len(lines) == 2 * 2 * len(STRATEGIES)


def test_baselines_are_right(lines: dict[tuple[str, float, str], Line]) -> None:
    for shape in ("long answers", "short answers"):
        assert lines[shape, 3, "always frontier"].saving[0] == 0
        assert lines[shape, 3, "always cheap"].saving[0] == pytest.approx(2 / 3, abs=0.02)
        oracle = lines[shape, 50, "oracle"]
        assert all(
            oracle.quality[0] >= lines[shape, 50, strategy].quality[0] for strategy in STRATEGIES
        )


def test_good_judge_pays_at_large_ratio(
    lines: dict[tuple[str, float, str], Line],
) -> None:
    """Good judges pay at a large ratio; at a small ratio, routing costs more on short work."""
    assert lines["long answers", 50, "cascade, good judge"].edge[1] > 0
    assert lines["short answers", 3, "router"].saving[0] < 0
    assert lines["short answers", 3, "cascade, weak judge"].edge[2] < 0
    assert (
        lines["short answers", 3, "cascade, good judge"].saving[0]
        < lines["long answers", 3, "cascade, good judge"].saving[0]
    )


def test_weak_judge_loses_quality(lines: dict[tuple[str, float, str], Line]) -> None:
    """Weak judges lose quality against good judges."""
    good, weak = (lines["long answers", 50, f"cascade, {judge} judge"] for judge in JUDGES)
    assert weak.quality[0] < good.quality[0]


def test_threshold_keeps_promised_quality() -> None:
    """Keep the promised quality on the questions that the threshold was chosen by."""
    tuning = make_items(800, 5)
    limit = choose_threshold(tuning)
    kept = sum(item.right["frontier" if item.looks > limit else "cheap"] for item in tuning)
    assert kept >= 0.95 * sum(item.right["frontier"] for item in tuning)
    assert 0 < limit < 1.2


def test_seed_determines_table() -> None:
    first, second = (format_table(measure(25, 9, ratios=(5,))) for _ in range(2))
    assert first == second
    assert first != format_table(measure(25, 10, ratios=(5,)))

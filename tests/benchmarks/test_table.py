"""Tables of results: ratios within a round, and figures against the targets."""

from __future__ import annotations

from typing import Any

from tests.benchmarks.systems import HAND, OURS, PEERS
from tests.benchmarks.table import Results, compare_with_targets, format_results
from tests.benchmarks.workloads import select_workloads

(CHAIN,) = select_workloads("W1")


def row(round: int, system: str, value: float, cpu: float, size: int = 1000) -> dict[str, Any]:
    return {
        "round": round,
        "workload": "W1",
        "system": system,
        "size": size,
        "value": value,
        "cpu": cpu,
    }


def results(*rows: dict[str, Any]) -> Results:
    return Results(
        {"python": "3.11.7", "platform": "Linux", "processors": "2", "burr": "0.43.0"}, list(rows)
    )


def test_ratio_is_taken_within_round() -> None:
    """Ratios are taken within a round: a round that is slow for all does not change them."""
    measured = results(
        row(0, "asyncio", 1, 1),
        row(0, "graphorch", 4, 4),
        row(1, "asyncio", 10, 10),
        row(1, "graphorch", 40, 40),
        row(2, "graphorch", 9, 9),
    )
    assert measured.ratio(CHAIN, 1000, OURS, HAND, "cpu") == 4
    assert measured.median(CHAIN, 1000, OURS, "value") == 9


def test_best_peer_is_compared() -> None:
    measured = results(
        row(0, "graphorch", 2, 2), row(0, "langgraph", 400, 400), row(0, "burr", 60, 60)
    )
    assert measured.best_peer(CHAIN, 1000, "cpu") == (PEERS[-1], 30)


def test_aim_is_reached_or_missed() -> None:
    text = compare_with_targets(
        results(row(0, "asyncio", 1, 1), row(0, "graphorch", 20, 16), row(0, "burr", 500, 480))
    )
    assert "| W1 | chain of 1,000 nodes: × by hand | ≤ 8 | 16.0 | 20.0 | missed 2.00 × |" in text
    assert "| W1 | times faster than Burr | ≥ 25 | 30.0 | 25.0 | reached |" in text


def test_full_table_explains_missing_figures() -> None:
    """Tables show both times, and the reason for a missing figure."""
    none = {"round": 0, "workload": "W1", "system": "burr", "size": 1000, "cannot": "no chains"}
    text = format_results(
        results(
            row(0, "asyncio", 1, 1), row(0, "graphorch", 20, 16), row(1, "graphorch", 30, 16), none
        )
    )
    assert "| graphorch | n/a | n/a | 25.0 [20.0–30.0] ×20.0 · 16.0 ×16.0 |" in text
    assert "- Burr: no chains" in text

"""The figures of every step of some runs, for a heat map."""

from __future__ import annotations

from graphorch.render.heat_map import Heat
from graphorch.trace.analysis import statistics
from graphorch.trace.analysis.selection import Selection
from graphorch.trace.spans.index import SpanIndex


def measure_steps(index: SpanIndex, selection: Selection) -> dict[str, Heat]:
    """Return the figures of every step in a selection."""
    calls = {row.key[0]: row for row in statistics.calls(index, ["step"], selection)}
    return {
        row.key[0]: Heat(
            row.visits - row.skipped - row.cancelled,
            cost.usd if (cost := calls.get(row.key[0])) is not None else 0.0,
            row.latency.p50,
            row.latency.p95,
            row.error_rate,
            cost.unpriced if cost is not None else 0,
        )
        for row in statistics.steps(index, ["step"], selection)
    }

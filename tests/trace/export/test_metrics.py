"""Metrics: histograms of durations, tokens and dollars over all spans."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from typing import Any

from graphorch.trace.export.metrics import Metrics
from graphorch.trace.spans.model import Span
from tests.trace.collector import attributes
from tests.trace.sample_spans import make_call, make_trace

DURATION = "gen_ai.client.operation.duration"


def encode(*spans: Span, now: float = 2000.0) -> dict[str, list[dict[str, Any]]]:
    """Return the points of each metric over some spans of one run."""
    metrics = Metrics(1000.0)
    for span in spans:
        metrics.add(span, make_trace())
    points: dict[str, list[dict[str, Any]]] = {}
    for metric in metrics.encode(now):
        points.setdefault(metric["name"], []).extend(metric["histogram"]["dataPoints"])
    return points


def test_histogram_agrees_with_values() -> None:
    """Count, sum, ends and buckets are those of the values; a bound is in its bucket."""
    rng = random.Random(1)
    values = [0.01, 0.02, 81.92, 500.0, *(rng.expovariate(1.0) for _ in range(200))]
    calls = [make_call(number, seconds=value) for number, value in enumerate(values)]
    (point,) = encode(*calls)[DURATION]
    edges = [float("-inf"), *point["explicitBounds"], float("inf")]
    expected = [
        sum(low < value <= high for value in values) for low, high in itertools.pairwise(edges)
    ]
    assert [int(count) for count in point["bucketCounts"]] == expected
    assert (point["count"], point["min"]) == (str(len(values)), min(values))
    assert point["max"] == 500.0
    assert abs(point["sum"] - sum(values)) < 1e-9
    assert (point["startTimeUnixNano"], point["timeUnixNano"]) == (
        "1000000000000",
        "2000000000000",
    )


def test_call_has_tokens_cost_and_first_piece() -> None:
    """A call counts only what is known of it: no tokens, no money, no first piece."""
    assert set(encode(make_call(1, usd=0.0))) == {DURATION}
    points = encode(make_call(1, usd=0.5, input_tokens=7, output_tokens=3, first_token=0.25))
    assert points["graphorch.cost"][0]["sum"] == 0.5
    assert points["gen_ai.client.operation.time_to_first_chunk"][0]["sum"] == 0.25
    tokens = {
        attributes(point)["gen_ai.token.type"]: point["sum"]
        for point in points["gen_ai.client.token.usage"]
    }
    assert tokens == {"input": 7, "output": 3}


def test_kinds_of_spans_have_metrics() -> None:
    """Runs, tools, agents and other nodes have a metric each, and attempts have none."""
    span = replace(make_call(1, error="timeout"), usd=0.0)
    kinds: list[dict[str, Any]] = [
        {"kind": "run"},
        {"kind": "tool"},
        {"kind": "node", "role": "agent"},
        {"kind": "node", "role": "map"},
        {"kind": "attempt"},
    ]
    points = encode(*(replace(span, **changes) for changes in kinds))
    assert {name: attributes(series[0]) for name, series in points.items()} == {
        "gen_ai.workflow.duration": {"gen_ai.workflow.name": "flow", "error.type": "timeout"},
        "gen_ai.execute_tool.duration": {"gen_ai.tool.name": "a", "error.type": "timeout"},
        "gen_ai.invoke_agent.duration": {
            "gen_ai.agent.name": "a",
            "gen_ai.workflow.name": "flow",
            "error.type": "timeout",
        },
        "graphorch.node.duration": {
            "graphorch.node.path": "a",
            "gen_ai.workflow.name": "flow",
            "error.type": "timeout",
        },
    }


def test_series_are_bounded() -> None:
    """After 2,000 series of a metric, all later ones are counted together."""
    spans = [make_call(1, node=f"n{number}", usd=0.0) for number in range(2_050)]
    points = encode(*spans, spans[0])[DURATION]
    assert len(points) == 2_001
    assert attributes(points[-1]) == {"otel.metric.overflow": "true"}
    assert (points[-1]["count"], points[0]["count"]) == ("50", "2")

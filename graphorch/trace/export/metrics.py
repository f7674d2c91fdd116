"""Histograms over all recorded spans, cumulative since the exporter began, for metrics backends."""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from graphorch.trace.export import conventions as c
from graphorch.trace.export.otlp import encode_attributes, find_provider
from graphorch.trace.spans.model import Span, Trace

# Series of one metric. All later ones are counted together, so that no tag can fill the memory.
_MOST_SERIES = 2_000

Key: TypeAlias = tuple[tuple[str, str], ...]
_CUMULATIVE = 2  # aggregation temporality of OTLP
_OVERFLOW: Key = (("otel.metric.overflow", "true"),)


@dataclass(slots=True)
class _Histogram:
    """Counts of values by bucket; bucket `i` ends at `bounds[i]`, the last one is open."""

    bounds: tuple[float, ...]
    counts: list[int] = field(default_factory=list[int])
    count: int = 0
    total: float = 0.0
    least: float = 0.0
    most: float = 0.0

    def add(self, value: float) -> None:
        if not self.counts:
            self.counts = [0] * (len(self.bounds) + 1)
        self.counts[bisect.bisect_left(self.bounds, value)] += 1
        self.least = value if not self.count else min(self.least, value)
        self.most = value if not self.count else max(self.most, value)
        self.count += 1
        self.total += value


class Metrics:
    """Metrics of all finished spans."""

    def __init__(self, began: float) -> None:
        self._began = began
        self._series: dict[str, dict[Key, _Histogram]] = {}

    def add(self, span: Span, trace: Trace) -> None:
        """Count one finished span."""
        seconds = span.seconds or 0.0
        match span.kind:
            case "call":
                self._add_call(span, seconds)
            case "run":
                labels = {c.WORKFLOW: trace.flow, c.ERROR_TYPE: span.error}
                self._record("gen_ai.workflow.duration", seconds, labels)
            case "tool":
                labels = {c.TOOL_NAME: span.node, c.ERROR_TYPE: span.error}
                self._record("gen_ai.execute_tool.duration", seconds, labels)
            case "node":
                is_agent = span.role == "agent"
                labels = {c.AGENT_NAME: span.node} if is_agent else {c.NODE_PATH: span.step}
                labels |= {c.WORKFLOW: trace.flow, c.ERROR_TYPE: span.error}
                name = "gen_ai.invoke_agent.duration" if is_agent else "graphorch.node.duration"
                self._record(name, seconds, labels)
            case _:
                pass

    def _add_call(self, span: Span, seconds: float) -> None:
        labels = {
            c.OPERATION: c.CHAT,
            c.PROVIDER: find_provider(span),
            c.REQUEST_MODEL: span.model,
            c.AGENT_NAME: span.node,
        }
        self._record(
            "gen_ai.client.operation.duration", seconds, {**labels, c.ERROR_TYPE: span.error}
        )
        if span.first_token is not None:
            self._record("gen_ai.client.operation.time_to_first_chunk", span.first_token, labels)
        for kind, tokens in (("input", span.input_tokens), ("output", span.output_tokens)):
            if tokens:
                self._record("gen_ai.client.token.usage", tokens, {**labels, c.TOKEN_TYPE: kind})
        if span.usd:
            self._record("graphorch.cost", span.usd, labels)

    def _record(self, name: str, value: float, labels: dict[str, str]) -> None:
        series = self._series.setdefault(name, {})
        key = tuple((label, text) for label, text in labels.items() if text)
        if key not in series and len(series) >= _MOST_SERIES:
            key = _OVERFLOW
        histogram = series.get(key)
        if histogram is None:
            histogram = series[key] = _Histogram(c.METRICS[name].bounds)
        histogram.add(value)

    def encode(self, now: float) -> list[dict[str, Any]]:
        """Return all points in the form of OTLP, each as a metric; `now` is in seconds since 1970.

        So a request that is too large can be halved.
        """
        metrics: list[dict[str, Any]] = []
        for name, series in self._series.items():
            unit, description, _ = c.METRICS[name]
            for key, histogram in series.items():
                points = [self._encode_point(key, histogram, now)]
                described = {"aggregationTemporality": _CUMULATIVE, "dataPoints": points}
                metrics.append(
                    {
                        "name": name,
                        "unit": unit,
                        "description": description,
                        "histogram": described,
                    }
                )
        return metrics

    def _encode_point(self, key: Key, histogram: _Histogram, now: float) -> dict[str, Any]:
        return {
            "attributes": encode_attributes(dict(key)),
            "startTimeUnixNano": str(round(self._began * 1e9)),
            "timeUnixNano": str(round(now * 1e9)),
            "count": str(histogram.count),
            "sum": histogram.total,
            "bucketCounts": [str(count) for count in histogram.counts],
            "explicitBounds": list(histogram.bounds),
            "min": histogram.least,
            "max": histogram.most,
        }

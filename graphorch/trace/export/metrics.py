"""Histograms over everything that was recorded, cumulative since the exporter began: what a metrics backend wants to be sent."""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field
from typing import Any

from graphorch.trace.export import conventions as c
from graphorch.trace.export.otlp import encode_attributes, provider
from graphorch.trace.spans.model import Span, Trace

# series of one metric; what comes after is counted in a last one, so that no tag can fill the memory
_MOST = 2_000

Key = tuple[tuple[str, str], ...]
_OVERFLOW: Key = (("otel.metric.overflow", "true"),)


@dataclass(slots=True)
class _Histogram:
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
    """Takes finished spans, and gives the metrics of all of them."""

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
                self._put(
                    "gen_ai.workflow.duration",
                    seconds,
                    {c.WORKFLOW: trace.flow, c.ERROR_TYPE: span.error},
                )
            case "tool":
                self._put(
                    "gen_ai.execute_tool.duration",
                    seconds,
                    {c.TOOL_NAME: span.node, c.ERROR_TYPE: span.error},
                )
            case "node" if span.role == "agent":
                self._put(
                    "gen_ai.invoke_agent.duration",
                    seconds,
                    {c.AGENT_NAME: span.node, c.WORKFLOW: trace.flow, c.ERROR_TYPE: span.error},
                )
            case "node":
                self._put(
                    "graphorch.node.duration",
                    seconds,
                    {c.NODE_PATH: span.step, c.WORKFLOW: trace.flow, c.ERROR_TYPE: span.error},
                )
            case _:
                pass

    def _add_call(self, span: Span, seconds: float) -> None:
        known = {
            c.OPERATION: c.CHAT,
            c.PROVIDER: provider(span),
            c.REQUEST_MODEL: span.model,
            c.AGENT_NAME: span.node,
        }
        self._put("gen_ai.client.operation.duration", seconds, {**known, c.ERROR_TYPE: span.error})
        if span.first_token is not None:
            self._put("gen_ai.client.operation.time_to_first_chunk", span.first_token, known)
        for kind, tokens in (("input", span.input_tokens), ("output", span.output_tokens)):
            if tokens:
                self._put("gen_ai.client.token.usage", tokens, {**known, c.TOKEN_TYPE: kind})
        if span.usd:
            self._put("graphorch.cost", span.usd, known)

    def _put(self, name: str, value: float, known: dict[str, str]) -> None:
        series = self._series.setdefault(name, {})
        key = tuple((entry, text) for entry, text in known.items() if text)
        if key not in series and len(series) >= _MOST:
            key = _OVERFLOW
        found = series.get(key)
        if found is None:
            found = series[key] = _Histogram(c.METRICS[name][2])
        found.add(value)

    def encoded(self, now: float) -> list[dict[str, Any]]:
        """All metrics as OTLP has them."""
        metrics: list[dict[str, Any]] = []
        for name, series in self._series.items():
            unit, description, _ = c.METRICS[name]
            points = [self._point(key, found, now) for key, found in series.items()]
            told = {"aggregationTemporality": 2, "dataPoints": points}
            metrics.append(
                {"name": name, "unit": unit, "description": description, "histogram": told}
            )
        return metrics

    def _point(self, key: Key, found: _Histogram, now: float) -> dict[str, Any]:
        return {
            "attributes": encode_attributes(dict(key)), "startTimeUnixNano": str(round(self._began * 1e9)), "timeUnixNano": str(round(now * 1e9)),
            "count": str(found.count), "sum": found.total, "bucketCounts": [str(count) for count in found.counts], "explicitBounds": list(found.bounds),
            "min": found.least, "max": found.most,
        }  # fmt: skip

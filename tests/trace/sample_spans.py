"""Synthetic traces of any size, for tests and measurements of statistics."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from graphorch.trace.spans.index import SpanIndex
from graphorch.trace.spans.model import Span, Trace
from graphorch.trace_context import derive_span_id

MODELS = ("openai/gpt-5", "google/gemini", "offline/extractive")


def make_traces(spans: int, *, seed: int = 1) -> Iterator[Trace]:
    """Yield traces of 100 spans, about `spans` in all.

    A run has 33 nodes, each with an attempt and a model call.
    """
    rng = random.Random(seed)
    for number in range(spans // 100):
        run_id = f"run-{number:06d}"
        began = 1_700_000_000.0 + number * 60
        trace = Trace(
            run_id,
            f"flow{number % 3}",
            "succeeded",
            "succeeded",
            {"team": f"t{number % 5}"},
            None,
            began,
            30.0,
            None,
            100,
        )
        trace.spans.append(
            Span(derive_span_id(run_id), "", "run", "", "", trace.flow, 0, 1, began, 30.0, "ok")
        )
        for step in range(33):
            trace.spans += _node(run_id, step, began + step, rng)
        yield trace


def _node(run_id: str, step: int, began: float, rng: random.Random) -> list[Span]:
    name, seconds = f"node{step % 8}", rng.expovariate(1.0)
    where = (name, name, name, 1, 1, began, seconds)
    node_id, attempt_id = derive_span_id(run_id, step), derive_span_id(run_id, step, "a")
    node = Span(node_id, derive_span_id(run_id), "node", *where, "ok")
    attempt = Span(attempt_id, node_id, "attempt", *where, "ok")
    failed = rng.random() < 0.02
    call = Span(
        derive_span_id(run_id, step, "c"),
        attempt_id,
        "call",
        *where,
        "failed" if failed else "ok",
        "timeout" if failed else "",
        model=rng.choice(MODELS),
        input_tokens=500,
        output_tokens=200,
        usd=0.001,
        usd_source="table",
        first_token=seconds / 4,
        sent=1,
    )
    return [node, attempt, call]


def make_trace(
    *spans: Span, run_id: str = "r", tags: dict[str, str] | None = None, budget: float | None = None
) -> Trace:
    """Return the trace of a run that began at 1000 s and took 5 s."""
    status = ("succeeded", "succeeded")
    return Trace(run_id, "flow", *status, tags or {}, None, 1000.0, 5.0, budget, 9, list(spans))


def make_call(number: int, **changes: object) -> Span:
    """Return the span of a model call of one second that began `number` seconds after 1000 s."""
    where = ("a", "a", "a", 1, 1, 1000.0 + number, 1.0)
    paid: dict[str, Any] = {"usd": 0.01, "usd_source": "table"}
    span = Span(derive_span_id(number), "", "call", *where, "ok", model="m", sent=1, **paid)
    return replace(span, **changes)


def make_index(*traces: Trace) -> SpanIndex:
    """Return an index in memory over some traces."""
    index = SpanIndex.open()
    index.add(traces)
    return index

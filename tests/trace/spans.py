"""Synthetic traces of any size, for tests and measurements of statistics."""

from __future__ import annotations

import random
from collections.abc import Iterator

from graphorch.trace.spans.model import Span, Trace, derive_span_id

MODELS = ("openai/gpt-5", "google/gemini", "offline/extractive")


def made_traces(spans: int, *, seed: int = 1) -> Iterator[Trace]:
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

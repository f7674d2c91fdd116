"""Statistics against figures that are computed plainly in Python."""

from __future__ import annotations

import asyncio
import math
import random
import time

import pytest

from graphorch.trace.analysis import statistics
from graphorch.trace.spans.index import SpanIndex
from graphorch.trace.spans.model import Span, Trace
from graphorch.trace_context import derive_span_id
from tests.trace.acting import act
from tests.trace.running import ran
from tests.trace.sample_spans import make_call, make_index, make_trace, make_traces


def nearest_rank(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[math.ceil(share * len(ordered)) - 1]


@pytest.mark.parametrize("count", [1, 2, 3, 10, 99, 100, 101, 1000])
def test_quantiles_are_of_nearest_rank(count: int) -> None:
    """Quantiles are those of the nearest rank."""
    rng = random.Random(count)
    values = [rng.expovariate(1.0) for _ in range(count)]
    with make_index(
        make_trace(*(make_call(number, seconds=value) for number, value in enumerate(values)))
    ) as index:
        (row,) = statistics.calls(index)
    quantiles = (row.latency.p50, row.latency.p90, row.latency.p95, row.latency.p99)
    assert quantiles == tuple(nearest_rank(values, share) for share in (0.5, 0.9, 0.95, 0.99))
    assert row.latency.count == count


def test_sums_agree_with_spans() -> None:
    """Sums agree with those over the spans."""
    traces = list(make_traces(20_000))
    calls = [span for trace in traces for span in trace.spans if span.kind == "call"]
    with make_index(*traces) as index:
        table = statistics.calls(index, ["agent", "model"])
        assert sum(row.calls for row in table) == len(calls)
        assert math.isclose(sum(row.usd for row in table), sum(span.usd for span in calls))
        for row in table:
            mine = [span for span in calls if (span.node, span.model) == row.key]
            assert (row.calls, row.failed) == (
                len(mine),
                sum(span.status == "failed" for span in mine),
            )
            assert row.latency.p90 == nearest_rank([span.seconds or 0.0 for span in mine], 0.9)
            assert row.first_token.p50 == nearest_rank(
                [span.first_token or 0.0 for span in mine], 0.5
            )


def test_copies_are_paid_once() -> None:
    origin = make_trace(make_call(1))
    fork = make_trace(make_call(1, is_copy=True), make_call(2), run_id="fork")
    with make_index(origin, fork) as index:
        (row,) = statistics.calls(index)
        assert (row.calls, row.usd) == (2, 0.02)


def test_other_tables_count() -> None:
    """Budgets, findings, loops and errors are counted."""
    finding = {"kind": "email", "where": "input", "action": "mask", "count": 2}

    def turn(*ids: str | int, loop: str) -> Span:
        span_id = derive_span_id(*ids)
        return Span(span_id, "", "node", "b", "b", "b", 1, 1, 1000.0, 1.0, "ok", loop=loop)

    spans = [
        make_call(1, findings=[finding], usd=0.3),
        make_call(2, status="failed", error="timeout", message="too late", usd=0.0),
        *(turn("n", number, loop="b → a") for number in range(3)),
        turn("x", loop="b → a, exhausted"),
    ]
    with make_index(make_trace(*spans, budget=0.6)) as index:
        assert [(row.kind, row.count, row.action) for row in statistics.findings(index)] == [
            ("email", 2, "mask")
        ]
        assert [(row.loop, row.rounds, row.exhausted) for row in statistics.loops(index)] == [
            ("b → a", 3, 1)
        ]
        assert [
            (row.what, row.error, row.count, row.example) for row in statistics.errors(index)
        ] == [("call", "timeout", 1, "too late")]
        assert [(row.budget, row.budget_used) for row in statistics.runs(index)] == [(0.6, 0.5)]


def test_records_are_flat() -> None:
    """Rows are flat for a data frame."""
    with make_index(make_trace(make_call(1))) as index:
        (row,) = statistics.calls(index, ["agent", "model"]).records()
    assert {
        "agent": "a",
        "model": "m",
        "usd": 0.01,
        "latency_p50": 1.0,
        "first_token_count": 0,
    }.items() <= row.items()


def test_real_run_is_counted() -> None:
    """A real run is counted by level, user and step."""

    async def main() -> None:
        store = await ran("one", tags={"user": "ann"})
        await ran("two", 12, store=store, tags={"user": "bob"})
        with SpanIndex.open(store) as index:
            await index.catch_up(store)
            assert {row.key: row.calls for row in statistics.calls(index, ["user"])} == {
                ("ann",): 2,
                ("bob",): 1,
            }
            levels = {row.key: row.visits for row in statistics.steps(index, ["level"])}
            assert levels == {("1",): 3, ("2",): 2, ("3",): 4}
            worst = statistics.errors(index, ["step"]).rows[0]
            assert (worst.key, worst.error, worst.example_run) == (
                ("fulfilment/stock/count",),
                "ValueError",
                "two",
            )

    asyncio.run(main())


def test_tools_are_counted() -> None:
    """Calls of tools have a table of their own, and are no steps."""

    async def main() -> None:
        store = await act()
        with SpanIndex.open(store) as index:
            await index.catch_up(store)
            rows = {row.key: row for row in statistics.tools(index)}
            counts = {
                key: (row.calls, row.failed, row.errors_read, row.refused, row.attempts)
                for key, row in rows.items()
            }
            assert counts == {
                ("write", "search"): (4, 0, 2, 0, 3),
                ("write", "note"): (1, 0, 0, 0, 1),
                ("write", "send"): (2, 0, 0, 1, 1),
            }
            steps = {row.key: row for row in statistics.steps(index)}
            assert {key: row.attempts for key, row in steps.items()} == {
                ("write",): 1,
                ("count",): 1,
            }
            errors = [(row.key, row.what, row.error, row.count) for row in statistics.errors(index)]
            assert errors == [(("write/search",), "tool", "told", 2)]

    asyncio.run(main())


def timed(spans: int) -> float:
    """The slowest of all queries over so many spans, in seconds."""
    slowest = 0.0
    with SpanIndex.open() as index:
        batch: list[Trace] = []
        for trace in make_traces(spans):
            batch.append(trace)
            if len(batch) == 50:
                index.add(batch)
                batch = []
        index.add(batch)
        for make, by in (
            (statistics.calls, ["agent", "model"]),
            (statistics.calls, ["team"]),
            (statistics.steps, ["step"]),
            (statistics.errors, ["model"]),
            (statistics.runs, ["flow"]),
            (statistics.runs, ["day"]),
            (statistics.loops, ["flow"]),
            (statistics.findings, ["agent"]),
            (statistics.spread, ["step"]),
        ):
            began = time.perf_counter()
            make(index, by)
            slowest = max(slowest, time.perf_counter() - began)
    return slowest


@pytest.mark.slow
def test_100000_spans_take_a_second() -> None:
    """A query over 100,000 spans takes less than a second."""
    assert timed(100_000) < 1.0


@pytest.mark.slow
def test_million_spans_take_ten_seconds() -> None:
    """A query over a million spans takes less than ten seconds."""
    assert timed(1_000_000) < 10.0

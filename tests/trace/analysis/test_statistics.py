"""Statistics against figures that are computed plainly in Python."""

from __future__ import annotations

import asyncio
import math
import random
import time
from dataclasses import replace

import pytest

from graphorch.errors import InputError
from graphorch.trace.analysis import statistics
from graphorch.trace.analysis.selection import Selection
from graphorch.trace.spans.index import SpanIndex
from graphorch.trace.spans.model import Span, Trace, derive_span_id
from tests.trace.running import ran
from tests.trace.spans import made_traces


def one_trace(
    *spans: Span, run_id: str = "r", tags: dict[str, str] | None = None, budget: float | None = None
) -> Trace:
    return Trace(
        run_id,
        "flow",
        "succeeded",
        "succeeded",
        tags or {},
        None,
        1000.0,
        5.0,
        budget,
        9,
        list(spans),
    )


def call(number: int, **changes: object) -> Span:
    span = Span(
        derive_span_id(number),
        "",
        "call",
        "a",
        "a",
        "a",
        1,
        1,
        1000.0 + number,
        1.0,
        "ok",
        model="m",
        usd=0.01,
        usd_source="table",
        sent=1,
    )
    return replace(span, **changes)


def index_of(*traces: Trace) -> SpanIndex:
    index = SpanIndex.open()
    index.add(traces)
    return index


def nearest_rank(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[math.ceil(share * len(ordered)) - 1]


@pytest.mark.parametrize("count", [1, 2, 3, 10, 99, 100, 101, 1000])
def test_quantiles_are_of_nearest_rank(count: int) -> None:
    """Quantiles are those of the nearest rank."""
    rng = random.Random(count)
    values = [rng.expovariate(1.0) for _ in range(count)]
    with index_of(
        one_trace(*(call(number, seconds=value) for number, value in enumerate(values)))
    ) as index:
        (row,) = statistics.calls(index)
    quantiles = (row.latency.p50, row.latency.p90, row.latency.p95, row.latency.p99)
    assert quantiles == tuple(nearest_rank(values, share) for share in (0.5, 0.9, 0.95, 0.99))
    assert row.latency.count == count


def test_sums_agree_with_spans() -> None:
    """Sums agree with those over the spans."""
    traces = list(made_traces(20_000))
    calls = [span for trace in traces for span in trace.spans if span.kind == "call"]
    with index_of(*traces) as index:
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
    with index_of(
        one_trace(call(1)), one_trace(call(1, is_copy=True), call(2), run_id="fork")
    ) as index:
        (row,) = statistics.calls(index)
        assert (row.calls, row.usd) == (2, 0.02)


def test_tags_group_and_filter() -> None:
    """Any tag groups and filters."""
    traces = [
        one_trace(call(1), run_id="a", tags={"team": "x", 'a"b.c': "1"}),
        one_trace(call(2), run_id="b", tags={"team": "y"}),
    ]
    with index_of(*traces) as index:
        assert {row.key: row.calls for row in statistics.calls(index, ["team"])} == {
            ("x",): 1,
            ("y",): 1,
        }
        assert [
            row.calls for row in statistics.calls(index, ["agent"], Selection(where={"team": "x"}))
        ] == [1]
        assert {row.key for row in statistics.calls(index, ['a"b.c'])} == {("1",), ("",)}
        assert {row.key for row in statistics.runs(index, ["tag:team"])} == {("x",), ("y",)}


@pytest.mark.parametrize(
    "evil", ["model; DROP TABLE spans", "x' OR 1=1 --", '"', "$.x", "s.model", "\0", "ü" * 300]
)
def test_words_never_become_sql(evil: str) -> None:
    """A word of any kind is a tag and never SQL."""
    with index_of(one_trace(call(1))) as index:
        assert [row.key for row in statistics.calls(index, [evil])] == [("",)]
        assert not list(statistics.calls(index, ["agent"], Selection(where={"model": evil})))
        assert not list(statistics.calls(index, ["agent"], Selection(where={evil: "x"})))
        assert len(index.query("SELECT * FROM spans")) == 1


def test_runs_refuse_words_of_spans() -> None:
    """Runs cannot be grouped by words of their spans."""
    with index_of(one_trace(call(1))) as index:
        with pytest.raises(InputError, match="Runs have no 'model'"):
            statistics.runs(index, ["model"])
        with pytest.raises(InputError, match="names nothing to group by"):
            statistics.calls(index, ["tag:"])


def test_window_before() -> None:
    with index_of(one_trace(call(1), call(2), call(11))) as index:
        now = Selection(since=1010.0, until=1020.0)
        assert [row.calls for row in statistics.calls(index, ["agent"], now)] == [1]
        assert [row.calls for row in statistics.calls(index, ["agent"], now.before())] == [2]
    with pytest.raises(InputError, match="a beginning and an end"):
        Selection(since=3.0).before()


def test_other_tables_count() -> None:
    """Budgets, findings, loops and errors are counted."""
    finding = {"kind": "email", "where": "input", "action": "mask", "count": 2}

    def turn(*ids: str | int, loop: str) -> Span:
        span_id = derive_span_id(*ids)
        return Span(span_id, "", "node", "b", "b", "b", 1, 1, 1000.0, 1.0, "ok", loop=loop)

    spans = [
        call(1, findings=[finding], usd=0.3),
        call(2, status="failed", error="timeout", message="too late", usd=0.0),
        *(turn("n", number, loop="b → a") for number in range(3)),
        turn("x", loop="b → a, exhausted"),
    ]
    with index_of(one_trace(*spans, budget=0.6)) as index:
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
    with index_of(one_trace(call(1))) as index:
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


def timed(spans: int) -> float:
    """The slowest of all queries over so many spans, in seconds."""
    slowest = 0.0
    with SpanIndex.open() as index:
        batch: list[Trace] = []
        for trace in made_traces(spans):
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

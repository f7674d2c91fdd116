"""What becomes of spans, log records and points, whatever a collector answers: exact counts."""

from __future__ import annotations

import asyncio
import email.utils
import json
import logging
import time
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from graphorch.journal.memory import MemoryStore
from graphorch.trace.export.exporter import Otlp
from graphorch.trace.export.recorder import Recorder
from graphorch.trace.export.transport import parse_retry_after
from graphorch.trace.spans.model import Span
from tests.trace.collector import Collector, collecting
from tests.trace.running import ran
from tests.trace.sample_spans import make_call, make_trace

TRACES, LOGS, METRICS = "/v1/traces", "/v1/logs", "/v1/metrics"


def make_spans(number: int) -> list[Span]:
    """Return failed calls: each makes a span, a log record, and something to measure."""
    calls = [make_call(item, seconds=0.5) for item in range(number)]
    for call in calls:
        call.status, call.error, call.message = "failed", "rate_limit", "too much"
    return calls


def open_sink(collector: Collector, **options: Any) -> Otlp:
    return Otlp(collector.url, environment={}, **{"interval": 0.0, **options})


def deliver(sink: Otlp, number: int, *, is_last: bool = True) -> None:
    sink.take(make_trace(), make_spans(number), {})
    sink.flush(is_last=is_last)


def counts(sink: Otlp) -> dict[str, tuple[int, int, int]]:
    """Return what was taken, was dropped, and waits, by signal."""
    return {
        name: (count.taken, count.dropped, count.waiting)
        for name, count in (("traces", sink.counts.traces), ("logs", sink.counts.logs))
    }


def test_healthy_collector_gets_burst_whole() -> None:
    """A burst that is ten times what may wait reaches a collector that takes it."""
    with collecting() as collector:
        sink = open_sink(collector, signals=["traces"], most_waiting=100)
        sink.take(make_trace(), make_spans(1_000), {})
        sink.flush(is_last=True)
        assert counts(sink)["traces"] == (1_000, 0, 0)
        assert len(collector.spans()) == 1_000


@pytest.mark.slow
def test_burst_of_runs_arrives_whole() -> None:
    """Of 100 runs 1,500 spans arrive, then a burst of 58,500 more; none is lost on the way."""
    with collecting(decodes=False) as collector:
        sink = open_sink(collector, signals=["traces"], timeout=60.0)
        recorder = Recorder(MemoryStore(), sink)

        async def main() -> None:
            await asyncio.gather(*(ran(f"r{number}", store=recorder) for number in range(100)))
            await asyncio.to_thread(recorder.stop, 100.0)

        asyncio.run(main())
        assert counts(sink)["traces"] == (1_500, 0, 0)
        for _ in range(117):
            sink.take(make_trace(), make_spans(1) * 500, {})
        sink.flush(is_last=True)
        assert (recorder.lost.batches, recorder.lost.errors) == (0, 0)
        assert counts(sink)["traces"] == (60_000, 0, 0)
        assert collector.counted == 60_000


@pytest.mark.parametrize("status", [404, 405, 415, 501])
def test_receiver_of_traces_alone_gets_all_spans(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Signals that a receiver does not take are switched off and named once, the others go on."""
    with collecting() as collector:
        collector.statuses = {LOGS: status, METRICS: status}
        sink = open_sink(collector)
        with caplog.at_level(logging.WARNING):
            for _ in range(5):
                deliver(sink, 7, is_last=False)
            sink.flush(is_last=True)
        assert len(collector.spans()) == 35
        assert (len(collector.times[LOGS]), len(collector.times[METRICS])) == (1, 1)
    assert counts(sink) == {"traces": (35, 0, 0), "logs": (0, 35, 0)}
    assert (sink.counts.logs.is_off, sink.counts.metrics.is_off) == (True, True)
    messages = [record.getMessage() for record in caplog.records]
    assert messages == [
        f"the collector at {collector.url} does not take {signal} (status {status}): "
        "they are not sent"
        for signal in ("logs", "metrics")
    ]


@pytest.mark.parametrize("status", [301, 400, 401, 403, 500])
def test_refused_batch_counts_as_dropped(status: int, caplog: pytest.LogCaptureFixture) -> None:
    """A refused batch is lost, counted and said, and the next one goes on."""
    with collecting() as collector:
        collector.statuses = {TRACES: status}
        sink = open_sink(collector)
        with caplog.at_level(logging.WARNING):
            deliver(sink, 7, is_last=False)
            deliver(sink, 4, is_last=False)
        collector.statuses = {}
        deliver(sink, 3)
        assert len(collector.spans()) == 3
    assert counts(sink) == {"traces": (3, 11, 0), "logs": (14, 0, 0)}
    assert [record.getMessage() for record in caplog.records] == [
        f"the collector at {collector.url} did not get 7 spans: status {status}; "
        "later ones are only counted"
    ]


@pytest.mark.parametrize("most", [1, 7, 100])
def test_too_large_batch_is_halved(most: int) -> None:
    """A batch that is too large is sent in parts, and each span arrives once."""

    def judge(path: str, body: Any) -> int:
        return 413 if path == TRACES and len(list_spans(body)) > most else 200

    with collecting() as collector:
        collector.judge = judge
        sink = open_sink(collector)
        deliver(sink, 60)
        ids = [span["spanId"] for span in collector.spans()]
    assert (len(ids), len(set(ids))) == (60, 60)
    assert counts(sink)["traces"] == (60, 0, 0)


def test_too_large_span_alone_is_dropped() -> None:
    """A span that is too large by itself is lost; the others of its batch arrive."""

    def judge(path: str, body: Any) -> int:
        names = [span["name"] for span in list_spans(body)] if path == TRACES else []
        return 413 if "chat huge" in names else 200

    with collecting() as collector:
        collector.judge = judge
        sink = open_sink(collector)
        calls = make_spans(50)
        calls[17].model = "huge"
        sink.take(make_trace(), calls, {})
        sink.flush(is_last=True)
        assert len(collector.spans()) == 49
    assert counts(sink)["traces"] == (49, 1, 0)
    assert sink.counts.traces.last_error == "status 413"


def list_spans(body: Any) -> list[dict[str, Any]]:
    return body["resourceSpans"][0]["scopeSpans"][0]["spans"]


def test_span_that_cannot_be_written_is_dropped() -> None:
    """A value that the protocol has no room for costs one span, and nothing waits behind it."""
    with collecting() as collector:
        sink = open_sink(collector, signals=["traces"])
        calls = make_spans(20)
        calls[5].input_tokens = 2**70
        sink.take(make_trace(), calls, {})
        sink.flush(is_last=True)
        assert len(collector.spans()) == 19
    assert counts(sink)["traces"] == (19, 1, 0)


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504])
def test_busy_collector_gets_all_later(status: int) -> None:
    """What a collector cannot take now waits, and no other signal waits with it."""
    with collecting() as collector:
        collector.statuses = {TRACES: status}
        sink = open_sink(collector)
        deliver(sink, 7, is_last=False)
        assert counts(sink) == {"traces": (0, 0, 7), "logs": (7, 0, 0)}
        collector.statuses = {}
        deliver(sink, 1)
        assert len(collector.spans()) == 8
    assert counts(sink) == {"traces": (8, 0, 0), "logs": (8, 0, 0)}
    assert sink.counts.traces.failures == 0


def test_collector_asks_for_pause() -> None:
    """Nothing is sent before the pause is over that a collector asks for."""
    with collecting() as collector:
        collector.statuses = {TRACES: 429}
        collector.answer_headers = {"retry-after": "1"}
        sink = open_sink(collector, signals=["traces"])
        deliver(sink, 7, is_last=False)
        collector.statuses = {}
        while not collector.spans():
            sink.flush(is_last=False)
            time.sleep(0.02)
        first, second = collector.times[TRACES]
    assert 1.0 <= second - first < 5.0
    assert counts(sink)["traces"] == (7, 0, 0)


def test_retry_after_is_number_or_date() -> None:
    """A pause is a number of seconds or a date; anything else is none."""
    now = 1_700_000_000.0
    date = email.utils.formatdate(now + 90, usegmt=True)
    assert parse_retry_after(date, now) == pytest.approx(90.0)
    assert parse_retry_after(email.utils.formatdate(now - 90, usegmt=True), now) == 0.0
    assert parse_retry_after(" 120 ", now) == 120.0
    assert [parse_retry_after(value, now) for value in ("", "soon", "-5", "1.5")] == [None] * 4


@pytest.mark.parametrize("kind", ["application/json", "application/x-protobuf"])
def test_rejected_spans_count_as_dropped(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """Of a batch that is taken in part, the rest is counted as lost, with the reason."""
    answer: dict[str, Any] = {"partialSuccess": {"rejectedSpans": "3", "errorMessage": "too old"}}
    message = ExportTraceServiceResponse()
    message.partial_success.rejected_spans = 3
    message.partial_success.error_message = "too old"
    with collecting() as collector:
        collector.kind = kind
        is_json = kind == "application/json"
        body = json.dumps(answer).encode() if is_json else message.SerializeToString()
        collector.answers = {TRACES: body}
        sink = open_sink(collector)
        with caplog.at_level(logging.WARNING):
            deliver(sink, 7)
    assert counts(sink) == {"traces": (4, 3, 0), "logs": (7, 0, 0)}
    assert [record.getMessage() for record in caplog.records] == [
        f"the collector at {collector.url} did not get 3 spans: too old; "
        "later ones are only counted"
    ]


def test_warning_of_collector_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A partial success that rejects nothing is a warning."""
    with collecting() as collector:
        warning = {"partialSuccess": {"errorMessage": "old schema"}}
        collector.answers = {TRACES: json.dumps(warning).encode()}
        sink = open_sink(collector)
        with caplog.at_level(logging.WARNING):
            deliver(sink, 7)
    assert counts(sink)["traces"] == (7, 0, 0)
    assert "warns about traces: old schema" in caplog.text


@pytest.mark.parametrize("answer", [b"{", b"[]", b'{"partialSuccess": 7}', b"\xff", b"OK"])
def test_odd_answer_is_success(answer: bytes) -> None:
    """Whatever stands in the answer of a success, the batch was taken."""
    with collecting() as collector:
        collector.answers = {TRACES: answer}
        for kind in ("application/json", "application/x-protobuf", "text/plain"):
            collector.kind = kind
            sink = open_sink(collector)
            deliver(sink, 2)
            assert counts(sink)["traces"] == (2, 0, 0)


def test_rest_is_tried_once_at_end_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    """With a collector that is down at the end, each signal is tried once and its loss counted."""
    with collecting() as collector:
        collector.status = 503
        collector.answer_headers = {"retry-after": "100"}
        sink = open_sink(collector)
        with caplog.at_level(logging.WARNING):
            deliver(sink, 7, is_last=False)
            before = len(collector.times[TRACES])
            sink.flush(is_last=False)
            assert len(collector.times[TRACES]) == before == 1
            sink.flush(is_last=True)
        assert [len(times) for times in collector.times.values()] == [2, 2, 2]
    assert counts(sink) == {"traces": (0, 7, 0), "logs": (0, 7, 0)}
    assert "did not get 7 spans: not taken at the end (status 503)" in caplog.text
    assert "did not get 7 log records" in caplog.text


def test_longest_outage_drops_oldest_spans() -> None:
    """What waits is bounded: the oldest spans of a long outage are lost, counted, and no others."""
    with collecting() as collector:
        collector.status = 503
        sink = open_sink(collector, signals=["traces"], interval=60.0, most_waiting=200)
        sink.take(make_trace(), make_spans(250), {})
        assert counts(sink)["traces"] == (0, 50, 200)
        collector.status = 200
        sink.flush(is_last=True)
        assert len(collector.spans()) == 200
    assert counts(sink)["traces"] == (200, 50, 0)


def test_batch_without_answer_is_halved() -> None:
    """A receiver for which a batch is too much work in the time gets smaller ones."""

    def judge(path: str, body: Any) -> int:
        if len(list_spans(body)) > 3:
            time.sleep(0.3)
            return 503  # nobody listens any more
        return 200

    with collecting() as collector:
        collector.judge = judge
        sink = open_sink(collector, signals=["traces"], timeout=0.15)
        sink.take(make_trace(), make_spans(10), {})
        while counts(sink)["traces"][2]:
            sink.flush(is_last=False)
        assert len(collector.spans()) == 10
    assert counts(sink)["traces"] == (10, 0, 0)


def test_signals_are_chosen() -> None:
    """Signals that are left out, or switched off by a variable, are not sent."""
    with collecting() as collector:
        deliver(open_sink(collector, signals=["traces"]), 2)
        assert (len(collector.spans()), collector.bodies[LOGS], collector.bodies[METRICS]) == (
            2,
            [],
            [],
        )
    with collecting() as collector:
        variables = {"OTEL_TRACES_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "otlp"}
        deliver(Otlp(collector.url, environment=variables), 2)
        assert (collector.bodies[TRACES], len(collector.logs())) == ([], 2)


def test_points_of_metric_stay_together() -> None:
    """The points of a metric are one metric in a request, and all arrive."""
    with collecting() as collector:
        sink = open_sink(collector, signals=["metrics"])
        calls = make_spans(6)
        for number, call in enumerate(calls):
            call.model = f"m{number}"
        sink.take(make_trace(), calls, {})
        sink.flush(is_last=True)
        points = collector.metrics()["gen_ai.client.operation.duration"]["histogram"]["dataPoints"]
    assert len(points) == 6
    assert sink.counts.metrics.taken >= 6

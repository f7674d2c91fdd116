"""Export to an OTLP receiver: conventions, encodings, trace context and faulty collectors."""

from __future__ import annotations

import asyncio
import base64
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Literal

import pytest

from graphorch import Graph, RunFailed, node
from graphorch.errors import InputError
from graphorch.journal.memory import MemoryStore
from graphorch.trace.export.exporter import Otlp
from graphorch.trace.export.propagation import continuing
from graphorch.trace.export.recorder import Recorder
from graphorch.trace.spans.sampling import Sampling
from graphorch.trace_context import derive_trace_id
from tests.trace.collector import Collector, attributes, collecting
from tests.trace.flows import Log, Order, Shop
from tests.trace.running import ran

CALLER = {"Traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}


def exported(
    collector: Collector,
    amount: int = 3,
    *,
    sampling: Sampling | None = None,
    tags: dict[str, str] | None = None,
    **options: Any,
) -> Otlp:
    """A run that is exported to the end."""
    sink = Otlp(collector.url, environment={}, interval=0.0, **options)

    async def main() -> None:
        recorder = Recorder(MemoryStore(), sink, sampling=sampling)
        await ran("one", amount, store=recorder, tags=tags or {})
        await recorder.close()

    asyncio.run(main())
    return sink


def hexadecimal(encoded: str) -> str:
    """An id as it is written everywhere but in protobuf's JSON."""
    return base64.b64decode(encoded).hex()


def test_export_has_true_parents() -> None:
    """A run arrives as spans of the conventions with true parents."""
    with collecting() as collector:
        sink = exported(collector, tags={"user": "ann"})
        spans = {hexadecimal(span["spanId"]): span for span in collector.spans()}
    count = sink.counts.traces
    assert (count.taken, count.dropped, count.waiting, count.last_error) == (len(spans), 0, 0, "")
    names = sorted(span["name"] for span in spans.values())
    chats = ["chat openai/gpt-5", "chat google/gemini"]
    agents = ["invoke_workflow order", "invoke_agent plan", "invoke_agent answer"]
    nodes = ["fulfilment", "stock", "check", "look", "count"]
    assert names == sorted([*agents, *chats, *nodes, *["attempt 1"] * 5])
    chat = next(span for span in spans.values() if span["name"] == "chat google/gemini")
    known = attributes(chat)
    assert chat["kind"] == "SPAN_KIND_CLIENT"
    assert known["gen_ai.operation.name"] == "chat"
    assert known["gen_ai.provider.name"] == "gcp.gemini"
    assert (
        known["gen_ai.usage.input_tokens"],
        known["gen_ai.usage.output_tokens"],
        known["graphorch.cost.usd"],
    ) == ("100", "20", 0.0125)
    assert (known["user.id"], known["session.id"], known["openinference.span.kind"]) == (
        "ann",
        "one",
        "LLM",
    )
    assert "gen_ai.input.messages" not in known
    above = spans[hexadecimal(spans[hexadecimal(chat["parentSpanId"])]["parentSpanId"])]
    assert above["name"] == "invoke_agent answer"
    assert "parentSpanId" not in next(
        span for span in spans.values() if span["name"] == "invoke_workflow order"
    )
    assert {hexadecimal(span["traceId"]) for span in spans.values()} == {derive_trace_id("one")}


def test_export_has_metrics_and_logs() -> None:
    with collecting() as collector:
        exported(collector, 12)
        metrics, logs = collector.metrics(), collector.logs()
    assert {
        "gen_ai.client.operation.duration",
        "gen_ai.client.token.usage",
        "gen_ai.workflow.duration",
        "graphorch.cost",
    } <= set(metrics)
    (cost,) = metrics["graphorch.cost"]["histogram"]["dataPoints"]
    assert (cost["count"], cost["sum"]) == ("1", 0.0125)
    (failed,) = [record for record in logs if record["eventName"] == "exception"]
    assert failed["severityText"] == "ERROR"
    assert {
        "exception.type": "ValueError",
        "graphorch.node.path": "fulfilment/stock/count",
    }.items() <= attributes(failed).items()


@pytest.mark.parametrize("protocol", ["http/protobuf", "http/json"])
def test_encodings_are_equal(protocol: Literal["http/protobuf", "http/json"]) -> None:
    """JSON and protobuf hold equal data."""
    with collecting() as collector:
        exported(
            collector, protocol=protocol, headers={"authorization": "Basic abc"}, service="shop"
        )
        spans = collector.spans()
        resource = attributes(collector.bodies["/v1/traces"][0]["resourceSpans"][0]["resource"])
    assert resource["service.name"] == "shop"
    assert {headers["authorization"] for headers in collector.headers} == {"Basic abc"}
    ids = {
        span["traceId"] if protocol == "http/json" else hexadecimal(span["traceId"])
        for span in spans
    }
    assert ids == {derive_trace_id("one")}
    assert len(spans) == 15


def test_content_is_sent_on_request() -> None:
    """The content of prompts is sent only on request."""
    with collecting() as collector:
        exported(collector)
        assert b"tides" not in b"".join(collector.raw)
    with collecting() as collector:
        exported(collector, content=True)
        chat = next(span for span in collector.spans() if span["name"] == "chat openai/gpt-5")
        assert "Plan: tides" in attributes(chat)["gen_ai.input.messages"]


def test_run_joins_callers_trace() -> None:
    """A run joins the trace of its caller."""
    with collecting() as collector:
        exported(collector, tags=continuing(CALLER))
        spans = collector.spans()
    assert {hexadecimal(span["traceId"]) for span in spans} == {"4bf92f3577b34da6a3ce929d0e0e4736"}
    root = next(span for span in spans if span["name"] == "invoke_workflow order")
    assert hexadecimal(root["parentSpanId"]) == "00f067aa0ba902b7"


def test_collector_down_delays_no_run() -> None:
    """A collector that is down holds no run up."""
    sink = Otlp("http://127.0.0.1:9", environment={}, interval=0.0, timeout=0.2)

    async def main() -> None:
        recorder = Recorder(MemoryStore(), sink)
        began = time.perf_counter()
        store = await ran("one", store=recorder)
        assert time.perf_counter() - began < 1.0
        assert (await store.load("one")).head.status == "succeeded"
        recorder.stop()

    asyncio.run(main())
    assert sink.counts.traces.taken == 0
    assert "ConnectionRefusedError" in sink.counts.traces.last_error


def test_collector_hanging_delays_no_run() -> None:
    """A collector that hangs holds no run up."""
    with collecting() as collector:
        collector.may_answer.clear()
        sink = Otlp(collector.url, environment={}, interval=0.0, timeout=0.2)

        async def main() -> None:
            recorder = Recorder(MemoryStore(), sink)
            for number in range(5):
                store = await ran(f"r{number}", store=recorder)
                assert (await store.load(f"r{number}")).head.status == "succeeded"
            recorder.stop(1.0)

        asyncio.run(main())
        assert "timed out" in sink.counts.traces.last_error


def test_raising_sink_is_counted() -> None:
    """A sink that raises is counted, and the others continue."""

    class Bad:
        needs_content = False

        def take(self, trace: Any, spans: Any, turns: Any) -> None:
            raise RuntimeError("bad sink")

        def flush(self, *, is_last: bool) -> None:
            raise RuntimeError("bad flush")

    async def main() -> None:
        recorder = Recorder(MemoryStore(), Bad())
        store = await ran("one", store=recorder)
        assert (await store.load("one")).head.status == "succeeded"
        recorder.stop()
        assert recorder.lost.errors > 1

    asyncio.run(main())


def test_sampling_sends_failed_runs() -> None:
    """Sampling sends the runs that failed, whole."""
    with collecting() as collector:
        exported(collector, 3, sampling=Sampling(share=0.0))
        assert collector.spans() == []
        exported(collector, 12, sampling=Sampling(share=0.0))
        assert {span["name"] for span in collector.spans()} >= {
            "invoke_workflow order",
            "count",
            "chat openai/gpt-5",
        }


def test_links_lead_to_earlier_spans() -> None:
    """A resumed run links to the trace before its pause, and a rerun to the run it was made of."""
    left = [OSError("down")]

    @node
    def shaky(order: Order) -> Log:
        if left:
            raise left.pop()
        return Log(log=["up"])

    async def main(sink: Otlp) -> str:
        recorder = Recorder(MemoryStore(), sink)
        flow = Graph("shaky", Shop, input=Order).chain(shaky).build()
        with pytest.raises(RunFailed):
            await flow.run(Order(), run_id="one", durable=recorder)
        await flow.resume("one", durable=recorder)
        again = await flow.rerun("one", start="shaky", durable=recorder)
        await recorder.close()
        return again.result.run_id

    with collecting() as collector:
        new = asyncio.run(main(Otlp(collector.url, environment={}, interval=0.0)))
        roots = {
            hexadecimal(span["traceId"]): span
            for span in collector.spans()
            if span["name"] == "invoke_workflow shaky"
        }
        nodes = {hexadecimal(s["traceId"]): s for s in collector.spans() if s["name"] == "shaky"}
    first, second, third = (derive_trace_id("one"), derive_trace_id("one", 2), derive_trace_id(new))
    assert "links" not in roots[first]
    assert list_links(roots[second]) == [(first, roots[first]["spanId"], "continues")]
    assert list_links(nodes[second]) == [(first, nodes[first]["spanId"], "continues")]
    assert list_links(roots[third]) == [(second, roots[second]["spanId"], "forked from")]


def list_links(span: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [
        (hexadecimal(link["traceId"]), link["spanId"], attributes(link)["graphorch.link"])
        for link in span["links"]
    ]


FORGETFUL = """
import asyncio, sys
from graphorch.journal.memory import MemoryStore
from graphorch.trace import Otlp, Recorder
from tests.trace.running import ran

asyncio.run(ran("one", store=Recorder(MemoryStore(), Otlp(sys.argv[1], interval=60.0))))
"""


@pytest.mark.slow
def test_program_that_closes_nothing_loses_nothing() -> None:
    """A program that ends without closing its recorder sends what is left."""
    with collecting() as collector:
        subprocess.run([sys.executable, "-c", FORGETFUL, collector.url], check=True, timeout=60)
        assert len(collector.spans()) == 15


def test_settings_come_from_variables() -> None:
    """Settings come from the usual variables."""
    known = {
        "OTEL_EXPORTER_OTLP_HEADERS": "a=1,b=x%20y",
        "OTEL_SERVICE_NAME": "s",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=test",
    }
    with collecting() as collector:
        sink = Otlp(
            environment={**known, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}, interval=0.0
        )

        async def main() -> None:
            recorder = Recorder(MemoryStore(), sink)
            await ran("one", store=recorder)
            await recorder.close()

        asyncio.run(main())
        resource = attributes(collector.bodies["/v1/traces"][0]["resourceSpans"][0]["resource"])
    assert (resource["service.name"], resource["deployment.environment"]) == ("s", "test")
    assert {"a": "1", "b": "x y"}.items() <= collector.headers[0].items()


def test_invalid_address_refused(tmp_path: Path) -> None:
    """An invalid address is refused."""
    with pytest.raises(InputError, match="an endpoint is an address"):
        Otlp("localhost:4318", environment={})

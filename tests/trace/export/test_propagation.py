"""W3C trace context: runs join the trace of a caller, and requests that of a run."""

from __future__ import annotations

import asyncio
import sys
from types import SimpleNamespace
from typing import NamedTuple

import pytest

from graphorch import Context, Graph, node
from graphorch.journal.memory import MemoryStore
from graphorch.trace.export.propagation import build_headers, continuing
from graphorch.trace.spans.model import derive_attempt_span_id, derive_trace_id, parse_remote_parent
from tests.trace.flows import Order, Reply, Shop
from tests.trace.running import trace

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Place(NamedTuple):
    """Place of a node that makes a request."""

    key: str
    attempt: int


def test_build_headers_names_attempt() -> None:
    """The headers of a node hold its place in the trace."""
    seen: dict[str, str] = {}

    @node
    async def call(ctx: Context[object], order: Order) -> Reply:
        seen.update(build_headers(ctx, "one"))
        return Reply(reply="done")

    async def main() -> None:
        store = MemoryStore()
        await (
            Graph("out", Shop, input=Order, output=Reply)
            .chain(call)
            .build()
            .run(Order(), run_id="one", durable=store)
        )
        attempt = next(span for span in (await trace(store)).spans if span.kind == "attempt")
        assert parse_remote_parent(seen) == (derive_trace_id("one"), attempt.id)

    asyncio.run(main())


@pytest.mark.parametrize(
    "header",
    [
        "",
        "00-0-0-01",
        f"00-{'0' * 32}-{'1' * 16}-01",
        "ff-" + "1" * 32 + "-" + "1" * 16 + "-01",
        "x" * 500,
        "00-é",
    ],
)
def test_invalid_trace_context_is_ignored(header: str) -> None:
    """A header that is not a trace context is ignored."""
    assert continuing({"traceparent": header}) == {}


@pytest.mark.parametrize("name", ["traceparent", "Traceparent", "TRACEPARENT"])
def test_header_name_has_any_case(name: str) -> None:
    """Names of headers have no case, and a valid value becomes the tag in small letters."""
    headers = {"accept": "*/*", name: f" 00-{TRACE.upper()}-{SPAN}-01 "}
    assert continuing(headers) == {"traceparent": f"00-{TRACE}-{SPAN}-01"}
    assert continuing({"accept": "*/*"}) == {}


def test_headers_continue_callers_trace() -> None:
    """Headers of a run with a caller have its trace, and go on as tags of another run."""
    place = Place("0123456789abcdef0123", 2)
    headers = build_headers(place, "one", continuing({"traceparent": f"00-{TRACE}-{SPAN}-00"}))
    trace_id, span_id = parse_remote_parent(headers)
    assert trace_id == TRACE
    assert span_id == derive_attempt_span_id("one", "0123456789abcdef", 2)
    assert continuing(headers) == headers


def test_attempts_have_own_headers() -> None:
    """Each attempt of an activation is a parent of its own in the trace of the run."""
    headers = [
        parse_remote_parent(build_headers(Place("k", attempt), "one")) for attempt in (1, 2, 3)
    ]
    assert {trace_id for trace_id, _ in headers} == {derive_trace_id("one")}
    assert len({span_id for _, span_id in headers}) == 3


def test_current_opentelemetry_span_is_continued(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without headers, the current span of OpenTelemetry is the caller, if it is loaded."""
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", None)
    assert continuing() == {}
    context = SimpleNamespace(trace_id=int(TRACE, 16), span_id=int(SPAN, 16), trace_flags=1)
    span = SimpleNamespace(get_span_context=lambda: context)
    api = SimpleNamespace(get_current_span=lambda: span)
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", api)
    assert continuing() == {"traceparent": f"00-{TRACE}-{SPAN}-01"}
    context.trace_id = context.span_id = 0  # no span is current
    assert continuing() == {}

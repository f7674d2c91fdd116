"""W3C trace context: runs join the trace of a caller, and what they call joins that of the run."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from graphorch import Flow, Graph, agent, node
from graphorch.journal.memory import MemoryStore
from graphorch.journal.wrappers import MaskedStore
from graphorch.models.client import ModelClient
from graphorch.models.openai.client import OpenAIClient
from graphorch.trace import Recorder, Trace, continuing, current_headers
from graphorch.trace.spans.redaction import Redaction
from graphorch.trace_context import derive_trace_id, parse_parent
from tests.models.servers import completion, replies, serve
from tests.trace.flows import Log, Model, Order, Reply, Shop
from tests.trace.running import trace

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
STATE = "vendor=opaque,other=1"
CALLER = {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": STATE}


class Nothing:
    """Sink that takes everything to nowhere."""

    needs_content = False

    def take(self, trace: Any, spans: Any, turns: Any) -> None: ...

    def flush(self, *, is_last: bool) -> None: ...


@agent(output=Reply, model="m")
def ask(order: Order) -> str:
    return "Look tides up"


SEEN: list[dict[str, str]] = []


def look_up(word: str) -> str:
    """Look a word up."""
    SEEN.append(current_headers())
    return f"{word}: the sea"


@agent(output=Reply, model="m", tools=[look_up])
def ask_with_tool(order: Order) -> str:
    return "Look tides up"


@node
def call_out(order: Order) -> Reply:
    SEEN.append(current_headers())
    return Reply(reply="done")


@node
async def call_out_later(order: Order) -> Reply:
    async def deeper() -> None:
        SEEN.append(current_headers())

    await asyncio.gather(deeper(), deeper())
    return Reply(reply="done")


def flow_of(step: Any) -> Flow[Any, Any, Any]:
    return Graph("out", Shop, input=Order, output=Reply).chain(step).build()


async def run_for_headers(step: Any, client: ModelClient | None = None, **options: Any) -> Trace:
    """Run one node with `SEEN` empty, and return the trace of its records."""
    SEEN.clear()
    store = Recorder(MemoryStore(), Nothing())
    await flow_of(step).run(
        Order(), run_id="one", durable=store, client=client or Model(), **options
    )
    store.stop()
    return await trace(store)


def find_span(run_trace: Trace, kind: str) -> str:
    return next(span.id for span in run_trace.spans if span.kind == kind)


async def ask_server(**options: Any) -> tuple[Mapping[str, str], Trace | None]:
    """Return the headers that a model server got, and the trace of the run if it was kept."""
    async with serve(replies(completion('{"reply": "done"}'))) as server:
        client = OpenAIClient(server.url, "none")
        store = options.get("durable")
        await flow_of(ask).run(Order(), run_id="one", client=client, **options)
        await client.aclose()
        kept = None if store is None else await trace(store)
        if isinstance(store, Recorder):
            store.stop()
        return server.asked[0].headers, kept


def test_model_server_is_part_of_trace() -> None:
    """A model server gets the place of its call in the run's own trace."""

    async def main() -> None:
        headers, kept = await ask_server(durable=Recorder(MemoryStore(), Nothing()))
        assert kept is not None
        call = find_span(kept, "call")
        assert headers["traceparent"] == f"00-{derive_trace_id('one')}-{call}-01"
        assert "tracestate" not in headers

    asyncio.run(main())


@pytest.mark.parametrize("flags", ["00", "01", "02", "03"])
def test_flags_and_state_go_on_as_they_came(flags: str) -> None:
    """A model server gets the flags and the state of the run's caller, sampled or not."""

    async def main() -> None:
        tags = continuing({**CALLER, "traceparent": f"00-{TRACE}-{SPAN}-{flags}"})
        store = Recorder(MemoryStore(), Nothing())
        headers, kept = await ask_server(durable=store, tags=tags)
        assert kept is not None
        call = find_span(kept, "call")
        assert headers["traceparent"] == f"00-{TRACE}-{call}-{flags}"
        assert headers["tracestate"] == STATE

    asyncio.run(main())


@pytest.mark.parametrize("options", [{}, {"durable": MemoryStore()}], ids=["memory", "kept"])
def test_run_without_recorder_passes_caller_on(options: dict[str, Any]) -> None:
    """Where no spans are sent, what a run calls lies inside of its caller's span."""

    async def main() -> None:
        headers, _ = await ask_server(tags=continuing(CALLER), **options)
        assert {name: headers[name] for name in CALLER} == CALLER

    asyncio.run(main())


def test_run_without_trace_sends_no_headers() -> None:
    """A run with neither caller nor recorder says nothing about traces."""

    async def main() -> None:
        for options in ({}, {"durable": MemoryStore()}, {"tags": {"a": "b"}}):
            headers, _ = await ask_server(**options)
            assert not {"traceparent", "tracestate"} & headers.keys()

    asyncio.run(main())


def test_run_begun_inside_of_span_passes_it_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller that the recorder finds in the process is the one of the calls, too."""
    context = SimpleNamespace(
        trace_id=int(TRACE, 16),
        span_id=int(SPAN, 16),
        trace_flags=1,
        trace_state=SimpleNamespace(to_header=lambda: STATE),
    )
    span = SimpleNamespace(get_span_context=lambda: context)
    api = SimpleNamespace(get_current_span=lambda: span)
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", api)

    async def main() -> None:
        store = MaskedStore(Recorder(MemoryStore(), Nothing()), Redaction().data)
        headers, _ = await ask_server(durable=store)
        parent = parse_parent(headers["traceparent"])
        assert parent is not None
        assert (parent.trace_id, headers["tracestate"]) == (TRACE, STATE)
        assert parent.span_id != SPAN

    asyncio.run(main())


@pytest.mark.parametrize("step", [call_out, call_out_later, ask_with_tool])
def test_nodes_and_tools_know_their_headers(step: Any) -> None:
    """A node, what it awaits, and a tool of an agent name their own attempt as the parent."""

    async def main() -> None:
        kept = await run_for_headers(step, Model(tool="look_up"), tags=continuing(CALLER))
        attempt = [span.id for span in kept.spans if span.kind == "attempt"][-1]
        expected = {"traceparent": f"00-{TRACE}-{attempt}-01", "tracestate": STATE}
        assert SEEN
        assert all(headers == expected for headers in SEEN)
        assert continuing(SEEN[0]) == SEEN[0]

    asyncio.run(main())


def test_each_attempt_has_own_headers() -> None:
    """Attempts are parents of their own; those after a resume lie in the trace of the resume."""
    left = [OSError("one"), OSError("two")]

    @node
    def shaky(order: Order) -> Log:
        SEEN.append(current_headers())
        if left:
            raise left.pop()
        return Log(log=["up"])

    async def main() -> None:
        SEEN.clear()
        flow = Graph("shaky", Shop, input=Order).chain(shaky).build()
        store = Recorder(MemoryStore(), Nothing())
        with pytest.raises(ExceptionGroup):
            await flow.run(Order(), run_id="one", durable=store)
        with pytest.raises(ExceptionGroup):
            await flow.resume("one", durable=store)
        await flow.resume("one", durable=store)
        kept = await trace(store)
        store.stop()
        parents = [parse_parent(headers["traceparent"]) for headers in SEEN]
        attempts = [span for span in kept.spans if span.kind == "attempt"]
        assert [(parent.trace_id, parent.span_id) for parent in parents if parent is not None] == [
            (kept.find_trace_id(span.engagement), span.id) for span in attempts
        ]
        traces = [derive_trace_id("one", engagement) for engagement in (1, 2, 3)]
        assert [parent.trace_id for parent in parents if parent is not None] == traces

    asyncio.run(main())


def test_headers_are_empty_outside_of_runs() -> None:
    """Outside of a run, and in a run without a trace, there are no headers."""
    SEEN.clear()
    assert current_headers() == {}
    assert flow_of(call_out).run_sync(Order()).output.reply == "done"
    assert SEEN == [{}]


def test_fork_links_to_its_origin() -> None:
    """A rerun names the last span of the run that it was made of, in that run's trace."""

    async def main() -> None:
        store = MemoryStore()
        flow = flow_of(call_out)
        await flow.run(Order(), run_id="one", durable=store, tags=continuing(CALLER))
        again = await flow.rerun("one", start="call_out", durable=store)
        old, new = await trace(store), await trace(store, again.result.run_id)
        assert new.spans[0].origin == (TRACE, old.spans[0].id)
        assert old.spans[0].origin is None

    asyncio.run(main())


def test_long_state_loses_whole_entries() -> None:
    """A state that is too long for a tag loses its last entries, and an invalid one is left out."""
    state = ",".join(f"v{number}={'x' * 20}" for number in range(12))
    tag = continuing({**CALLER, "tracestate": state})["tracestate"]
    assert len(tag) <= 200
    assert state.startswith(f"{tag},")
    assert "tracestate" not in continuing({**CALLER, "tracestate": "a=\x00"})


@pytest.mark.parametrize(
    "header",
    [
        "",
        "00-0-0-01",
        f"00-{'0' * 32}-{'1' * 16}-01",
        "ff-" + "1" * 32 + "-" + "1" * 16 + "-01",
        "x" * 500,
        f"00-{'1' * 32}-{'1' * 16}-01-more",
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


def test_current_opentelemetry_span_is_continued(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without headers, the current span of OpenTelemetry is the caller, if it is loaded."""
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", None)
    assert continuing() == {}
    state = SimpleNamespace(to_header=lambda: "")
    context = SimpleNamespace(
        trace_id=int(TRACE, 16), span_id=int(SPAN, 16), trace_flags=1, trace_state=state
    )
    span = SimpleNamespace(get_span_context=lambda: context)
    api = SimpleNamespace(get_current_span=lambda: span)
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", api)
    assert continuing() == {"traceparent": f"00-{TRACE}-{SPAN}-01"}
    context.trace_id = context.span_id = 0  # no span is current
    assert continuing() == {}

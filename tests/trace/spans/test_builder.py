"""Spans from records: parents, attempts, tools and copies, also of unfinished runs."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from graphorch import Graph, Retry, agent, node
from graphorch.errors import ModelError, RunFailed
from graphorch.journal.memory import MemoryStore
from graphorch.journal.records import Record
from graphorch.trace.spans.builder import SpanBuilder, build_trace
from tests.trace.acting import SECOND_SEND, SEND, act
from tests.trace.flows import Log, Model, Order, Reply, Shop, shop
from tests.trace.running import chain, ran, trace


def test_parents_lead_to_the_run() -> None:
    """Parents lead from a model call to the run."""

    async def main() -> None:
        run_trace = await trace(await ran())
        calls = [span for span in run_trace.spans if span.kind == "call"]
        assert chain(run_trace, calls[0]) == ["run", "node plan", "attempt plan", "call plan"]
        deepest = next(
            span for span in run_trace.spans if span.kind == "attempt" and span.node == "count"
        )
        assert chain(run_trace, deepest) == [
            "run",
            "flow fulfilment",
            "flow fulfilment/stock",
            "node fulfilment/stock/count",
            "attempt fulfilment/stock/count",
        ]
        assert {span.level for span in run_trace.spans if span.node == "count"} == {3}
        assert len({span.id for span in run_trace.spans}) == len(run_trace.spans)
        assert all(span.status == "ok" and span.seconds is not None for span in run_trace.spans)

    asyncio.run(main())


def test_child_lies_within_parent() -> None:
    """A child lies within its parent in time."""

    async def main() -> None:
        run_trace = await trace(await ran())
        by_id = {span.id: span for span in run_trace.spans}
        for span in run_trace.spans:
            above = by_id.get(span.parent)
            if above is not None and span.kind in ("node", "flow", "attempt"):
                assert above.began <= span.began + 1e-6
                assert (span.ended or 0) <= (above.ended or 0) + 1e-6

    asyncio.run(main())


def test_attempts_have_own_spans() -> None:
    """Each attempt has its span, and the node has the last outcome."""
    tries: list[int] = []

    @node(retry=Retry(3, first=0.0))
    def shaky(order: Order) -> Reply:
        tries.append(1)
        if len(tries) < 3:
            raise OSError(f"no line {len(tries)}")
        return Reply(reply="at last")

    async def main() -> None:
        store = MemoryStore()
        await (
            Graph("shaky", Shop, input=Order, output=Reply)
            .chain(shaky)
            .build()
            .run(Order(), run_id="one", durable=store)
        )
        run_trace = await trace(store)
        attempts = [
            (span.attempt, span.status, span.error)
            for span in run_trace.spans
            if span.kind == "attempt"
        ]
        assert attempts == [(1, "failed", "OSError"), (2, "failed", "OSError"), (3, "ok", "")]
        assert [(span.status, span.attempt) for span in run_trace.spans if span.kind == "node"] == [
            ("ok", 3)
        ]

    asyncio.run(main())


def test_tool_calls_lie_between_calls() -> None:
    """Tool calls lie between the call that made them and the call that got their results."""

    def look_up(word: str) -> str:
        """Look a word up."""
        return f"{word}: the sea"

    @agent(output=Reply, model="m", tools=[look_up])
    def ask(order: Order) -> str:
        return "Look tides up"

    async def main() -> None:
        store = MemoryStore()
        flow = Graph("tools", Shop, input=Order, output=Reply).chain(ask).build()
        await flow.run(Order(), run_id="one", durable=store, client=Model(tool="look_up"))
        run_trace = await trace(store)
        tools = [span for span in run_trace.spans if span.kind == "tool"]
        assert [(span.node, span.status) for span in tools] == [("look_up", "ok")]
        assert chain(run_trace, tools[0])[-2:] == ["node ask", "tool ask/r1/look_up#0"]
        first, second = [span for span in run_trace.spans if span.kind == "call"]
        assert first.began <= tools[0].began <= second.began

    asyncio.run(main())


def test_tool_calls_are_activations() -> None:
    """Each call of a tool has a span with what it ran with, and what the model was told of it."""

    async def main() -> None:
        run_trace = await trace(await act())
        tools = [span for span in run_trace.spans if span.kind == "tool"]
        tools.sort(key=lambda span: span.tool_call)
        assert [
            (span.path, span.step, span.status, span.outcome, span.tool_call) for span in tools
        ] == [
            ("write/r1/search#0", "write/search", "ok", "ok", "step_1_0"),
            ("write/r1/search#1", "write/search", "handled", "failed", "step_1_1"),
            # A call that was not made has no path of its own.
            ("write", "write/search", "handled", "failed", "step_1_2"),
            ("write/r1/note#3", "write/note", "ok", "ok", "step_1_3"),
            ("write/r2/send#0", "write/send", "ok", "ok", "step_2_0"),
            ("write/r2/send#1", "write/send", "skipped", "refused", "step_2_1"),
            ("write/r2/search#2", "write/search", "ok", "ok", "step_2_2"),
        ]
        assert tools[4].arguments == '{"to": "ann", "body": "at one"}'
        assert tools[5].message.endswith("The reason: not to bob")
        assert {span.level for span in tools if span.role == "tool"} == {2}
        assert run_trace.faults == []
        assert len({span.id for span in run_trace.spans}) == len(run_trace.spans)

    asyncio.run(main())


def test_agent_rests_while_people_decide() -> None:
    """An agent whose calls wait for people waits, and goes on in the same attempt."""

    async def main() -> None:
        run_trace = await trace(await act())
        agents = [span for span in run_trace.spans if span.path == "write" and span.kind == "node"]
        assert [span.status for span in agents] == ["waiting", "waiting", "ok"]
        assert [span.is_continued for span in agents] == [True, True, False]
        attempts = [
            span for span in run_trace.spans if span.path == "write" and span.kind == "attempt"
        ]
        assert [(span.attempt, span.status) for span in attempts] == [
            (1, "waiting"),
            (1, "waiting"),
            (1, "ok"),
        ]
        questions = [span for span in run_trace.spans if span.kind == "ask"]
        assert [(span.path, span.status) for span in questions] == [
            (SEND, "ok"),
            (SECOND_SEND, "ok"),
        ]
        refused = next(span for span in run_trace.spans if span.outcome == "refused")
        assert refused.seconds == 0.0

    asyncio.run(main())


def test_old_tool_calls_lie_below_their_model_call() -> None:
    """Journals before format 5 tell of tool calls only in the next prompt of the agent."""

    async def main() -> None:
        log = await (await act()).load("one")
        records = [record for record in log.records if record.kind != "tools"]
        records = [record for record in records if "/" not in str(record.body.get("path"))]
        flow = {**records[0].body["flow"], "format": 4}
        records[0] = replace(records[0], body={**records[0].body, "flow": flow})
        spans = build_trace(log.head, records).spans
        tools = [span for span in spans if span.kind == "tool"]
        calls = {span.id for span in spans if span.kind == "call"}
        assert len(tools) == 4
        assert {span.parent for span in tools} <= calls
        assert not any(span.is_activation for span in tools)
        assert {span.seconds for span in tools} != {0.0}

    asyncio.run(main())


def test_unanswered_call_is_charged() -> None:
    """A call without an answer is a failed span with its cost."""

    class Broken:
        async def complete(self, request: Any, on_text: Any = None) -> Any:
            error = ModelError("the endpoint said 500", model=request.model, status=500)
            error.usd = 0.25
            raise error

    async def main() -> None:
        run_trace = await trace(await ran(client=Broken()))
        call = next(span for span in run_trace.spans if span.kind == "call")
        assert (call.status, call.model, call.usd) == ("failed", "openai/gpt-5", 0.25)
        assert run_trace.spans[0].status == "failed"

    asyncio.run(main())


def test_run_survives_failed_call() -> None:
    """A resume and a replay read past the record of a call without an answer."""

    class Once(Model):
        is_down = True

        async def complete(self, request: Any, on_text: Any = None) -> Any:
            if self.is_down:
                raise ModelError("down", model=request.model)
            return await super().complete(request)

    async def main() -> None:
        model = Once()
        store = await ran(client=model)
        model.is_down = False
        result = await shop().resume("one", durable=store, client=model)
        assert result.status == "succeeded"
        assert (await shop().replay("one", durable=store)).output == result.output
        run_trace = await trace(store)
        assert [(span.node, span.status) for span in run_trace.spans if span.kind == "call"] == [
            ("plan", "failed"),
            ("plan", "ok"),
            ("answer", "ok"),
        ]

    asyncio.run(main())


def test_fork_pays_for_no_copies() -> None:
    """A fork does not pay for what it took over."""

    async def main() -> None:
        store = await ran()
        await shop().rerun(
            "one", start="answer", model="other", durable=store, run_id="two", client=Model()
        )
        first, second = await trace(store), await trace(store, "two")
        paid = [
            (span.node, span.model)
            for span in second.spans
            if span.kind == "call" and not span.is_copy
        ]
        assert paid == [("answer", "other")]
        assert [span.node for span in second.spans if span.kind == "call" and span.is_copy] == [
            "plan"
        ]
        assert second.parent == first.run_id

    asyncio.run(main())


def test_resume_opens_linked_spans() -> None:
    """A resumed run gives the run and its activation new spans, which continue the old ones."""
    is_broken = [True]

    @node
    def shaky(order: Order) -> Log:
        if is_broken:
            raise OSError("down")
        return Log(log=["up"])

    flow = Graph("shaky", Shop, input=Order).chain(shaky).build()

    async def main() -> None:
        store = MemoryStore()
        with pytest.raises(RunFailed):
            await flow.run(Order(), run_id="one", durable=store)
        before = await trace(store)
        is_broken.clear()
        await flow.resume("one", durable=store)
        after = await trace(store)
        assert [span.status for span in before.spans if span.kind == "node"] == ["failed"]
        for kind in ("run", "node"):
            first, second = [span for span in after.spans if span.kind == kind]
            assert (first.status, first.is_continued, first.link) == ("failed", True, None)
            assert (second.status, second.is_continued, second.link) == ("ok", False, (1, first.id))
        roots = [span.id for span in after.spans if span.kind == "run"]
        assert [span.parent for span in after.spans if span.kind == "node"] == roots
        attempts = [(span.status, span.attempt) for span in after.spans if span.kind == "attempt"]
        assert attempts == [("failed", 1), ("ok", 2)]
        assert (before.status, after.status) == ("failed", "succeeded")

    asyncio.run(main())


@pytest.mark.parametrize("kept", range(1, 14))
def test_crashed_run_makes_trace(kept: int) -> None:
    """The records of a run that crashed anywhere make a trace."""

    async def main() -> None:
        log = await (await ran()).load("one")
        head = replace(log.head, status="running", lease=None)
        run_trace = build_trace(head, log.records[:kept])
        assert (run_trace.status, run_trace.reason) == ("crashed", "crashed")
        assert not [span for span in run_trace.spans if span.status == "running"]
        known = {span.id for span in run_trace.spans}
        assert all(span.parent in known for span in run_trace.spans[1:])

    asyncio.run(main())


@pytest.mark.parametrize(
    "body",
    [
        None,
        7,
        [],
        {},
        {"path": 3},
        {"path": "a", "id": "b" * 32, "at": "soon"},
        {"path": "a/b[x]/c", "id": ""},
    ],
)
def test_odd_records_are_passed_over(body: Any) -> None:
    """A record of any shape is passed over."""

    async def main() -> None:
        log = await (await ran()).load("one")
        builder = SpanBuilder(log.head)
        for record in log.records:
            builder.take(replace(record, body=body))
        builder.take(Record(99, "of_the_future", body))
        builder.take_all(log.records)
        assert builder.close(log.head).status == "succeeded"

    asyncio.run(main())

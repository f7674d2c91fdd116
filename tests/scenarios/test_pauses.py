"""The time between stop and resume is nobody's: in results, spans, statistics and explanations."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from pydantic import BaseModel

from graphorch import Flow, Graph, Retry, RunFailed, node
from graphorch.engine.replay import rebuild
from graphorch.graph.approval import Approval
from graphorch.journal.memory import MemoryStore
from graphorch.journal.records import Record
from graphorch.journal.store import Store
from graphorch.testing import run_virtual
from graphorch.trace.analysis.critical_path import find_critical_path
from graphorch.trace.analysis.explain import explain_activation
from graphorch.trace.analysis.statistics import runs, steps
from graphorch.trace.conversation.turns import Turn
from graphorch.trace.export.recorder import Recorder
from graphorch.trace.spans.builder import build_trace
from graphorch.trace.spans.index import SpanIndex
from graphorch.trace.spans.model import Span, Trace
from graphorch.trace.spans.redaction import Redaction
from graphorch.trace.spans.sampling import Sampling
from graphorch.views.runs.steps import build_step_rows
from graphorch.views.runs.timeline import build_bars
from tests.scenarios.crashed_copies import copy_run

DAY = 86_400.0
BASE = 1.7e9


class Text(BaseModel):
    text: str = ""


class Draft(BaseModel):
    draft: str = ""


class Verdict(BaseModel):
    good: bool = True


class State(Text, Draft, Verdict): ...


AnyFlow = Flow[Any, Any, Any]


@dataclass
class Sent:
    """Sink that keeps what it takes."""

    spans: list[Span] = field(default_factory=list[Span])
    needs_content: bool = False

    def take(self, trace: Trace, spans: Sequence[Span], turns: dict[str, Turn]) -> None:
        self.spans += [replace(span) for span in spans]

    def flush(self, *, is_last: bool) -> None: ...


@dataclass
class Times:
    """How long each attempt of a node takes, and whether it fails."""

    left: list[tuple[float, bool]]

    async def spend(self) -> None:
        seconds, fails = self.left.pop(0)
        await asyncio.sleep(seconds)
        if fails:
            raise OSError("down")


def now() -> float:
    """Return the virtual time, as seconds since 1970."""
    return BASE + asyncio.get_running_loop().time()


async def read(store: Store) -> Trace:
    log = await store.load("one")
    return build_trace(log.head, log.records)


def flow_of(work: Callable[..., Any], **options: Any) -> AnyFlow:
    """Return a flow of one node `work`."""
    step = node(**options)(work) if options else node(work)
    return Graph("work", State, input=Text, output=Draft).chain(step).build()


def spans_of(trace: Trace, kind: str) -> list[tuple[str, float]]:
    """Return status and seconds of the spans of a kind."""
    return [
        (span.status, round(span.seconds or 0.0, 3)) for span in trace.spans if span.kind == kind
    ]


async def fail_then_resume(flow: AnyFlow, store: Store, pause: float = DAY, **options: Any) -> Any:
    """Run a flow that fails, and resume it after a pause."""
    with pytest.raises(RunFailed):
        await flow.run(Text(), run_id="one", durable=store, clock=now, **options)
    await asyncio.sleep(pause)
    return await flow.resume("one", durable=store, clock=now)


def test_pause_is_not_time_of_node() -> None:
    """A node that fails after 3 s and succeeds in 2 s a day later took 2 s, the run 5 s."""
    times = Times([(3.0, True), (2.0, False)])

    async def work(text: Text) -> Draft:
        await times.spend()
        return Draft(draft="done")

    async def main() -> None:
        flow, store = flow_of(work), MemoryStore()
        result = await fail_then_resume(flow, store)
        trace = await read(store)
        assert spans_of(trace, "node") == [("failed", 3.0), ("ok", 2.0)]
        assert spans_of(trace, "attempt") == [("failed", 3.0), ("ok", 2.0)]
        assert spans_of(trace, "run") == [("failed", 3.0), ("ok", 2.0)]
        assert trace.seconds == pytest.approx(5.0)
        assert result.seconds == pytest.approx(5.0)
        assert [step.seconds for step in result.steps] == pytest.approx([2.0])
        with SpanIndex.open(store) as index:
            await index.catch_up(store)
            (step,), (run,) = steps(index), runs(index)
        assert (step.visits, step.failed, step.attempts, step.failed_attempts) == (1, 0, 2, 1)
        assert (step.latency.p99, run.latency.p99) == pytest.approx((2.0, 5.0))
        log = await store.load("one")
        rebuilt = rebuild(flow.plan, "one", log.records).run
        path = find_critical_path(rebuilt, trace.seconds or 0.0)
        assert (path.seconds, path.busy, path.measured) == pytest.approx((2.0, 2.0, 5.0))
        (activation,) = rebuilt.history
        did = explain_activation(activation, trace, [], Redaction()).did
        assert did[:2] == ["attempt 1 failed after 3 s: OSError: down", "wrote draft in 2 s"]
        (row,) = build_step_rows(log)[0]
        assert row.ended - row.began == pytest.approx(2.0)
        bars = [(bar.begin, bar.end) for bar in build_bars(trace, now())]
        assert bars == [pytest.approx((0.0, 3.0)), pytest.approx((3.0, 5.0))]

    run_virtual(main())


def test_pause_in_memory_is_no_time() -> None:
    """A run without a journal measures like one with a journal."""
    times = Times([(3.0, True), (2.0, False)])

    async def work(text: Text) -> Draft:
        await times.spend()
        return Draft(draft="done")

    async def main() -> None:
        flow = flow_of(work)
        with pytest.raises(RunFailed):
            await flow.run(Text(), run_id="one", clock=now)
        await asyncio.sleep(DAY)
        result = await flow.resume("one")
        assert result.seconds == pytest.approx(5.0)
        assert [step.seconds for step in result.steps] == pytest.approx([2.0])

    run_virtual(main())


@pytest.mark.parametrize("is_kept", [True, False])
def test_deadline_begins_anew_after_pause(is_kept: bool) -> None:
    """The deadline of a node does not pass while its run is stopped."""
    times = Times([(3.0, True), (4.0, False)])

    async def work(text: Text) -> Draft:
        await times.spend()
        return Draft(draft="done")

    async def main() -> None:
        flow = flow_of(work, deadline=5.0)
        options: dict[str, Any] = {"durable": MemoryStore()} if is_kept else {}
        with pytest.raises(RunFailed):
            await flow.run(Text(), run_id="one", clock=now, **options)
        await asyncio.sleep(DAY)
        assert (await flow.resume("one", clock=now, **options)).output.draft == "done"

    run_virtual(main())


def test_story_times_each_attempt_alone() -> None:
    """A failure tells how long its last attempt took, without those before and the pauses."""
    times = Times([(3.0, True), (0.25, True)])

    async def work(text: Text) -> Draft:
        await times.spend()
        return Draft()

    async def main() -> None:
        flow = flow_of(work, retry=Retry(2, first=1.0))
        with pytest.raises(RunFailed) as caught:
            await flow.run(Text(), clock=now)
        notes = str(caught.value) + "".join(
            note for error in caught.value.exceptions for note in getattr(error, "__notes__", ())
        )
        assert "attempt 1 failed after 3.000 s" in notes
        assert "attempt 2 failed after 0.250 s" in notes

    run_virtual(main())


def test_person_at_gate_takes_no_time_of_node() -> None:
    """A node waits a day for approval with a deadline of 5 s: the day is the question's."""

    async def work(text: Text) -> Draft:
        await asyncio.sleep(2.0)
        return Draft(draft="done")

    async def main() -> None:
        flow, store = flow_of(work, gate="before", deadline=5.0), MemoryStore()
        await flow.run(Text(), run_id="one", durable=store, clock=now)
        await asyncio.sleep(DAY)
        result = await flow.answer("one", "work", Approval(approved=True), durable=store, clock=now)
        trace = await read(store)
        assert result.output.draft == "done"
        assert spans_of(trace, "node") == [("ok", 2.0)]
        assert spans_of(trace, "ask") == [("ok", DAY)]
        assert spans_of(trace, "run") == [("waiting", 0.0), ("ok", 2.0)]
        assert result.seconds == trace.seconds == pytest.approx(2.0)

    run_virtual(main())


def test_gate_after_node_is_question_of_its_own() -> None:
    """A gate after a node leaves the node's time alone, also where the person refuses."""

    async def work(text: Text) -> Draft:
        await asyncio.sleep(2.0)
        return Draft(draft="done")

    async def main(answer: bool) -> Trace:
        flow, store = flow_of(work, gate="after"), MemoryStore()
        await flow.run(Text(), run_id="one", durable=store, clock=now)
        await asyncio.sleep(DAY)
        if answer:
            await flow.answer("one", "work", Approval(approved=True), durable=store, clock=now)
        else:
            with pytest.raises(RunFailed):
                await flow.answer("one", "work", Approval(approved=False), durable=store, clock=now)
        return await read(store)

    approved, refused = run_virtual(main(True)), run_virtual(main(False))
    assert spans_of(approved, "node") == [("ok", 2.0)]
    assert spans_of(approved, "ask") == [("ok", DAY)]
    assert spans_of(refused, "node") == [("ok", 2.0), ("failed", 0.0)]
    assert spans_of(refused, "ask") == [("failed", DAY)]


def test_question_of_node_is_time_of_person() -> None:
    """A question spans the pause, once; what is around it has a span per engagement."""

    async def main() -> None:
        inner = Graph("inner", State, input=Text, output=Verdict)
        ask = inner.ask("ask", question=lambda state: "Good?", answer=Verdict)
        outer = Graph("outer", State, input=Text, output=Verdict)
        flow = outer.chain(
            outer.sub(
                "inner",
                inner.chain(ask).build(),
                enter=lambda state: Text(text=state.text),
                leave=lambda verdict: verdict,
            )
        ).build()
        sink = Sent()
        store = Recorder(MemoryStore(), sink)
        await flow.run(Text(), run_id="one", durable=store, clock=now)
        await asyncio.sleep(DAY)
        await flow.answer("one", "inner/ask", Verdict(), durable=store, clock=now)
        trace = await read(store)
        store.stop()
        assert spans_of(trace, "ask") == [("ok", DAY)]
        assert spans_of(trace, "flow") == [("waiting", 0.0), ("ok", 0.0)]
        assert spans_of(trace, "run") == [("waiting", 0.0), ("ok", 0.0)]
        assert_sent_once(sink, trace)

    run_virtual(main())


def assert_sent_once(sink: Sent, trace: Trace) -> None:
    """Every span has reached the sink once, as it is in the end, with a parent that did too."""
    sent = {span.id: span for span in sink.spans}
    assert len(sent) == len(sink.spans)
    assert sent.keys() == {span.id for span in trace.spans if not span.is_copy}
    for span in trace.spans:
        if not span.is_copy:
            got = sent[span.id]
            assert (got.parent, got.status, got.began, got.seconds) == (
                (span.parent, span.status, span.began, span.seconds)
            )
            assert not span.parent or span.parent in sent
            assert span.link is None or sent[span.link[1]].engagement == span.link[0]
            assert not span.parent or sent[span.parent].engagement == span.engagement


def test_receiver_gets_resumed_run_under_new_ids() -> None:
    """No span is sent twice, and the last root says that the run succeeded."""
    times = Times([(1.0, True), (1.0, True), (1.0, False)])

    async def work(text: Text) -> Draft:
        await times.spend()
        return Draft(draft="done")

    async def main() -> None:
        sink = Sent()
        store = Recorder(MemoryStore(), sink)
        flow = flow_of(work)
        with pytest.raises(RunFailed):
            await fail_then_resume(flow, store)
        await asyncio.sleep(DAY)
        await flow.resume("one", durable=store, clock=now)
        trace = await read(store)
        store.stop()
        assert_sent_once(sink, trace)
        roots = [span for span in sink.spans if span.kind == "run"]
        assert [root.status for root in roots] == ["failed", "failed", "ok"]
        assert [root.link for root in roots] == [None, (1, roots[0].id), (2, roots[1].id)]
        assert len({trace.find_trace_id(root.engagement) for root in roots}) == 3

    run_virtual(main())


def test_kept_run_is_sent_to_its_end() -> None:
    """A run that was kept since it failed is sent on, though by its share it would not be."""
    times = Times([(1.0, True), (1.0, False)])

    async def work(text: Text) -> Draft:
        await times.spend()
        return Draft(draft="done")

    async def main() -> None:
        sink = Sent()
        store = Recorder(MemoryStore(), sink, sampling=Sampling(share=0.0))
        await fail_then_resume(flow_of(work), store)
        trace = await read(store)
        store.stop()
        assert_sent_once(sink, trace)

    run_virtual(main())


def test_run_that_is_kept_late_is_sent_whole() -> None:
    """A run that waited and then failed is sent with what came before the pause."""

    async def work(text: Text) -> Draft:
        raise OSError("down")

    async def main() -> None:
        graph = Graph("late", State, input=Text, output=Draft)
        ask = graph.ask("ask", question=lambda state: "Good?", answer=Verdict)
        flow = graph.chain(ask, node(work)).build()
        sink = Sent()
        store = Recorder(MemoryStore(), sink, sampling=Sampling(share=0.0))
        await flow.run(Text(), run_id="one", durable=store, clock=now)
        await asyncio.sleep(DAY)
        with pytest.raises(RunFailed):
            await flow.answer("one", "ask", Verdict(), durable=store, clock=now)
        trace = await read(store)
        store.stop()
        assert_sent_once(sink, trace)

    run_virtual(main())


def test_crashed_engagement_ends_at_last_sign() -> None:
    """What a crash interrupted ends when it was last heard of, and is sent by who takes it up."""

    async def first(text: Text) -> Draft:
        await asyncio.sleep(2.0)
        return Draft(draft="half")

    async def second(draft: Draft) -> Verdict:
        await asyncio.sleep(3.0)
        return Verdict()

    async def main() -> None:
        graph = Graph("crash", State, input=Text, output=Verdict)
        flow = graph.chain(node(first), node(effect="once")(second)).build()
        store = MemoryStore(clock=now)
        lost = asyncio.create_task(flow.run(Text(), run_id="one", durable=store, clock=now))
        await asyncio.sleep(4.0)
        log = await store.load("one")
        crashed = MemoryStore(clock=now)
        await copy_run(log.head, log.records, crashed)
        await lost
        sink = Sent()
        await asyncio.sleep(DAY)
        recorder = Recorder(crashed, sink)
        result = await flow.resume("one", durable=recorder, clock=now, ambiguous="repeat")
        trace = await read(recorder)
        recorder.stop()
        assert spans_of(trace, "run") == [("lost", 2.0), ("ok", 3.0)]
        assert spans_of(trace, "node") == [("ok", 2.0), ("lost", 0.0), ("ok", 3.0)]
        assert result.seconds == trace.seconds == pytest.approx(5.0)
        sent = {(span.kind, span.status) for span in sink.spans}
        assert {("run", "lost"), ("node", "lost"), ("run", "ok"), ("node", "ok")} <= sent

    run_virtual(main())


def test_map_continues_inside_of_new_span() -> None:
    """What a resume continues in a map lies in a new span of the map; finished items stay."""
    times = Times([(1.0, False), (1.0, True), (2.0, False)])

    async def work(text: Text) -> Draft:
        await times.spend()
        return Draft(draft="done")

    async def main() -> None:
        graph = Graph("outer", State, input=Text, output=Draft)
        each = graph.map(
            "each",
            flow_of(work),
            over=lambda state: [Text(text=name) for name in ("a", "b")],
            gather=lambda drafts: drafts[0],
            max_items=2,
            concurrency=1,
        )
        sink = Sent()
        store = Recorder(MemoryStore(), sink)
        await fail_then_resume(graph.chain(each).build(), store)
        trace = await read(store)
        store.stop()
        flows = [span for span in trace.spans if span.kind == "flow"]
        nodes = [span for span in trace.spans if span.kind == "node"]
        assert spans_of(trace, "flow") == [("failed", 2.0), ("ok", 2.0)]
        assert spans_of(trace, "node") == [("ok", 1.0), ("failed", 1.0), ("ok", 2.0)]
        assert [
            flows.index(span) for node in nodes for span in flows if span.id == node.parent
        ] == [
            0,
            0,
            1,
        ]
        assert_sent_once(sink, trace)

    run_virtual(main())


def test_fork_begins_when_it_begins() -> None:
    """A rerun counts from its own beginning, and what it took over is not its time."""
    times = Times([(3.0, False), (2.0, False)])

    async def work(text: Text) -> Draft:
        await times.spend()
        return Draft(draft="done")

    async def main() -> None:
        flow, store = flow_of(work), MemoryStore()
        await flow.run(Text(), run_id="one", durable=store, clock=now)
        await asyncio.sleep(DAY)
        again = await flow.rerun("one", start="work", durable=store, clock=now)
        log = await store.load(again.result.run_id)
        trace = build_trace(log.head, log.records)
        assert again.result.seconds == trace.seconds == pytest.approx(2.0)
        assert trace.began == pytest.approx(BASE + DAY + 3.0)

    run_virtual(main())


def as_written_before(records: Sequence[Record]) -> list[Record]:
    """Return records as formats before 4 have them: engagements are not marked."""
    began: dict[str, float] = {}
    old: list[Record] = []
    for record in records:
        body = dict(record.body)
        if record.kind == "continued":
            continue
        if record.kind == "ended":
            del body["at"]
        body.pop("attempt", None) if record.kind == "commit" else None
        if "began" in body and "id" in body:
            body["began"] = began.setdefault(body["id"], body["began"])
        old.append(Record(len(old) + 1, record.kind, body))
    return old


def test_older_journal_has_no_pauses_either() -> None:
    """Records of older formats give the same times, as far as they tell them."""
    times = Times([(3.0, True), (1.0, True), (2.0, False)])

    async def work(text: Text) -> Draft:
        await times.spend()
        return Draft(draft="done")

    async def main() -> None:
        flow, store = flow_of(work), MemoryStore()
        with pytest.raises(RunFailed):
            await fail_then_resume(flow, store)
        await asyncio.sleep(DAY)
        await flow.resume("one", durable=store, clock=now)
        log = await store.load("one")
        present = build_trace(log.head, log.records)
        older = as_written_before(log.records)
        past = build_trace(log.head, older)
        for kind in ("run", "node", "attempt"):
            assert spans_of(past, kind) == spans_of(present, kind)
        assert [span.id for span in past.spans] == [span.id for span in present.spans]
        assert past.seconds == present.seconds == pytest.approx(6.0)
        rebuilt = rebuild(flow.plan, "one", older)
        (activation,) = rebuilt.run.history
        assert activation.ended_at - activation.started_at == pytest.approx(2.0)
        assert rebuilt.engagements.seconds == pytest.approx(6.0)

    run_virtual(main())

"""Runs that rest in a long pause before a retry, and go on when it is over or something comes."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from graphorch import Context, Flow, Graph, InputError, Limits, Retry, RunFailed, append, node
from graphorch.engine.replay import verify
from graphorch.journal.due_times import find_due_runs
from graphorch.journal.memory import MemoryStore
from graphorch.runs.durable import cancel
from graphorch.testing import run_virtual, virtual_now
from tests.scenarios.crashed_copies import copy_run

HOUR = 3600.0


class Log(BaseModel):
    log: Annotated[list[str], append] = []


class Verdict(BaseModel):
    verdict: str = ""


class Topic(BaseModel):
    topic: str = "tides"


class State(Log, Verdict, Topic): ...


AnyFlow = Flow[State, State, State]


@node(retry=Retry(3, first=2 * HOUR, factor=2.0, longest=8 * HOUR))
async def fetch(ctx: Context[list[str]], topic: Topic) -> Log:
    ctx.resources.append("fetch")
    if ctx.resources.count("fetch") < 3:
        raise ConnectionError("busy")
    return Log(log=["fetched"])


@node
async def act(ctx: Context[list[str]], verdict: Verdict) -> Log:
    ctx.resources.append(f"act {verdict.verdict}")
    return Log(log=["acted"])


@node
async def end(ctx: Context[list[str]], topic: Topic) -> None:
    ctx.resources.append("end")


def build_alone() -> AnyFlow:
    return Graph("alone", State).chain(fetch, end).build()


def build_asking() -> AnyFlow:
    graph = Graph("asking", State)
    ask = graph.ask("ask", question=lambda state: "go?", answer=Verdict)
    return graph.chain([fetch, ask], end).chain(ask, act, end).build()


def build_inside(kind: str) -> AnyFlow:
    inner: Any = Graph("inner", State).chain(fetch).build()
    graph = Graph(kind, State)
    if kind == "map":
        step: Any = graph.map(
            "each",
            inner,
            over=lambda state: [State(), State()],
            gather=lambda states: Log(log=[text for each in states for text in each.log]),
            max_items=2,
        )
    else:
        step = graph.sub("inside", inner, enter=lambda state: State(), leave=keep_log)
    return graph.chain(step, end).build()


def keep_log(state: State) -> Log:
    return Log(log=state.log)


def options_of(store: MemoryStore, ran: list[str]) -> dict[str, Any]:
    return {"durable": store, "resources": ran, "clock": virtual_now}


async def go_on(flow: AnyFlow, store: MemoryStore, ran: list[str], result: Any) -> Any:
    """Resume a run each time that it is due, to its end."""
    while result.status == "waiting":
        assert result.due is not None
        await asyncio.sleep(result.due - virtual_now() + 1)
        result = await flow.resume("r", **options_of(store, ran))
    return result


def test_run_rests_in_long_pause() -> None:
    """A run with nothing to do but wait for a retry hours away returns as waiting until then."""
    flow, ran = build_alone(), list[str]()

    async def main() -> None:
        store, began = MemoryStore(), virtual_now()
        result = await flow.run(State(), run_id="r", **options_of(store, ran))
        assert virtual_now() - began < 1
        assert (result.status, result.end_reason) == ("waiting", "waiting")
        [wait] = result.waits
        assert (wait.path, wait.is_retry, wait.due) == ("fetch", True, result.due)
        assert result.due is not None
        assert HOUR <= result.due - began <= 2 * HOUR
        assert [(step.path, step.status) for step in result.steps] == [("fetch", "waiting")]
        with pytest.raises(InputError, match="'fetch' waits for its next attempt"):
            _ = result.output
        log = await store.load("r")
        assert (log.head.status, log.head.lease) == ("waiting", None)
        assert log.records[-1].body["due"] == result.due
        assert not (await find_due_runs(store, "alone", result.due - 1)).runs
        assert len((await find_due_runs(store, "alone", result.due)).runs) == 1
        result = await go_on(flow, store, ran, result)
        assert ran == ["fetch", "fetch", "fetch", "end"]
        assert result.output.log == ["fetched"]
        verify(flow.plan, "r", (await store.load("r")).records)

    run_virtual(main())


def test_resume_before_its_time_rests_again() -> None:
    """A resume waits for the rest of the pause, so the run rests again, until the same time."""
    flow, ran = build_alone(), list[str]()

    async def main() -> None:
        store = MemoryStore()
        first = await flow.run(State(), run_id="r", **options_of(store, ran))
        await asyncio.sleep(HOUR / 2)
        again = await flow.resume("r", **options_of(store, ran))
        assert (again.status, again.due) == ("waiting", first.due)
        assert ran == ["fetch"]

    run_virtual(main())


@pytest.mark.parametrize("waiting", [None, 4 * HOUR])
def test_short_pause_is_waited_for(waiting: float | None) -> None:
    """A pause that is no longer than the limit, or any without a limit, keeps the run under way."""
    flow, ran = build_alone(), list[str]()

    async def main() -> None:
        limits = Limits(waiting=waiting)
        result = await flow.run(State(), limits=limits, **options_of(MemoryStore(), ran))
        assert result.status == "succeeded"

    run_virtual(main())


def test_run_in_memory_rests_in_pause() -> None:
    """A run in memory rests, too, and is resumed from there."""
    flow, ran = build_alone(), list[str]()

    async def main() -> None:
        result: Any = await flow.run(State(), run_id="r", resources=ran, clock=virtual_now)
        while result.status == "waiting":
            await asyncio.sleep(5 * HOUR)
            result = await flow.resume("r")
        assert ran == ["fetch", "fetch", "fetch", "end"]

    run_virtual(main())


def test_other_branches_go_on_first() -> None:
    """The run rests once nothing else runs; a pause that is short by then is waited for."""

    @node
    async def slow(ctx: Context[list[str]], topic: Topic) -> Log:
        await asyncio.sleep(HOUR)
        ctx.resources.append("slow")
        return Log(log=["slow"])

    flow = Graph("slow", State).chain([fetch, slow], end).build()
    ran: list[str] = []

    async def main() -> None:
        store, began = MemoryStore(), virtual_now()
        result = await flow.run(State(), run_id="r", **options_of(store, ran))
        assert ran == ["fetch", "slow"]
        assert HOUR <= virtual_now() - began < HOUR + 1
        result = await go_on(flow, store, ran, result)
        assert result.output.log == ["fetched", "slow"]

    run_virtual(main())


@pytest.mark.parametrize("by_letter", [False, True])
def test_answer_acts_at_once_in_pause(by_letter: bool) -> None:
    """What comes to a run that rests in a pause is not held up by it; then the run rests again."""
    flow, ran = build_asking(), list[str]()

    async def main() -> None:
        store = MemoryStore()
        first = await flow.run(State(), run_id="r", **options_of(store, ran))
        assert [question.path for question in first.questions] == ["ask"]
        assert [wait.path for wait in first.waits] == ["fetch"]
        answer = Verdict(verdict="yes")
        if by_letter:
            await flow.send_answer("r", "ask", answer, durable=store, wait=False)
            result: Any = await flow.resume("r", **options_of(store, ran))
        else:
            result = await flow.answer("r", "ask", answer, **options_of(store, ran))
        assert ran == ["fetch", "act yes"]
        assert (result.status, result.due) == ("waiting", first.due)
        result = await go_on(flow, store, ran, result)
        assert sorted(result.output.log) == ["acted", "fetched"]
        assert ran.count("fetch") == 3
        verify(flow.plan, "r", (await store.load("r")).records)

    run_virtual(main())


@pytest.mark.parametrize("kind", ["sub-flow", "map"])
def test_pause_inside_rests_run(kind: str) -> None:
    """A node inside of a sub-flow or map that pauses lets the whole run rest."""
    flow, ran = build_inside(kind), list[str]()

    async def main() -> None:
        store = MemoryStore()
        result = await flow.run(State(), run_id="r", **options_of(store, ran))
        assert result.status == "waiting"
        result = await go_on(flow, store, ran, result)
        assert result.status == "succeeded"
        assert ran.count("end") == 1

    run_virtual(main())


def test_timer_comes_before_pause() -> None:
    """Of a timer and a pause the earlier time is due."""
    graph = Graph("timed", State)
    timer = graph.timer("soon", after=timedelta(minutes=30))
    flow, ran = graph.chain([fetch, timer], end).chain(timer, act, end).build(), list[str]()

    async def main() -> None:
        store, began = MemoryStore(), virtual_now()
        result = await flow.run(State(), run_id="r", **options_of(store, ran))
        assert result.due == pytest.approx(began + 1800, abs=1)
        assert sorted(wait.path for wait in result.waits) == ["fetch", "soon"]
        result = await go_on(flow, store, ran, result)
        assert ran == ["fetch", "act ", "fetch", "fetch", "end"]

    run_virtual(main())


def test_deadline_of_map_comes_before_pause() -> None:
    """A deadline around the pause is due before it."""
    inner = Graph("inner", State).chain(fetch).build()
    graph = Graph("late", State)
    sub = graph.sub("inside", inner, enter=lambda s: State(), leave=keep_log, deadline=1800.0)
    graph.chain(sub, end)
    graph.on_error(sub, act)
    flow, ran = graph.build(), list[str]()

    async def main() -> None:
        store, began = MemoryStore(), virtual_now()
        result = await flow.run(State(), run_id="r", **options_of(store, ran))
        assert result.status == "waiting"
        assert result.due == pytest.approx(began + 1800, abs=1)
        await asyncio.sleep(1801)
        result = await flow.resume("r", **options_of(store, ran))
        assert (result.status, ran) == ("succeeded", ["fetch", "act "])

    run_virtual(main())


def test_node_with_deadline_is_waited_for() -> None:
    """The pauses of a node count against its own deadline, so the run stays under way."""

    @node(retry=Retry(2, first=2 * HOUR, longest=2 * HOUR), deadline=30 * HOUR)
    async def call(ctx: Context[list[str]], topic: Topic) -> Log:
        ctx.resources.append("call")
        if len(ctx.resources) < 2:
            raise ConnectionError("busy")
        return Log(log=["called"])

    flow = Graph("own", State).chain(call).build()

    async def main() -> None:
        result = await flow.run(State(), **options_of(MemoryStore(), []))
        assert result.status == "succeeded"

    run_virtual(main())


@pytest.mark.parametrize("with_flow", [True, False])
def test_run_in_pause_is_cancelled(with_flow: bool) -> None:
    """A run that rests in a pause is cancelled for good, with its flow or without."""
    flow, ran = build_alone(), list[str]()

    async def main() -> None:
        store = MemoryStore()
        await flow.run(State(), run_id="r", **options_of(store, ran))
        if with_flow:
            await flow.cancel("r", durable=store)
        else:
            await cancel(store, "r", virtual_now())
        log = await store.load("r")
        assert log.head.status == "cancelled"
        assert verify(flow.plan, "r", log.records).run.status == "cancelled"

    run_virtual(main())


def test_fork_of_run_in_pause_begins_anew() -> None:
    """A fork takes over no pause: what waited for it runs at once."""
    flow, ran = Graph("fork", State).chain(act, [fetch, end]).build(), list[str]()

    async def main() -> None:
        store = MemoryStore()
        await flow.run(State(), run_id="r", **options_of(store, ran))
        ran.clear()
        again = await flow.rerun("r", start="end", run_id="f", **options_of(store, ran))
        assert again.result.status == "waiting"
        assert sorted(ran) == ["end", "fetch"]

    run_virtual(main())


@pytest.mark.parametrize("build", [build_alone, build_asking, lambda: build_inside("map")])
def test_killed_run_in_pause_loses_nothing(build: Any) -> None:
    """Killed after any record, a run waits for the rest of its pause, and repeats no attempt."""
    flow = build()

    async def main() -> None:
        store, ran = MemoryStore(), list[str]()
        result = await flow.run(State(), run_id="r", **options_of(store, ran))
        if result.questions:
            answer = Verdict(verdict="yes")
            result = await flow.answer("r", "ask", answer, **options_of(store, ran))
        result = await go_on(flow, store, ran, result)
        log = await store.load("r")
        for length in range(1, len(log.records)):
            other = MemoryStore()
            await copy_run(log.head, log.records[:length], other)
            before = verify(flow.plan, "r", log.records[:length]).run
            failures = sum(record.kind == "failed" for record in log.records[:length])
            committed = {item.path for item in before.history}
            again = ["fetch"] * failures
            found: Any = None
            with suppress(RunFailed):
                found = await flow.resume("r", **options_of(other, again))
            if found.questions:
                found = await flow.answer(
                    "r", "ask", Verdict(verdict="yes"), **options_of(other, again)
                )
            found = await go_on(flow, other, again, found)
            assert found.status == "succeeded", length
            assert sorted(found.output.log) == sorted(result.output.log), length
            if "end" in committed:
                assert "end" not in again[failures:], length

    run_virtual(main())

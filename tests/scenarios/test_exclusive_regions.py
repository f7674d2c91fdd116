"""Exclusive regions of runs: nothing overlaps, whatever becomes of the run and its process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from graphorch import END, START, Context, Flow, Graph, Limits, Retry, RunFailed, node
from graphorch.core.invariants import check_invariants
from graphorch.engine.replay import rebuild
from graphorch.journal.memory import MemoryStore
from graphorch.journal.store import Store
from graphorch.testing import run_virtual
from graphorch.trace.analysis.explain import explain_turn, find_activations
from graphorch.trace.spans.builder import build_trace
from graphorch.views.runs.timeline import build_bars
from tests.scenarios.crashed_copies import copy_run
from tests.scenarios.rooms import Log, Number, Room, member


class Choice(BaseModel):
    approved: bool = False


class State(Log, Number, Choice): ...


AnyFlow = Flow[Any, Any, Any]


def make_branches(*names: str, **options: Any) -> AnyFlow:
    """Return a flow of branches, all of which are in one region."""
    graph = Graph("branches", State)
    members = [member(name, **options) for name in names]
    return graph.chain(START, members, END).exclusive("db", members).build()


def make_nested() -> AnyFlow:
    """Return a flow whose region is that of a sub-flow, of the items of a map and of a node."""
    inner = Graph("inner", State)
    write = member("write")
    flow = inner.chain(START, write, END).exclusive("db", [write]).build()
    graph = Graph("nested", State)
    team = graph.sub("team", flow, enter=lambda state: State(), leave=keep_log)
    each = graph.map("each", flow, over=list_items, gather=gather_logs, max_items=5, concurrency=5)
    alone = member("alone")
    graph.chain(START, [team, each, alone], END).exclusive("db", [alone])
    return graph.build()


def keep_log(state: State) -> Log:
    return Log(log=state.log)


def list_items(number: Number) -> list[State]:
    return [State(n=at) for at in range(3)]


def gather_logs(states: list[State]) -> Log:
    return Log(log=["+".join(state.log) for state in states])


def make_asking() -> AnyFlow:
    """Return a flow of a node, a question and a node behind a gate, all in one region."""
    graph = Graph("asking", State)
    ask = graph.ask("ask", question=lambda number: "Well?", answer=Choice)
    members = [member("a"), ask, member("gated", gate="before")]
    return graph.chain(START, members, END).exclusive("db", members).build()


FLOWS: dict[str, Callable[[], AnyFlow]] = {
    "branches": lambda: make_branches("a", "b", "c"),
    "nested": make_nested,
    "asking": make_asking,
}


async def go(flow: AnyFlow, room: Room, store: Store, *, begin: bool) -> Any:
    """Begin or resume run `r`, and answer what it asks, until it is over."""
    options = {"durable": store, "resources": room}
    result = await (
        flow.run(State(), run_id="r", **options) if begin else flow.resume("r", **options)
    )
    while result.status == "waiting":
        question = result.questions[0]
        answer = question.answer_type(approved=True)
        result = await flow.answer("r", question, answer, **options)
    return result


async def record(flow: AnyFlow) -> tuple[MemoryStore, Any]:
    store = MemoryStore()
    return store, await go(flow, Room(), store, begin=True)


# ---- the run -------------------------------------------------------------------------------------
@pytest.mark.parametrize("durable", [False, True])
def test_members_run_one_after_the_other(durable: bool) -> None:
    """Branches in a region take as long as all of them, and their result is in canonical order."""

    async def main() -> None:
        room, store = Room(), MemoryStore() if durable else False
        began = asyncio.get_running_loop().time()
        result = await make_branches("a", "b", "c").run(State(), resources=room, durable=store)
        assert asyncio.get_running_loop().time() - began == pytest.approx(3.0)
        assert room.visits == result.output.log == ["a", "b", "c"]

    run_virtual(main())


def test_pause_before_retry_keeps_others_out() -> None:
    """A member that is tried again keeps its region through the pause."""
    failures = [OSError("down")]

    @node(retry=Retry(attempts=2, first=5.0))
    async def a(ctx: Context[Room], number: Number) -> Log:
        await ctx.resources.visit("a")
        if failures:
            raise failures.pop()
        return Log(log=["a"])

    async def main() -> None:
        room, graph = Room(), Graph("retries", State)
        b = member("b")
        flow = graph.chain(START, [a, b], END).exclusive("db", [a, b]).build()
        await flow.run(State(), resources=room)
        assert room.visits == ["a", "a", "b"]

    run_virtual(main())


def test_held_node_takes_no_slot() -> None:
    """What waits for its turn does not count towards the limit on nodes that run at once."""

    async def main() -> None:
        room, graph = Room(), Graph("slots", State)

        @node
        async def free(number: Number) -> Number:
            return Number(n=1)

        members = [member("a"), member("b")]
        graph.chain(START, [*members, free], END).exclusive("db", members)
        result = await graph.build().run(State(), resources=room, limits=Limits(concurrency=2))
        assert [step.path for step in result.steps] == ["free", "a", "b"]

    run_virtual(main())


def test_deadline_begins_with_the_turn() -> None:
    """What waited longer for its region than its deadline is not late."""

    async def main() -> None:
        room = Room()
        await make_branches("a", "b", "c", deadline=1.5).run(State(), resources=room)
        assert room.visits == ["a", "b", "c"]

    run_virtual(main())


@pytest.mark.parametrize("name", FLOWS)
def test_records_tell_how_long_a_node_was_held(name: str) -> None:
    """A record says since when a node waited for its region, and when it began."""

    async def main() -> None:
        store, _ = await record(FLOWS[name]())
        log = await store.load("r")
        commits = [item.body for item in log.records if item.kind == "commit"]
        held = [body for body in commits if "held" in body]
        assert held
        assert all(body["held"] < body["began"] for body in held)

    run_virtual(main())


# ---- replays, crashes and forks ------------------------------------------------------------------
@pytest.mark.parametrize("name", FLOWS)
def test_every_prefix_is_replayed(name: str) -> None:
    """After each record the run is rebuilt with the same turns, and its whole is verified."""

    async def main() -> None:
        flow = FLOWS[name]()
        store, result = await record(flow)
        assert (await flow.replay("r", durable=store)).state == result.state
        log = await store.load("r")
        for until in range(1, len(log.records) + 1):
            run = rebuild(flow.plan, "r", log.records, until=until).run
            check_invariants(run)

    run_virtual(main())


@pytest.mark.parametrize("name", FLOWS)
def test_killed_run_loses_and_repeats_nothing(name: str) -> None:
    """Killed after any record and resumed, members never overlap and what is committed stays."""

    async def main() -> None:
        flow = FLOWS[name]()
        store, whole = await record(flow)
        log = await store.load("r")
        for count in range(1, len(log.records) + 1):
            copy, room = MemoryStore(), Room()
            await copy_run(log.head, log.records[:count], copy)
            result = await go(flow, room, copy, begin=False)
            assert result.output == whole.output
            done = {item.body["path"] for item in log.records[:count] if item.kind == "commit"}
            assert done.isdisjoint(room.visits)

    run_virtual(main())


def test_failed_holder_goes_first_when_resumed() -> None:
    """A member that failed keeps its region until the run is resumed, which repeats it first."""
    failures = [OSError("down")]

    @node
    async def a(ctx: Context[Room], number: Number) -> Log:
        await ctx.resources.visit("a")
        if failures:
            raise failures.pop()
        return Log(log=["a"])

    async def main() -> None:
        room, store, graph = Room(), MemoryStore(), Graph("fails", State)
        b = member("b")
        flow = graph.chain(START, [a, b], END).exclusive("db", [a, b]).build()
        with pytest.raises(RunFailed):
            await flow.run(State(), run_id="r", durable=store, resources=room)
        await flow.resume("r", durable=store, resources=room)
        assert room.visits == ["a", "a", "b"]

    run_virtual(main())


@pytest.mark.parametrize("name", FLOWS)
def test_fork_at_every_node_keeps_region(name: str) -> None:
    """A fork that repeats any node takes over what is true all the same, and nothing overlaps."""

    async def main() -> None:
        flow = FLOWS[name]()
        store, whole = await record(flow)
        for number, step in enumerate(whole.steps):
            if step.node == "ask":
                continue
            room = Room()
            options = {"durable": store, "resources": room, "run_id": f"fork{number}"}
            result = (await flow.rerun("r", start=step.path, **options)).result
            while result.status == "waiting":
                question = result.questions[0]
                answer = question.answer_type(approved=True)
                result = await flow.answer(
                    result.run_id, question, answer, durable=store, resources=room
                )
            assert result.output == whole.output
            await flow.replay(result.run_id, durable=store)

    run_virtual(main())


# ---- what people see -----------------------------------------------------------------------------
def test_held_node_says_what_it_waits_for() -> None:
    """A node that is held names its region and what is in it."""

    async def main() -> None:
        graph, store = Graph("asking", State), MemoryStore()
        ask = graph.ask("ask", question=lambda number: "Well?", answer=Choice)
        a = member("a")
        flow = graph.chain(START, [ask, a], END).exclusive("db", [ask, a]).build()
        await flow.run(State(), run_id="r", durable=store, resources=Room())
        run = rebuild(flow.plan, "r", (await store.load("r")).records).run
        (held,) = find_activations(run, "a")
        assert list(explain_turn(held, run)) == [
            "waits for its turn in 'db': 'ask' is waiting for a person"
        ]

    run_virtual(main())


def test_node_tells_how_long_it_was_held() -> None:
    """A node that had its turn tells how long it waited for it."""

    async def main() -> None:
        store, flow = MemoryStore(), make_branches("a", "b")
        clock = asyncio.get_running_loop().time
        await asyncio.sleep(1.0)
        await flow.run(State(), run_id="r", durable=store, resources=Room(), clock=clock)
        run = rebuild(flow.plan, "r", (await store.load("r")).records).run
        turns = [list(explain_turn(item, run)) for item in run.history]
        assert turns == [[], ["waited 1 s for its turn in 'db'"]]

    run_virtual(main())


def test_bar_tells_how_long_its_node_was_held() -> None:
    """On a timeline the bar of a member begins with its turn, and says how long it waited."""

    async def main() -> None:
        store, flow = MemoryStore(), make_branches("a", "b", "c")
        clock = asyncio.get_running_loop().time
        await asyncio.sleep(1.0)
        await flow.run(State(), run_id="r", durable=store, resources=Room(), clock=clock)
        log = await store.load("r")
        trace = build_trace(log.head, log.records)
        spans = {span.path: span for span in trace.spans if span.is_activation}
        assert [round(span.held, 3) for span in spans.values()] == [0.0, 1.0, 2.0]
        bars = {bar.name: bar for bar in build_bars(trace, clock())}
        assert [round(bars[name].begin, 3) for name in "abc"] == [0.0, 1.0, 2.0]
        assert [bars[name].remark for name in "abc"] == ["", "held 1.0 s", "held 2.0 s"]
        assert "waited 2.0 s for its turn" in bars["c"].hint

    run_virtual(main())

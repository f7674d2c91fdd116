"""Sixteen kinds of mistakes that graph engines have made, each with a test that forbids it."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from graphorch import (
    Ended,
    Flow,
    Graph,
    GraphError,
    InputError,
    JournalError,
    Limits,
    Node,
    RunFailed,
    append,
    node,
)
from graphorch.journal.memory import MemoryStore
from graphorch.testing import Drawn, FailNth, Schedule, check_flow, flows, run_under, run_virtual
from tests.scenarios.flows import FLOWS, Ledger, to_the_end
from tests.scenarios.flows import State as Ten


class Number(BaseModel):
    n: int = 0


class Log(BaseModel):
    log: Annotated[list[str], append] = []


class Replies(BaseModel):
    replies: Annotated[list[str], append] = []


class Rows(BaseModel):
    rows: list[list[int]] = []


class State(Number, Log, Replies): ...


AnyFlow = Flow[Any, Any, Any]


def says(name: str, seconds: float = 0.0) -> Node[Any]:
    @node(name=name)
    async def say(number: Number) -> Log:
        await asyncio.sleep(seconds)
        return Log(log=[f"{name}{number.n}"])

    return say


def up(name: str = "up") -> Node[Any]:
    @node(name=name)
    async def count(number: Number) -> Number:
        return Number(n=number.n + 1)

    return count


# ---- 1 ------------------
@settings(max_examples=40)
@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=5), min_size=1, max_size=5))
def test_fast_branch_is_not_held_up(lanes: list[list[int]]) -> None:
    """The time of a run is that of its longest lane, whatever the lanes do step by step."""
    graph, begin, end = Graph("lanes", State), up("begin"), says("end")
    for at, times in enumerate(lanes):
        graph.chain(
            begin, *[says(f"l{at}s{step}", seconds) for step, seconds in enumerate(times)], end
        )
    flow = graph.build()

    async def main() -> float:
        await flow.run(State())
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) == max(map(sum, lanes))


# ---- 2 ------------------
@settings(max_examples=40)
@given(flows(), st.integers(0, 1000))
def test_join_waits_for_taken_branches(flow: Any, seed: int) -> None:
    """A join waits for every branch that was taken, and for no other.

    A join that waited in vain would be a deadlock, which the virtual clock reports. A join that
    fired early would lose what came late.
    """
    result = run_under(Schedule(seed), flow, Drawn())
    calm = run_under(Schedule(0, longest=0.0), flow, Drawn())
    assert result.status == "succeeded"
    assert result.state == calm.state


# ---- 3 ------------------
@pytest.mark.parametrize("rounds", [1, 2, 7])
def test_join_in_loop_each_iteration(rounds: int) -> None:
    """A join in a loop is right in every round."""
    graph, head, tail = Graph("g", State), up("head"), says("tail")
    graph.chain(head, [says("slow", 3), says("fast", 1)], tail)
    graph.chain(head, says("a"), says("b"), tail)
    graph.loop(tail, back_to=head, while_=lambda s: s.n < rounds, max_iterations=rounds)
    log = run_virtual(graph.build().run(State())).state.log
    assert Counter(log) == Counter(
        f"{name}{at}" for at in range(1, rounds + 1) for name in ("slow", "fast", "a", "b", "tail")
    )


# ---- 4 ------------------
class Row(BaseModel):
    row: list[int] = []


class Cell(BaseModel):
    cell: int = 0


class Cells(BaseModel):
    cells: list[int] = []


class RowState(Row, Cells): ...


class Table(Rows, Cells): ...


@node
async def twice(cell: Cell) -> Cell:
    await asyncio.sleep(cell.cell % 3)
    return Cell(cell=cell.cell * 2)


def gathered(items: list[Cell]) -> Cells:
    return Cells(cells=[cell.cell for cell in items])


def flattened(rows: list[Cells]) -> Cells:
    return Cells(cells=[cell for cells in rows for cell in cells.cells])


@settings(max_examples=40)
@given(st.lists(st.lists(st.integers(0, 99), max_size=5), max_size=5), st.integers(0, 99))
def test_nested_map_keeps_every_value(rows: list[list[int]], seed: int) -> None:
    """A map in a map neither loses nor doubles a value."""
    inner = Graph("row", RowState, input=Row, output=Cells)
    inner.chain(
        inner.map(
            "cells",
            twice,
            over=lambda s: [Cell(cell=number) for number in s.row],
            gather=gathered,
            max_items=9,
            concurrency=2,
        )
    )
    graph = Graph("table", Table)
    graph.chain(
        graph.map(
            "rows",
            inner.build(),
            over=lambda s: [Row(row=row) for row in s.rows],
            gather=flattened,
            max_items=9,
            concurrency=3,
        )
    )
    result = run_under(Schedule(seed), graph.build(), Table(rows=rows))
    assert result.state.cells == [cell * 2 for row in rows for cell in row]


# ---- 5 ------------------
@pytest.mark.parametrize("name", ["diamond", "loop_with_join", "mapped_flows"])
def test_waiting_tokens_survive_lost_process(name: str) -> None:
    """A value that waits at a join survives a lost process at every event.

    The run is cut off after each record of its journal, and resumed with a new flow object.
    """
    calm = run_virtual(to_the_end(FLOWS[name](), "r", True, resources=Ledger()))

    async def main(n: int) -> tuple[FailNth, Any]:
        store, fault = MemoryStore(clock=lambda: asyncio.get_running_loop().time()), FailNth(n)
        with_fault: Any = fault.store(store)
        try:
            return fault, await to_the_end(
                FLOWS[name](), "r", True, durable=with_fault, resources=Ledger()
            )
        except JournalError:
            await asyncio.sleep(60)
        begin = not (await store.list_runs()).runs or not (await store.load("r")).records
        return fault, await to_the_end(FLOWS[name](), "r", begin, durable=store, resources=Ledger())

    fault, n = FailNth(0), 0
    while n == 0 or fault.has_fired:
        n += 1
        fault, result = run_virtual(main(n))
        assert result.state == calm.state
    assert n > 10


# ---- 6 and 7 ------------------
def panel(count: int, rounds: int) -> AnyFlow:
    graph, head, tail = Graph("panel", State), up("head"), says("tail")
    asks: list[Any] = [
        graph.ask(f"ask{at}", question=lambda s: f"round {s.n}", answer=Replies)
        for at in range(count)
    ]
    graph.chain(head, asks, tail)
    graph.loop(tail, back_to=head, while_=lambda s: s.n < rounds, max_iterations=rounds)
    return graph.build()


async def answer_in(flow: AnyFlow, order: Any, durable: bool) -> Any:
    options: Any = {"durable": MemoryStore()} if durable else {}
    result = await flow.run(State(), run_id="r", **options)
    while result.status == "waiting":
        open_ = sorted(result.questions, key=lambda question: question.node)
        question = open_[order(len(open_))]
        result = await flow.answer(
            "r", question.id, Replies(replies=[f"{question.node} in {question.text}"]), **options
        )
    return result


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_pauses_are_answered_in_any_order(order: tuple[int, ...], durable: bool) -> None:
    """Several pauses at once are answered in every order."""
    left = list(range(4))

    def next_of(count: int) -> int:
        chosen = order[4 - count]
        at = left.index(chosen)
        left.remove(chosen)
        return at

    result = run_virtual(answer_in(panel(4, 1), next_of, durable))
    assert result.state.replies == [f"ask{at} in round 1" for at in range(4)]


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_pauses_differ_by_iteration(seed: int, durable: bool) -> None:
    """Pauses in later iterations of a loop are other questions."""
    result = run_virtual(answer_in(panel(3, 4), random.Random(seed).randrange, durable))
    assert result.state.replies == [
        f"ask{at} in round {round_}" for round_ in range(1, 5) for at in range(3)
    ]


# ---- 8 ------------------
def test_inner_loop_ends_alone() -> None:
    """The end of an inner loop does not end the outer one."""
    graph, outer, inner, tail = Graph("g", State), says("outer"), up("inner"), says("tail")
    graph.chain(outer, inner, tail)
    graph.loop(inner, back_to=inner, while_=lambda s: True, max_iterations=5)
    graph.loop(tail, back_to=outer, while_=lambda s: True, max_iterations=5)
    assert run_virtual(graph.build().run(State())).state.n == 25


# ---- 9 ------------------
def test_node_runs_as_often_as_reached() -> None:
    """A node runs as often as it is reached."""
    graph, head, tail = Graph("g", State), up("head"), says("tail")

    def odd(number: Number) -> Literal["odd", "even"]:
        return "odd" if number.n % 2 else "even"

    graph.route(head, odd).when("odd", says("odd")).when("even", says("even")).exhaustive()
    graph.chain([graph.spec.nodes["odd"], graph.spec.nodes["even"]], tail)
    graph.loop(tail, back_to=head, while_=lambda s: s.n < 7, max_iterations=9)
    result = run_virtual(graph.build().run(State()))
    assert Counter(step.node for step in result.steps if step.status == "done") == Counter(
        head=7, tail=7, odd=4, even=3
    )


# ---- 10 ------------------
def test_undeclared_labels_are_refused() -> None:
    """A route without a target does not build, and an undeclared label fails the run."""

    def kind(number: Number) -> Literal["a", "b"]:
        return "c" if number.n else "a"  # type: ignore[return-value]

    open_ended = Graph("g", State)
    open_ended.route(up(), kind).when("a", says("a"))
    with pytest.raises(GraphError, match="'b'"):
        open_ended.build()
    graph = Graph("g", State)
    graph.route(up(), kind).when("a", says("a")).when("b", says("b")).exhaustive()
    flow = graph.build()
    with pytest.raises(RunFailed) as caught:
        run_virtual(flow.run(State()))
    assert "The selector 'kind' returned 'c', which leads nowhere" in str(caught.value)


# ---- 11 ------------------
def test_sibling_write_is_isolated() -> None:
    """A sibling's write is neither seen nor overwritten."""

    class Left(BaseModel):
        left: int = 0

    class Right(BaseModel):
        right: int = 0

    class Both(Number, Left, Right): ...

    seen: list[tuple[int, int]] = []

    @node
    async def left(state: Both) -> Left:
        await asyncio.sleep(1)
        seen.append((state.left, state.right))
        return Left(left=1)

    @node
    async def right(state: Both) -> Right:
        await asyncio.sleep(2)
        seen.append((state.left, state.right))
        return Right(right=2)

    result = run_virtual(Graph("g", Both).chain(up(), [left, right], up("end")).build().run(Both()))
    assert seen == [(0, 0), (0, 0)]
    assert (result.state.left, result.state.right) == (1, 2)
    with pytest.raises(GraphError, match="'n'"):
        Graph("g", Both).chain(says("begin").named("x"), [up("a"), up("b")]).build()


# ---- 12 ------------------
def test_route_is_not_decided_again() -> None:
    """A route is not decided again when a run is resumed."""
    asked: list[int] = []

    def way(number: Number) -> Literal["a", "b"]:
        asked.append(number.n)
        return "a" if len(asked) == 1 else "b"

    graph = Graph("g", State)
    fault = FailNth(2)
    graph.route(up(), way).when("a", says("a")).when("b", says("b")).exhaustive()
    flow = fault.nodes(graph.build())

    async def main() -> Any:
        store = MemoryStore()
        with pytest.raises(RunFailed):
            await flow.run(State(), durable=store, run_id="r")
        return await flow.resume("r", durable=store)

    assert run_virtual(main()).state.log == ["a1"]
    assert asked == [1]


# ---- 13 ------------------
@pytest.mark.parametrize("n", range(1, 6))
@pytest.mark.parametrize("policy", ["drain", "cancel", "isolate"])
def test_stream_ends_with_ended(n: int, policy: Any) -> None:
    """A stream ends with its end, whatever fails."""
    flow = FailNth(n).nodes(
        Graph("g", State).chain(up(), [says("a", 1), says("b", 2)], says("end")).build()
    )

    async def main() -> list[Any]:
        seen: list[Any] = []
        try:
            async for event in flow.stream(State(), on_failure=policy):
                seen.append(event)
        except RunFailed:
            pass
        return seen

    seen = run_virtual(main())
    assert isinstance(seen[-1], Ended)
    assert [isinstance(event, Ended) for event in seen].count(True) == 1


# ---- 14 ------------------
@pytest.mark.parametrize("name", FLOWS)
def test_single_steps_equal_one_run(name: str) -> None:
    """A run in single steps ends like a run in one go.

    Each step is a run that is stopped by its limit and resumed: the most interrupted way to run.
    """
    flow = FLOWS[name]()
    calm = run_virtual(to_the_end(flow, "r", True, resources=Ledger()))

    async def main() -> tuple[Any, int]:
        allowed = 1
        going: Any = flow.run(Ten(), run_id="r", limits=Limits(activations=1), resources=Ledger())
        while True:
            try:
                result = await going
            except RunFailed as stopped:
                reason = stopped.end_reason
                allowed += reason == "limit:activations"
                going = flow.resume("r", limits=Limits(activations=allowed), resources=Ledger())
            else:
                if result.status != "waiting":
                    return result, allowed
                question = result.questions[0]
                answer = question.answer_type(approved=True)
                going = flow.answer(
                    "r", question, answer, limits=Limits(activations=allowed), resources=Ledger()
                )

    result, stops = run_virtual(main())
    assert result.state == calm.state
    assert {step.activation for step in result.steps} == {step.activation for step in calm.steps}
    assert stops >= 3


# ---- 15 ------------------
def variants() -> dict[str, AnyFlow]:
    looped = Graph("g", State)
    tail = says("b")
    looped.chain(up("a"), tail)
    looped.loop(tail, back_to=looped.spec.nodes["a"], while_=lambda s: False, max_iterations=2)
    return {
        "plain": Graph("g", State).chain(up("a"), says("b")).build(),
        "another node": Graph("g", State).chain(up("a"), says("b"), says("c")).build(),
        "another name": Graph("g", State).chain(up("a"), says("z")).build(),
        "another edge": Graph("g", State).chain([up("a"), says("b")]).build(),
        "a loop": looped.build(),
    }


@pytest.mark.parametrize(
    ("old", "new"),
    list(
        itertools.permutations(
            ["plain", "another node", "another name", "another edge", "a loop"], 2
        )
    ),
)
def test_changed_graph_is_not_resumed_silently(old: str, new: str) -> None:
    """A changed graph is never resumed silently."""

    async def main() -> None:
        store = MemoryStore()
        with pytest.raises(RunFailed):
            await FailNth(1).nodes(variants()[old]).run(State(), durable=store, run_id="r")
        with pytest.raises((JournalError, InputError), match="is not the same graph"):
            await variants()[new].resume("r", durable=store)
        assert (await variants()[old].resume("r", durable=store)).status == "succeeded"

    run_virtual(main())


# ---- 16 ------------------
def test_falsy_values_are_values() -> None:
    """Zero and empty values are not taken for absent ones."""

    class Empty(BaseModel):
        zero: int = 5
        text: str = "x"
        flag: bool = True
        nothing: int | None = 5
        items: list[int] = [1]

    seen: list[int] = []

    @node
    async def clear(empty: Empty) -> Empty:
        return Empty(zero=0, text="", flag=False, nothing=None, items=[])

    @node
    async def look(empty: Empty) -> None:
        seen.append(empty.zero)

    async def main() -> Any:
        store = MemoryStore()
        flow = Graph("g", Empty).chain(clear, look).build()
        await flow.run(Empty(), durable=store, run_id="r")
        return await flow.replay("r", durable=store)

    assert run_virtual(main()).output == Empty(zero=0, text="", flag=False, nothing=None, items=[])
    assert seen == [0]

    graph, body = Graph("g", State), up("body")
    graph.chain(body, says("end"))
    graph.loop(body, back_to=body, while_=lambda s: False, max_iterations=1)
    assert run_virtual(graph.build().run(State(n=-1))).state.log == ["end0"]


def test_random_faults_together() -> None:
    """All of it together under random faults."""
    check_flow(
        panel(2, 3),
        State(),
        runs=24,
        durable=True,
        answers=lambda question: Replies(replies=[question.node]),
    )

"""Cases in which orchestrators differ, with a test for each, from building to resuming later."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import time
from datetime import UTC, datetime
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, field_validator

from graphorch import (
    END,
    Approval,
    Ask,
    Cache,
    Committed,
    Context,
    Ended,
    Failed,
    Failure,
    Flow,
    Graph,
    GraphError,
    InputError,
    LimitReached,
    Limits,
    LoopExhausted,
    Missing,
    Node,
    NodeError,
    QuestionAsked,
    QuorumNotMet,
    Retry,
    RunFailed,
    WrongOutput,
    append,
    node,
)
from graphorch.engine.report import RunReport
from graphorch.journal.memory import MemoryStore
from graphorch.testing import run_virtual


class Number(BaseModel):
    n: int = 0


class Log(BaseModel):
    log: Annotated[list[str], append] = []


class Note(BaseModel):
    note: str | None = ""


class Choice(BaseModel):
    approved: bool = False


class Items(BaseModel):
    items: list[Number] = []


class State(Number, Log, Note, Choice, Items): ...


AnyFlow = Flow[Any, Any, Any]


def says(name: str, seconds: float = 0.0, **options: Any) -> Node[Any]:
    """Return a node that takes some time, and writes its name and the number that it reads."""

    @node(name=name, **options)
    async def say(number: Number) -> Log:
        await asyncio.sleep(seconds)
        return Log(log=[f"{name}{number.n}"])

    return say


def up(name: str = "up") -> Node[Any]:
    @node(name=name)
    async def count(number: Number) -> Number:
        return Number(n=number.n + 1)

    return count


def fails(
    name: str, error: Exception, seconds: float = 0.0, times: int = 10**6, **options: Any
) -> Node[Any]:
    """Return a node that fails the first `times` times."""
    calls: list[int] = []

    @node(name=name, **options)
    async def fail(number: Number) -> Log:
        calls.append(1)
        await asyncio.sleep(seconds)
        if len(calls) <= times:
            raise error
        return Log(log=[name])

    return fail


def ran(result: Any) -> list[str]:
    return [step.path for step in result.steps if step.status == "done"]


def problems(graph: Graph[Any, Any, Any]) -> set[str]:
    with pytest.raises(GraphError) as caught:
        graph.build()
    return {problem.code for problem in caught.value.problems}


def failure(main: Any) -> RunFailed:
    with pytest.raises(RunFailed) as caught:
        run_virtual(main)
    return caught.value


def timed(main: Any) -> tuple[Any, float]:
    async def measured() -> tuple[Any, float]:
        return await main, asyncio.get_running_loop().time()

    return run_virtual(measured())


def parity(number: Number) -> Literal["even", "odd"]:
    return "odd" if number.n % 2 else "even"


def low(state: State) -> bool:
    return state.n < 3


def always(state: State) -> bool:
    return True


def joined_log(numbers: list[Number]) -> Log:
    return Log(log=["+".join(str(number.n) for number in numbers)])


def items(state: State) -> list[Number]:
    return state.items


def numbers(*values: int) -> State:
    return State(items=[Number(n=value) for value in values])


# ---- building ------------------
def test_edge_to_unknown_node() -> None:
    """An edge to an unknown node does not build."""
    graph: Any = Graph("g", State)
    assert problems(graph.chain(up(), "reveiw")) == {"NOT_A_NODE"}


def test_duplicate_node_name() -> None:
    """Two nodes of one name do not build."""
    assert "DUPLICATE_NAME" in problems(Graph("g", State).chain(says("a"), says("a")))


def test_graph_without_nodes() -> None:
    """A graph without nodes does not build."""
    assert problems(Graph("g", State))


def test_unconnected_node() -> None:
    """A node that was made and never connected does not build."""
    graph = Graph("g", State)
    graph.ask("forgotten", question=lambda s: "?", answer=Choice)
    graph.chain(up())
    assert problems(graph)


def test_label_without_target() -> None:
    """A label that leads nowhere does not build."""
    graph = Graph("g", State)
    graph.route(up(), parity).when("even", says("even"))
    assert problems(graph)


@pytest.mark.parametrize("name", ["a/b", "", "a\n"])
def test_node_name_unfit_for_path(name: str) -> None:
    """A name that a path could not hold is refused."""
    with pytest.raises(GraphError, match="is not a name for a node"):
        says("x").named(name)


def test_graph_of_one_node() -> None:
    """One node is a graph."""
    assert run_virtual(Graph("g", Number).chain(up()).build().run(Number(n=1))).output.n == 2


def test_undeclared_cycle() -> None:
    """A cycle that is not a declared loop does not build."""
    first, second = up("first"), up("second")
    assert "UNDECLARED_CYCLE" in problems(Graph("g", State).chain(first, second, first))


def test_loop_without_exit() -> None:
    """A loop that can stop where there is no way out does not build."""
    graph = Graph("g", State)
    first, second, third = up("first"), up("second"), up("third")
    graph.chain(first, second)
    graph.chain(first, third)
    graph.loop(second, back_to=first, while_=low, max_iterations=3)
    assert problems(graph)


def test_concurrent_writers_are_named() -> None:
    """Two branches that write one field do not build and both are named."""
    with pytest.raises(GraphError, match=r"'n'") as caught:
        Graph("g", State).chain(says("x"), [up("left"), up("right")], says("y")).build()
    assert "left" in str(caught.value)
    assert "right" in str(caught.value)


# ---- state ------------------
def test_node_reads_declared_slices() -> None:
    """A node gets the slices that it declares, and nothing else."""
    seen: list[set[str]] = []

    @node
    async def look(number: Number) -> None:
        seen.append(set(type(number).model_fields))

    run_virtual(Graph("g", State).chain(look).build().run(State()))
    assert seen == [{"n"}]


def test_field_outside_output_stays_inside() -> None:
    """A field that is not of the output stays inside."""
    flow = Graph("g", State, input=Number, output=Number).chain(says("a"), up()).build()
    result = run_virtual(flow.run(Number()))
    assert result.output == Number(n=1)
    assert result.state.log == ["a0"]


def test_branches_fold_in_declaration_order() -> None:
    """Branches are folded in the order of their declaration, whichever ends first."""
    for slow, fast in ((2, 1), (1, 2)):
        result = run_virtual(
            Graph("g", State)
            .chain(up(), [says("a", slow), says("b", fast)], up("end"))
            .build()
            .run(State())
        )
        assert result.state.log == ["a1", "b1"]


def test_last_of_two_writes_holds() -> None:
    """Of two writes one after the other the last holds."""
    assert run_virtual(Graph("g", State).chain(up("a"), up("b")).build().run(State())).state.n == 2


def test_node_may_return_nothing() -> None:
    """A node that returns nothing writes nothing and what follows runs."""

    @node
    async def maybe(number: Number) -> Note | None:
        return None

    result = run_virtual(
        Graph("g", State).chain(maybe, says("after")).build().run(State(note="old"))
    )
    assert (result.state.note, result.state.log) == ("old", ["after0"])


def test_none_is_a_write() -> None:
    """None as a value is a write."""

    @node
    async def clear(number: Number) -> Note:
        return Note(note=None)

    assert (
        run_virtual(Graph("g", State).chain(clear).build().run(State(note="old"))).state.note
        is None
    )


def test_only_set_fields_are_written() -> None:
    """Only what was set counts as written."""

    class Pair(BaseModel):
        a: int = 0
        b: int = 0

    @node
    async def half(pair: Pair) -> Pair:
        return Pair(a=5)

    assert run_virtual(Graph("g", Pair).chain(half).build().run(Pair(a=1, b=1))).output == Pair(
        a=5, b=1
    )


def test_wrong_output_names_node() -> None:
    """An output of another type is the fault of the node that gave it."""
    wrong: Any = Number.model_construct(n="many")

    @node
    async def liar(log: Log) -> Number:
        return wrong

    failed = failure(Graph("g", State).chain(liar, says("never")).build().run(State()))
    (error,) = failed.exceptions
    assert isinstance(error, NodeError)
    assert (error.node, type(error.__cause__)) == ("liar", WrongOutput)


def test_validated_value_is_kept() -> None:
    """What a validator makes of a value is what is kept, through every node that passes it on."""

    class Name(BaseModel):
        name: Annotated[str, Field(min_length=1)] = "x"

        @field_validator("name")
        @classmethod
        def unquote(cls, value: str) -> str:
            return value.replace("%20", " ").replace("%25", "%")

    @node
    async def write(name: Name) -> Name:
        return Name(name="100%2520")

    @node
    async def keep(name: Name) -> Name:
        return name.model_copy(update={"name": name.name})

    flow = Graph("g", Name).chain(write, keep).build()
    assert run_virtual(flow.run(Name())).output.name == "100%20"


def test_defaults_differ_by_run() -> None:
    """Defaults are not shared between runs."""

    class Bag(BaseModel):
        bag: list[int] = Field(default_factory=list)

    @node
    async def fill(bag: Bag) -> Bag:
        bag.bag.append(1)
        return bag

    flow = Graph("g", Bag).chain(fill).build()
    assert [run_virtual(flow.run(Bag())).output.bag for _ in range(2)] == [[1], [1]]
    assert Bag().bag == []


def test_unwritten_fold_is_default() -> None:
    """A folded field is its default until something writes it."""
    seen: list[list[str]] = []

    @node
    async def look(log: Log) -> None:
        seen.append(log.log)

    run_virtual(Graph("g", State).chain(look, says("a")).build().run(State()))
    assert seen == [[]]


def test_input_changes_stay_inside() -> None:
    """What a node does to its input reaches neither siblings nor the caller."""

    class Bag(BaseModel):
        bag: list[list[int]] = []

    class Both(Bag, Log): ...

    @node
    async def spoil(bag: Bag) -> None:
        bag.bag[0].append(9)

    @node
    async def look(bag: Bag) -> Log:
        await asyncio.sleep(1)
        return Log(log=[str(bag.bag)])

    given = Both(bag=[[1]])
    result = run_virtual(
        Graph("g", Both).chain(spoil.named("begin"), [spoil, look]).build().run(given)
    )
    assert (given.bag, result.state.bag, result.state.log) == ([[1]], [[1]], ["[[1]]"])


# ---- control flow ------------------
def test_chain_runs_in_order() -> None:
    """Steps of a chain run in order."""
    assert ran(
        run_virtual(Graph("g", State).chain(up("a"), up("b"), up("c")).build().run(State()))
    ) == ["a", "b", "c"]


def test_join_runs_once() -> None:
    """A join runs once after both branches."""
    result = run_virtual(
        Graph("g", State)
        .chain(up("a"), [says("b", 2), says("c", 1)], says("d"))
        .build()
        .run(State())
    )
    assert ran(result) == ["a", "c", "b", "d"]


def test_join_of_unequal_branches() -> None:
    """Branches of unequal length fire a join once."""
    graph, join = Graph("g", State), says("join")
    graph.chain(up("a"), says("b"), join)
    graph.chain(graph.spec.nodes["a"], says("c"), says("d"), says("e"), join)
    assert ran(run_virtual(graph.build().run(State()))).count("join") == 1


@pytest.mark.parametrize("n", [0, 1])
def test_join_skips_routed_away_branch(n: int) -> None:
    """A join does not wait for a branch that the route did not take."""
    graph, join = Graph("g", State), says("join")
    begin, even, odd = says("begin"), says("even"), says("odd")
    graph.route(begin, parity).when("even", even).when("odd", odd).exhaustive()
    graph.chain(begin, says("beside"), join)
    graph.chain([even, odd], join)
    result = run_virtual(graph.build().run(State(n=n)))
    assert ran(result).count("join") == 1
    assert (f"even{n}" in result.state.log) == (n == 0)


def test_first_arrival_wins() -> None:
    """The first of several wins and the others are cancelled."""
    graph, join = Graph("g", State), says("join")
    graph.chain(up(), [says("slow", 50), says("fast", 1)], join)
    graph.join(join, need=1)
    result, seconds = timed(graph.build().run(State()))
    assert (result.state.log, seconds) == (["fast1", "join1"], 1)


def test_join_in_loop_waits_anew() -> None:
    """A join in a loop waits anew in every round."""
    graph, head, tail = Graph("g", State), up("head"), says("tail")
    graph.chain(head, [says("a", 2), says("b", 1)], tail)
    graph.loop(tail, back_to=head, while_=low, max_iterations=5)
    assert run_virtual(graph.build().run(State())).state.log == [
        "a1",
        "b1",
        "tail1",
        "a2",
        "b2",
        "tail2",
        "a3",
        "b3",
        "tail3",
    ]


def test_route_takes_several_targets() -> None:
    """A route may take several targets."""

    def some(number: Number) -> set[Literal["a", "b", "c"]]:
        return {"a", "c"}

    graph = Graph("g", State)
    graph.route(up(), some).when("a", says("a")).when("b", says("b")).when(
        "c", says("c")
    ).exhaustive()
    assert run_virtual(graph.build().run(State())).state.log == ["a1", "c1"]


def test_route_takes_no_target() -> None:
    """A route that takes no target is an error."""

    def none(number: Number) -> set[Literal["a", "b"]]:
        return set()

    graph = Graph("g", State)
    graph.route(up(), none).when("a", says("a")).when("b", says("b")).exhaustive()
    assert "'none' returned no label. Return at least one." in str(
        failure(graph.build().run(State()))
    )


def test_branch_to_end_keeps_others() -> None:
    """A branch that goes to the end does not end the others."""
    graph, begin = Graph("g", State), up()
    graph.route(says("quick"), parity).when("even", END).when("odd", END).exhaustive()
    graph.chain(begin, graph.spec.nodes["quick"])
    graph.chain(begin, says("slow", 9))
    assert run_virtual(graph.build().run(State())).state.log == ["quick1", "slow1"]


def test_selector_sees_own_branch() -> None:
    """A selector sees what its node wrote and nothing of a concurrent branch."""
    seen: list[list[str]] = []

    def by(log: Log) -> Literal["on"]:
        seen.append(log.log)
        return "on"

    graph, begin, chooser = Graph("g", State), up(), says("chooser", 5)
    graph.chain(begin, [chooser, says("beside", 1)])
    graph.route(chooser, by).when("on", says("end")).exhaustive()
    run_virtual(graph.build().run(State()))
    assert seen == [["chooser1"]]


def test_loop_reports_its_bound() -> None:
    """A loop ends at its bound and says so."""
    graph, body = Graph("g", State), up()
    graph.chain(body, says("end"))
    graph.loop(body, back_to=body, while_=always, max_iterations=4)
    result = run_virtual(graph.build().run(State()))
    assert (result.state.n, result.exhausted) == (4, (("up", "up"),))


def test_loop_fails_at_its_bound() -> None:
    """A loop may fail at its bound."""
    graph, body = Graph("g", State), up()
    graph.chain(body, says("end"))
    graph.loop(body, back_to=body, while_=always, max_iterations=4, exhausted="fail")
    (error,) = failure(graph.build().run(State())).exceptions
    assert isinstance(error.__cause__, LoopExhausted)


def test_step_limit_and_larger_limit() -> None:
    """A limit on steps is a typed end, and a run continues from there with a larger one."""
    flow = Graph("g", State).chain(up("a"), up("b"), up("c")).build()

    async def main() -> Any:
        with pytest.raises(RunFailed) as caught:
            await flow.run(State(), limits=Limits(activations=2), run_id="r")
        assert caught.value.end_reason == "limit:activations"
        assert isinstance(caught.value.exceptions[0], LimitReached)
        return await flow.resume("r", limits=Limits(activations=9))

    result = run_virtual(main())
    assert (result.state.n, ran(result)) == (3, ["a", "b", "c"])


@pytest.mark.parametrize("count", [0, 1, 5])
def test_map_keeps_order_of_items(count: int) -> None:
    """A map runs once per item and keeps their order."""

    @node
    async def work(number: Number) -> Number:
        await asyncio.sleep(10 - number.n)
        return Number(n=number.n * 10)

    graph = Graph("g", State)
    graph.chain(graph.map("m", work, over=items, gather=joined_log, max_items=5), says("end"))
    result = run_virtual(graph.build().run(numbers(*range(count))))
    assert result.state.log == ["+".join(str(10 * number) for number in range(count)), "end0"]
    assert ran(result).count("end") == 1


def test_map_in_map() -> None:
    """A map in a map keeps every value once."""

    class Rows(BaseModel):
        rows: list[Items] = []

    class Table(Rows, Log): ...

    @node
    async def same(number: Number) -> Number:
        return number

    inner = Graph("row", State, input=Items, output=Log)
    inner.chain(inner.map("cells", same, over=lambda s: s.items, gather=joined_log, max_items=9))
    outer = Graph("table", Table)

    def gather(found: list[Log]) -> Log:
        return Log(log=[text for log in found for text in log.log])

    outer.chain(outer.map("rows", inner.build(), over=lambda t: t.rows, gather=gather, max_items=9))
    rows = [Items(items=[Number(n=10 * row + cell) for cell in range(row)]) for row in range(4)]
    assert run_virtual(outer.build().run(Table(rows=rows))).state.log == [
        "",
        "10",
        "20+21",
        "30+31+32",
    ]


def test_map_with_too_many_items() -> None:
    """More items than the bound is a failure."""
    work: Any = up("work")
    graph = Graph("g", State)
    graph.chain(graph.map("m", work, over=items, gather=joined_log, max_items=2))
    assert "3 items came, and max_items is 2" in str(failure(graph.build().run(numbers(1, 2, 3))))


def test_cleanup_runs_once_and_last() -> None:
    """A cleanup after all branches runs once and last."""
    graph, cleanup = Graph("g", State), says("cleanup")
    graph.chain(up(), [says("a", 1), says("b", 5)], cleanup)
    graph.chain(graph.spec.nodes["a"], says("c", 1), says("d", 9), cleanup)
    assert ran(run_virtual(graph.build().run(State())))[-1] == "cleanup"


def test_run_with_several_last_nodes() -> None:
    """A run with several last nodes ends when all of them have."""
    result, seconds = timed(
        Graph("g", State).chain(up(), [says("a", 1), says("b", 7)]).build().run(State())
    )
    assert (result.state.log, seconds) == (["a1", "b1"], 7)


# ---- scheduling ------------------
def test_fast_branch_starts_next_node() -> None:
    """What follows a fast branch starts while the slow one runs."""
    graph = Graph("g", State)
    graph.chain(up(), [says("slow", 10), says("fast", 1)])
    graph.chain(graph.spec.nodes["fast"], says("next", 1))
    result = run_virtual(graph.build().run(State()))
    assert ran(result) == ["up", "fast", "next", "slow"]


def test_independent_nodes_overlap() -> None:
    """Independent nodes overlap."""
    assert (
        timed(
            Graph("g", State).chain(up(), [says(name, 5) for name in "abcd"]).build().run(State())
        )[1]
        == 5
    )


def test_concurrency_limit_everywhere() -> None:
    """No more nodes run at once than allowed in maps and sub flows either."""
    running: list[int] = [0, 0]

    @node
    async def work(number: Number) -> Number:
        running[0] += 1
        running[1] = max(running)
        await asyncio.sleep(1)
        running[0] -= 1
        return number

    def leave(state: State) -> Log:
        return Log(log=state.log)

    inner = Graph("inner", State)
    inner.chain(inner.map("m", work, over=items, gather=joined_log, max_items=9))
    graph = Graph("g", State)
    subs = [graph.sub(name, inner.build(), enter=lambda s: s, leave=leave) for name in "ab"]
    graph.chain(subs)
    _, seconds = timed(graph.build().run(numbers(*range(6)), limits=Limits(concurrency=3)))
    assert (running, seconds) == ([0, 3], 4)


def test_node_concurrency_limit() -> None:
    """A node's own limit is kept."""
    graph, seconds = Graph("g", State), 1.0

    @node(concurrency=2)
    async def work(number: Number) -> Number:
        await asyncio.sleep(seconds)
        return number

    graph.chain(graph.map("m", work, over=items, gather=joined_log, max_items=9, concurrency=9))
    assert timed(graph.build().run(numbers(*range(6))))[1] == 3


def test_blocking_node_holds_up_none() -> None:
    """A node that blocks does not hold up others."""
    released = threading.Event()

    @node
    def blocks(number: Number) -> Log:
        return Log(log=[f"released {released.wait(10)}"])

    @node
    async def releases(number: Number) -> None:
        released.set()

    assert Graph("g", State).chain(up(), [blocks, releases]).build().run_sync(
        State()
    ).state.log == ["released True"]


def test_result_ignores_durations() -> None:
    """The result does not depend on how long nodes take."""

    def flow(times: list[float]) -> AnyFlow:
        graph, join = Graph("g", State), says("join", times[0])
        graph.chain(up(), [says("a", times[1]), says("b", times[2])], join)
        graph.chain(graph.spec.nodes["a"], says("c", times[3]), join)
        return graph.build()

    logs = {
        tuple(run_virtual(flow(times).run(State())).state.log)
        for times in ([0.0, 1, 2, 3], [0.0, 3, 2, 1], [0.0, 2, 9, 0])
    }
    assert logs == {("a1", "b1", "c1", "join1")}


def test_run_time_is_linear() -> None:
    """A long chain and a wide fan out take time in proportion."""

    def seconds(flow: AnyFlow) -> float:
        begun = time.perf_counter()
        run_virtual(flow.run(State()))
        return time.perf_counter() - begun

    chain = Graph("chain", State).chain(*[up(f"u{number}") for number in range(1000)]).build()
    fan = (
        Graph("fan", State)
        .chain(up(), [says(f"s{number}") for number in range(1000)], up("end"))
        .build()
    )
    assert seconds(chain) < 5
    assert seconds(fan) < 5


# ---- failure ------------------
def test_original_exception_is_raised() -> None:
    """The original exception reaches the caller with the node's name."""
    original = KeyError("mine")
    (error,) = failure(
        Graph("g", State).chain(fails("bad", original)).build().run(State())
    ).exceptions
    assert isinstance(error, NodeError)
    assert (error.node, error.__cause__) == ("bad", original)


def test_sibling_work_is_kept() -> None:
    """The work of a sibling is not repeated."""
    calls: list[str] = []

    @node
    async def good(number: Number) -> Log:
        calls.append("good")
        return Log(log=["good"])

    flow = (
        Graph("g", State)
        .chain(up(), [good, fails("bad", ValueError("no"), 1, times=1)], says("end"))
        .build()
    )

    async def main() -> Any:
        with pytest.raises(RunFailed):
            await flow.run(State(), run_id="r")
        return await flow.resume("r")

    assert run_virtual(main()).state.log == ["good", "bad", "end1"]
    assert calls == ["good"]


@pytest.mark.parametrize(("policy", "kept"), [("drain", {"up", "slow"}), ("cancel", {"up"})])
def test_sibling_is_never_half_done(policy: Any, kept: set[str]) -> None:
    """A running sibling finishes or is cancelled and is never half done."""
    flow = (
        Graph("g", State).chain(up(), [says("slow", 9), fails("bad", ValueError("no"), 1)]).build()
    )
    record: Any = failure(flow.run(State(), on_failure=policy)).run
    assert {step.path for step in record.steps() if step.status == "done"} == kept


def test_two_failures_are_reported() -> None:
    """Two siblings that fail are both reported."""
    flow = (
        Graph("g", State)
        .chain(up(), [fails("a", ValueError("first")), fails("b", KeyError("second"), 1)])
        .build()
    )
    assert [type(error.__cause__) for error in failure(flow.run(State())).exceptions] == [
        ValueError,
        KeyError,
    ]


def test_retry_repeats_one_node() -> None:
    """A retry repeats what it names and no sibling."""
    calls: list[int] = []

    @node(retry=Retry(3, on=(TimeoutError,), first=2))
    async def flaky(ctx: Context, number: Number) -> Log:
        calls.append(ctx.attempt)
        if ctx.attempt < 3:
            raise TimeoutError
        return Log(log=["flaky"])

    result = run_virtual(
        Graph("g", State).chain(up(), [flaky, says("sibling")]).build().run(State())
    )
    assert (calls, ran(result).count("sibling")) == ([1, 2, 3], 1)


def test_error_edge_after_last_attempt() -> None:
    """After the last attempt an error edge carries on."""

    @node
    async def rescue(failure: Failure, number: Number) -> Log:
        return Log(log=[f"{failure.node} {failure.attempt}"])

    graph, bad = Graph("g", State), fails("bad", ValueError("no"), retry=Retry(2))
    graph.chain(bad, says("never"))
    graph.on_error(bad, rescue, when=ValueError)
    assert run_virtual(graph.build().run(State())).state.log == ["bad 2"]


def test_failing_handler_fails_run() -> None:
    """A handler that fails fails the run."""
    graph, bad, handler = (
        Graph("g", State),
        fails("bad", ValueError("no")),
        fails("handler", KeyError("worse")),
    )
    graph.chain(bad, says("never"))
    graph.on_error(bad, handler, when=ValueError)
    (error,) = failure(graph.build().run(State())).exceptions
    assert isinstance(error, NodeError)
    assert error.node == "handler"


def test_failing_selector_is_repeated_alone() -> None:
    """When a selector raises, only the selector is evaluated again."""
    calls: list[str] = []

    def by(number: Number) -> Literal["on"]:
        calls.append("by")
        if calls.count("by") == 1:
            raise RuntimeError("not yet")
        return "on"

    @node
    async def think(number: Number) -> Number:
        calls.append("think")
        return Number(n=7)

    graph = Graph("g", State)
    graph.route(think, by).when("on", says("end")).exhaustive()
    flow = graph.build()

    async def main() -> Any:
        with pytest.raises(RunFailed):
            await flow.run(State(), run_id="r")
        return await flow.resume("r")

    assert run_virtual(main()).state.log == ["end7"]
    assert calls == ["think", "by", "by"]


def test_timeout_cancels_attempt() -> None:
    """An attempt that takes too long is cancelled and writes nothing."""
    seen: list[str] = []

    @node(timeout=2, retry=Retry(2, first=0.1))
    async def slow(ctx: Context, number: Number) -> Log:
        try:
            await asyncio.sleep(60 if ctx.attempt == 1 else 1)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise
        return Log(log=[f"attempt {ctx.attempt}"])

    assert run_virtual(Graph("g", State).chain(slow).build().run(State())).state.log == [
        "attempt 2"
    ]
    assert seen == ["cancelled"]


def test_cancelled_caller_cancels_nodes() -> None:
    """A cancelled caller cancels every node and the run can be resumed."""
    seen: list[str] = []

    @node
    async def deep(number: Number) -> Log:
        try:
            await asyncio.sleep(0 if seen else 60)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise
        return Log(log=["deep"])

    graph = Graph("g", State)
    inner = Graph("inner", State).chain(up("before"), deep).build()
    graph.chain(
        up(), graph.sub("team", inner, enter=lambda s: State(), leave=lambda s: Log(log=s.log))
    )
    flow = graph.build()

    async def main() -> Any:
        task = asyncio.create_task(flow.run(State(), run_id="r"))
        await asyncio.sleep(5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(asyncio.all_tasks()) == 1
        return await flow.resume("r")

    result = run_virtual(main())
    assert (seen, result.state.log, ran(result).count("team/before")) == (
        ["cancelled"],
        ["deep"],
        1,
    )


def test_node_raising_cancelled_error() -> None:
    """A node that raises cancelled error by itself has failed."""

    @node
    async def odd(number: Number) -> Log:
        raise asyncio.CancelledError("mine")

    (error,) = failure(
        Graph("g", State).chain(up(), [odd, says("good", 2)]).build().run(State())
    ).exceptions
    assert isinstance(error, NodeError)
    assert error.node == "odd"


# ---- people ------------------
def asking() -> tuple[AnyFlow, Ask[State, Choice], list[str]]:
    calls: list[str] = []

    @node
    async def before(number: Number) -> Number:
        calls.append("before")
        return Number(n=1)

    graph = Graph("g", State)
    ask: Ask[State, Choice] = graph.ask("ask", question=lambda s: f"{s.n}?", answer=Choice)
    graph.chain(before, [ask, says("beside", 5)], says("end"))
    return graph.build(), ask, calls


def test_question_pauses_its_branch() -> None:
    """A question pauses its branch only and the answer completes it."""
    flow, ask, calls = asking()

    async def main() -> Any:
        waiting = await flow.run(State())
        assert (
            waiting.status,
            [question.text for question in waiting.questions],
            ran(waiting),
        ) == ("waiting", ["1?"], ["before", "beside"])
        return await flow.answer(waiting.run_id, ask, Choice(approved=True))

    result = run_virtual(main())
    assert (result.state.approved, result.state.log, calls) == (
        True,
        ["beside1", "end1"],
        ["before"],
    )


def test_work_before_gate_runs_once() -> None:
    """Nodes that ran before a gate run once."""
    calls: list[str] = []

    @node(gate="after")
    async def careful(number: Number) -> Log:
        calls.append("careful")
        return Log(log=["careful"])

    flow = Graph("g", State).chain(careful, says("end")).build()

    async def main() -> Any:
        waiting = await flow.run(State())
        return await flow.answer(waiting.run_id, waiting.questions[0], Approval(approved=True))

    assert run_virtual(main()).state.log == ["careful", "end0"]
    assert calls == ["careful"]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_parallel_questions_by_id(order: tuple[int, ...]) -> None:
    """Parallel questions are answered by id in any order."""
    graph = Graph("g", State)
    answers: list[Any] = []

    for name in "abc":
        answers.append(graph.ask(name, question=lambda s: "?", answer=Log))
    graph.chain(up(), answers, says("end"))
    flow = graph.build()

    async def main() -> Any:
        result = await flow.run(State())
        questions = result.questions
        for at in order:
            assert result.status == "waiting"
            result = await flow.answer(
                result.run_id, questions[at].id, Log(log=[questions[at].node])
            )
        return result

    assert run_virtual(main()).state.log == ["a", "b", "c", "end1"]


@pytest.mark.parametrize("value", [None, ""])
def test_answer_may_be_none(value: str | None) -> None:
    """An answer may be nothing."""
    graph = Graph("g", State)
    ask: Ask[State, Note] = graph.ask("ask", question=lambda s: "?", answer=Note)
    graph.chain(up(), ask)
    flow = graph.build()

    async def main() -> Any:
        waiting = await flow.run(State(note="old"))
        return await flow.answer(waiting.run_id, ask, Note(note=value))

    assert run_virtual(main()).state.note == value


def test_invalid_answer_keeps_question() -> None:
    """An answer that does not fit is refused and the question stays."""
    flow, ask, _ = asking()

    async def main() -> Any:
        waiting = await flow.run(State())
        wrong: Any = Choice.model_construct(approved="perhaps")
        values: tuple[Any, ...] = (Number(n=0), wrong)
        for value in values:
            with pytest.raises(InputError, match="ask"):
                await flow.answer(waiting.run_id, ask, value)
        return await flow.answer(waiting.run_id, ask, Choice())

    assert run_virtual(main()).status == "succeeded"


def test_answer_to_closed_question() -> None:
    """An answer to a question that is not open is refused."""
    flow, ask, _ = asking()

    async def main() -> None:
        waiting = await flow.run(State())
        with pytest.raises(InputError, match="'other' is not open"):
            await flow.answer(waiting.run_id, "other", Choice())
        await flow.answer(waiting.run_id, ask, Choice())
        with pytest.raises(InputError, match="no open run"):
            await flow.answer(waiting.run_id, ask, Choice())

    run_virtual(main())


def test_question_three_levels_down() -> None:
    """A question three levels down is answered there."""
    calls: list[str] = []
    flow: AnyFlow | None = None
    for depth in range(3, -1, -1):
        graph = Graph(f"level{depth}", State)

        @node(name="work")
        async def work(ctx: Context, number: Number) -> Number:
            calls.append(ctx.path)
            return Number(n=number.n + 1)

        if flow is None:
            ask: Ask[State, Choice] = graph.ask(
                "ask", question=lambda s: f"at {s.n}?", answer=Choice
            )
            graph.chain(work, ask)
        else:
            graph.chain(
                work,
                graph.sub(
                    "down",
                    flow,
                    enter=lambda s: State(n=s.n),
                    leave=lambda s: Choice(approved=s.approved),
                ),
            )
        flow = graph.build()
    assert flow is not None
    top = flow

    async def main() -> Any:
        waiting = await top.run(State())
        (question,) = waiting.questions
        assert (question.path, question.text) == ("down/down/down/ask", "at 4?")
        return await top.answer(waiting.run_id, question, Choice(approved=True))

    assert run_virtual(main()).state.approved
    assert len(calls) == 4


def test_catch_all_keeps_question() -> None:
    """User code that catches everything does not swallow a question."""

    @node(gate="after")
    async def greedy(number: Number) -> Log:
        try:
            return Log(log=["done"])
        except BaseException:
            return Log(log=["swallowed"])

    waiting = run_virtual(Graph("g", State).chain(greedy).build().run(State()))
    assert waiting.status == "waiting"


# ---- records ------------------
def chain_flow() -> AnyFlow:
    return Graph("g", State).chain(up("a"), says("b"), up("c")).build()


def test_run_continues_from_journal() -> None:
    """A run continues from its journal where another process left it."""

    async def main() -> Any:
        store = MemoryStore()
        flow, ask, _ = asking()
        waiting = await flow.run(State(), durable=store, run_id="r")
        assert waiting.status == "waiting"
        other, ask, calls = asking()  # what another process would build
        result = await other.answer("r", ask, Choice(approved=True), durable=store)
        return result, calls

    result, calls = run_virtual(main())
    assert (result.state.log, calls) == (["beside1", "end1"], [])


def test_rerun_keeps_old_run() -> None:
    """A rerun does what depends on the change and leaves the old run alone."""

    async def main() -> None:
        store = MemoryStore()
        flow = chain_flow()
        was = await flow.run(State(), durable=store, run_id="r")
        again = await flow.rerun("r", start="a", output=Number(n=5), durable=store)
        assert (again.result.state.n, again.result.state.log) == (6, ["b5"])
        assert (await flow.replay("r", durable=store)).state == was.state

    run_virtual(main())


def test_resume_of_succeeded_run() -> None:
    """Resuming what has succeeded does nothing."""

    async def main() -> None:
        store = MemoryStore()
        flow = chain_flow()
        was = await flow.run(State(), durable=store, run_id="r")
        assert (await flow.resume("r", durable=store)).state == was.state

    run_virtual(main())


def test_runs_are_isolated() -> None:
    """Runs do not see each other."""
    flow = chain_flow()

    async def main() -> list[Any]:
        return await asyncio.gather(*[flow.run(State(n=number)) for number in range(5)])

    assert [result.state.n for result in run_virtual(main())] == [2, 3, 4, 5, 6]


class Colour(Enum):
    RED = "red"


class Rich(BaseModel):
    colour: Colour = Colour.RED
    at: datetime = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
    tags: set[str] = {"a", "b"}
    pair: tuple[int, str] = (1, "x")
    raw: bytes = b""
    either: int | str = "7"
    nested: list[Number] = [Number(n=1)]


def test_journal_keeps_types() -> None:
    """Values come back from the journal with the types that they had."""
    wanted = Rich(
        colour=Colour.RED,
        tags={"b", "c"},
        pair=(2, "y"),
        raw=b"\x00raw",
        either=7,
        nested=[Number(n=3)],
    )

    @node
    async def write(rich: Rich) -> Rich:
        return wanted

    flow = Graph("g", Rich).chain(write).build()

    async def main() -> Any:
        store = MemoryStore()
        await flow.run(Rich(), durable=store, run_id="r")
        return await flow.replay("r", durable=store)

    found = run_virtual(main()).output
    assert found.model_dump() == wanted.model_dump()
    assert [type(getattr(found, name)) for name in Rich.model_fields] == [
        type(getattr(wanted, name)) for name in Rich.model_fields
    ]


def test_unstorable_value_fails_node() -> None:
    """A value that would not come back fails its node and says so."""

    class Loose(BaseModel):
        raw: Any = None

    @node
    async def write(loose: Loose) -> Loose:
        return Loose(raw=object)

    failed = failure(Graph("g", Loose).chain(write).build().run(Loose(), durable=MemoryStore()))
    assert "'raw' = <class 'object'> cannot be kept in the journal" in str(failed)


@pytest.mark.parametrize("durable", [False, True])
def test_duplicate_run_id_is_refused(durable: bool) -> None:
    """Two runs of one id at once are refused."""
    flow = Graph("g", State).chain(says("slow", 5)).build()

    async def main() -> None:
        options: Any = {"durable": MemoryStore()} if durable else {}
        first = asyncio.create_task(flow.run(State(), run_id="r", **options))
        await asyncio.sleep(1)
        with pytest.raises(Exception, match="r"):
            await flow.run(State(), run_id="r", **options)
        assert (await first).state.log == ["slow0"]

    run_virtual(main())


def test_changed_graph_is_refused() -> None:
    """A graph that changed refuses to continue an old run."""

    async def main() -> None:
        store = MemoryStore()
        with pytest.raises(RunFailed):
            await (
                Graph("g", State)
                .chain(up("a"), fails("b", ValueError("no")))
                .build()
                .run(State(), durable=store, run_id="r")
            )
        with pytest.raises(Exception, match="is not the same graph: node 'b' is gone"):
            await Graph("g", State).chain(up("a"), says("z")).build().resume("r", durable=store)

    run_virtual(main())


# ---- sub-flows, streams, caches, and the rest ------------------
def test_sub_flow_mapping() -> None:
    """Only what is mapped crosses into a sub flow and back."""
    inner = Graph("inner", State).chain(says("in"), up()).build()
    graph = Graph("g", State)
    graph.chain(
        says("out"),
        graph.sub("team", inner, enter=lambda s: State(n=10), leave=lambda s: Log(log=s.log)),
        says("end"),
    )
    result = run_virtual(graph.build().run(State(note="outside")))
    assert (result.state.log, result.state.n) == (["out0", "in10", "end0"], 0)


def test_mapping_may_pass_its_argument() -> None:
    """A mapping may return its argument."""

    def newest(numbers: list[Number]) -> Number:
        return numbers[-1]

    inner = Graph("inner", Number).chain(up()).build()
    graph = Graph("g", State)
    graph.chain(
        graph.sub("team", inner, enter=lambda s: s, leave=lambda out: out),
        graph.map("each", inner, over=lambda s: [s], gather=newest, max_items=1),
    )
    assert run_virtual(graph.build().run(State(n=5))).state.n == 7


def test_sub_flow_used_twice() -> None:
    """One sub flow used twice and in a loop shares nothing."""
    inner = Graph("inner", State).chain(up("one"), up("two")).build()

    def add(state: State) -> Log:
        return Log(log=[str(state.n)])

    graph, head = Graph("g", State), up("head")
    subs = [
        graph.sub(name, inner, enter=lambda s: State(n=s.n), leave=add)
        for name in ("left", "right")
    ]
    tail = says("tail")
    graph.chain(head, subs, tail)
    graph.loop(tail, back_to=head, while_=lambda s: s.n < 2, max_iterations=3)
    assert run_virtual(graph.build().run(State())).state.log == [
        "3",
        "3",
        "tail1",
        "4",
        "4",
        "tail2",
    ]


async def events(flow: AnyFlow, **options: Any) -> list[Any]:
    return [event async for event in flow.stream(State(), **options)]


def test_stream_is_in_causal_order() -> None:
    """A stream is in causal order, and ends with its end."""
    inner = Graph("inner", State).chain(up("deep")).build()
    graph = Graph("g", State)
    graph.chain(up("a"), graph.sub("team", inner, enter=lambda s: s, leave=lambda s: Number(n=s.n)))
    seen = run_virtual(events(graph.build()))
    assert [event.path for event in seen if isinstance(event, Committed)] == [
        "a",
        "team/deep",
        "team",
    ]
    assert [type(event) for event in seen].count(Ended) == 1
    assert isinstance(seen[-1], Ended)


def test_leaving_stream_cancels_run() -> None:
    """A reader that leaves a stream cancels the run."""
    flow = Graph("g", State).chain(up(), says("slow", 1000)).build()

    async def main() -> float:
        async with contextlib.aclosing(flow.stream(State())) as stream:
            async for event in stream:
                if isinstance(event, Committed):
                    break
        assert len(asyncio.all_tasks()) == 1
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) == 0


def test_stream_shows_failures_and_questions() -> None:
    """Failures and questions show in a stream."""

    async def failing() -> list[Any]:
        seen: list[Any] = []
        flow = Graph("g", State).chain(fails("bad", ValueError("no"))).build()
        with contextlib.suppress(RunFailed):
            async for event in flow.stream(State()):
                seen.append(event)
        return seen

    seen = run_virtual(failing())
    assert [type(event) for event in seen][-2:] == [Failed, Ended]
    assert (seen[-2].error, seen[-1].status) == ("ValueError: no", "failed")
    asked = run_virtual(events(asking()[0]))
    assert [event.question for event in asked if isinstance(event, QuestionAsked)] == ["1?"]
    assert asked[-1].status == "waiting"


def test_slow_reader_slows_run() -> None:
    """A slow reader slows the run down instead of filling the memory."""
    finished: list[float] = []

    @node
    async def count(number: Number) -> Number:
        finished.append(asyncio.get_running_loop().time())
        return Number(n=number.n + 1)

    graph = Graph("g", State)
    graph.chain(count)
    graph.loop(count, back_to=count, while_=always, max_iterations=1000)
    flow = graph.build()

    async def main() -> None:
        async for _ in flow.stream(State()):
            await asyncio.sleep(1)

    run_virtual(main())
    assert finished[-1] > 1000


def test_cache_serves_equal_input() -> None:
    """An equal input is served from the cache until it is too old."""
    calls: list[int] = []

    @node(cache=Cache(ttl=10))
    async def think(number: Number) -> Log:
        calls.append(number.n)
        if number.n == 9:
            raise ValueError("not cached")
        return Log(log=[f"thought {number.n}"])

    flow = Graph("g", State).chain(think).build()
    now = [1000.0]

    def clock() -> float:
        return now[0]

    async def main() -> list[str]:
        logs = [(await flow.run(State(n=n), clock=clock)).state.log[0] for n in (1, 1, 2)]
        now[0] += 11
        await flow.run(State(n=1), clock=clock)
        for _ in range(2):
            with pytest.raises(RunFailed):
                await flow.run(State(n=9), clock=clock)
        return logs

    assert run_virtual(main()) == ["thought 1", "thought 1", "thought 2"]
    assert calls == [1, 2, 1, 9, 9]


def test_stop_and_resume() -> None:
    """A run that is stopped finishes what runs, and is resumed later."""
    flow = Graph("g", State).chain(up(), says("running", 5), says("next")).build()

    async def main() -> Any:
        task = asyncio.create_task(flow.run(State(), run_id="r"))
        await asyncio.sleep(1)
        flow.stop("r")
        with pytest.raises(RunFailed) as caught:
            await task
        record: Any = caught.value.run
        assert [step.path for step in record.steps() if step.status == "done"] == ["up", "running"]
        assert caught.value.end_reason == "interrupted"
        return await flow.resume("r")

    assert run_virtual(main()).state.log == ["running1", "next1"]


def test_taken_edges_are_drawn() -> None:
    """Every edge that was taken is in the picture."""
    graph = Graph("g", State)
    first, even, odd, end = says("first"), says("even"), says("odd"), says("end")
    graph.route(first, parity).when("even", even).when("odd", odd).exhaustive()
    graph.chain([even, odd], end)
    flow = graph.build()
    drawn = flow.to_mermaid()
    for n in (0, 1):
        for path in ran(run_virtual(flow.run(State(n=n)))):
            assert path in drawn
    assert "even" in drawn
    assert "odd" in drawn


def test_ways_to_run_agree() -> None:
    """Every way to run gives an equal result."""
    flow = chain_flow()
    awaited = run_virtual(flow.run(State()))
    streamed: Any = run_virtual(events(flow))[-1]

    async def inside_a_loop() -> Any:
        return flow.run_sync(State())

    assert flow.run_sync(State()).state == awaited.state == asyncio.run(inside_a_loop()).state
    assert streamed.status == awaited.status


def test_run_is_freed() -> None:
    """A run is freed when its result is not held any more."""
    flow = chain_flow()

    def alive() -> int:
        gc.collect()
        return sum(isinstance(get_object, RunReport) for get_object in gc.get_objects())

    before = alive()
    results = [run_virtual(flow.run(State())) for _ in range(3)]
    assert alive() == before + 3
    del results
    assert alive() == before


def test_resources_reach_sub_flows() -> None:
    """Resources are checked and reach sub flows."""

    class Clients:
        name = "clients"

    @node
    async def use(ctx: Context[Clients], number: Number) -> Log:
        return Log(log=[ctx.resources.name])

    inner = Graph("inner", State).chain(use).build()
    graph = Graph("g", State)
    graph.chain(graph.sub("team", inner, enter=lambda s: s, leave=lambda s: Log(log=s.log)))
    flow = graph.build()
    assert run_virtual(flow.run(State(), resources=Clients())).state.log == ["clients"]
    with pytest.raises(InputError, match="'team/use' of flow 'g' needs resources of type Clients"):
        run_virtual(flow.run(State()))


def test_unmet_quorum_error() -> None:
    """A quorum that cannot be met any more is a failure of its own."""
    graph, join = Graph("g", State), says("join")
    graph.chain(
        up(), [fails("a", ValueError("no")), fails("b", ValueError("no")), says("c", 1)], join
    )
    graph.join(join, need=2)
    failed = failure(graph.build().run(State(), on_failure="isolate"))
    assert any(isinstance(error.__cause__, QuorumNotMet) for error in failed.exceptions)


def test_map_names_missing_items() -> None:
    """A map names the missing items, and why they are missing."""

    @node
    async def work(number: Number) -> Number:
        if number.n == 2:
            raise ValueError("two")
        return number

    def gather(found: list[Number], missing: list[Missing]) -> Log:
        return Log(
            log=[str(number.n) for number in found]
            + [f"{item.index}: {item.reason}" for item in missing]
        )

    graph = Graph("g", State)
    graph.chain(
        graph.map("m", work, over=items, gather=gather, max_items=5, on_item_error="collect")
    )
    log = run_virtual(graph.build().run(numbers(1, 2, 3))).state.log
    assert log[:2] == ["1", "3"]
    assert "two" in log[2]

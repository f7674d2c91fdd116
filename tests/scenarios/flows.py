"""Ten small flows that together use everything a graph can have.

Tests of failures, crashes and schedules run them. Every node records its run with its idempotency
key through `resources`, so that a test sees what really happened.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BaseModel

from graphorch import Ask, Context, Failure, Flow, Graph, Missing, Node, append, node


class Ledger:
    """Record of what ran: one entry per execution of a node, by path and key."""

    def __init__(self, write: Callable[[str], None] | None = None) -> None:
        self.entries: list[str] = []
        self._write = write

    def ran(self, ctx: Context[Any]) -> None:
        """Record an execution; every node calls it first."""
        line = f"{ctx.path} {ctx.key}"
        self.entries.append(line)
        if self._write is not None:
            self._write(line)


class Number(BaseModel):
    n: int = 0


class Log(BaseModel):
    log: Annotated[list[str], append] = []


class Note(BaseModel):
    note: str = ""


class Choice(BaseModel):
    approved: bool = False


class Items(BaseModel):
    items: list[Number] = []


class State(Number, Log, Note, Choice, Items): ...


AnyFlow = Flow[State, State, State]
Step = Node[Any]


def up(name: str = "up") -> Step:
    @node(name=name)
    async def count(ctx: Context[Ledger], number: Number) -> Number:
        ctx.resources.ran(ctx)
        return Number(n=number.n + 1)

    return count


def says(name: str) -> Step:
    @node(name=name)
    async def write(ctx: Context[Ledger], number: Number) -> Log:
        ctx.resources.ran(ctx)
        return Log(log=[f"{name}{number.n}"])

    return write


def low(state: State) -> bool:
    return state.n < 3


def parity(number: Number) -> Literal["even", "odd"]:
    return "odd" if number.n % 2 else "even"


def some(number: Number) -> set[Literal["a", "b", "c"]]:
    return {"a", "c"} if number.n % 2 else {"b"}


def make_items(name: str, count: int) -> Step:
    @node(name=name)
    async def write(ctx: Context[Ledger], number: Number) -> Items:
        ctx.resources.ran(ctx)
        return Items(items=[Number(n=number.n + index) for index in range(count)])

    return write


def items_of(items: Items) -> list[Number]:
    return items.items


def joined(numbers: list[Number]) -> Log:
    return Log(log=["+".join(str(number.n) for number in numbers)])


def joined_with_missing(numbers: list[Number], missing: list[Missing]) -> Log:
    return Log(
        log=["+".join(str(number.n) for number in numbers), *(f"-{item.index}" for item in missing)]
    )


def inner_flow(depth: int) -> AnyFlow:
    graph = Graph(f"inner{depth}", State)
    steps: list[Step] = [up(), says(f"i{depth}")]
    if depth > 1:
        steps.append(
            graph.sub("deeper", inner_flow(depth - 1), enter=lambda s: State(n=s.n), leave=as_log)
        )
    graph.chain(*steps)
    return graph.build()


def as_log(state: State) -> Log:
    return Log(log=[f"({','.join(state.log)})"])


def chain() -> AnyFlow:
    return Graph("chain", State).chain(up("a"), up("b"), says("c"), up("d")).build()


def diamond() -> AnyFlow:
    graph = Graph("diamond", State)
    end = says("end")
    graph.chain(up("a"), [says("b"), says("c")], end)
    graph.chain(says("a2"), says("d"), says("e"), end)
    return graph.build()


def loop_with_join() -> AnyFlow:
    graph = Graph("loop", State)
    header, last = up("header"), says("last")
    graph.chain(header, [says("x"), says("y")], last)
    graph.loop(last, back_to=header, while_=low, max_iterations=5)
    return graph.build()


def nested_loops() -> AnyFlow:
    graph = Graph("nested", State)
    outer, inner, tail = says("outer"), up("inner"), says("tail")
    graph.chain(outer, inner, tail)
    graph.loop(inner, back_to=inner, while_=lambda s: s.n % 3 != 0, max_iterations=4)
    graph.loop(tail, back_to=outer, while_=lambda s: s.n < 7, max_iterations=4)
    return graph.build()


def routes() -> AnyFlow:
    graph = Graph("routes", State)
    first, second, end = up("first"), up("second"), says("end")
    graph.route(first, parity).when("even", says("even")).when("odd", second).exhaustive()
    graph.route(second, some).when("a", says("a")).when("b", says("b")).when(
        "c", says("c")
    ).exhaustive()
    for name in ("even", "a", "b", "c"):
        graph.chain(graph.spec.nodes[name], end)
    return graph.build()


def mapped() -> AnyFlow:
    graph = Graph("mapped", State)
    work: Any = up("work")
    graph.chain(
        make_items("make", 4),
        graph.map("each", work, over=items_of, gather=joined, max_items=9, concurrency=2),
        says("end"),
    )
    return graph.build()


def mapped_flows() -> AnyFlow:
    item = Graph("item", State, input=Number, output=Number).chain(up("one"), up("two")).build()
    graph = Graph("mapped_flows", State)
    node1 = graph.map(
        "each",
        item,
        over=items_of,
        gather=joined_with_missing,
        max_items=9,
        on_item_error="collect",
    )
    graph.chain(make_items("make", 3), [node1, says("beside")], says("end"))
    return graph.build()


def sub_flows() -> AnyFlow:
    graph = Graph("subs", State)
    team = graph.sub("team", inner_flow(3), enter=lambda s: State(n=s.n * 10), leave=as_log)
    graph.chain(up("a"), [team, says("beside")], says("end"))
    graph.loop(
        graph.spec.nodes["end"],
        back_to=graph.spec.nodes["a"],
        while_=lambda s: s.n < 2,
        max_iterations=3,
    )
    return graph.build()


def asked() -> AnyFlow:
    graph = Graph("asked", State)
    ask: Ask[State, Choice] = graph.ask(
        "ask", question=lambda s: f"go on with {s.n}?", answer=Choice
    )
    first = up("first")
    graph.chain(first, [says("beside"), ask], says("end"))
    graph.loop(graph.spec.nodes["end"], back_to=first, while_=lambda s: s.n < 2, max_iterations=3)
    return graph.build()


def rescued() -> AnyFlow:
    @node(name="bad")
    async def bad(ctx: Context[Ledger], number: Number) -> Note:
        ctx.resources.ran(ctx)
        raise ValueError(f"no {number.n}")

    @node(name="rescue")
    async def rescue(ctx: Context[Ledger], failure: Failure, number: Number) -> Log:
        ctx.resources.ran(ctx)
        return Log(log=[failure.message])

    graph = Graph("rescued", State)
    end = says("end")
    graph.chain(up("a"), [bad, says("fine")], end)
    graph.chain(rescue, end)
    graph.on_error(bad, rescue, when=ValueError)
    return graph.build()


FLOWS: dict[str, Callable[[], AnyFlow]] = {
    "chain": chain,
    "diamond": diamond,
    "loop_with_join": loop_with_join,
    "nested_loops": nested_loops,
    "routes": routes,
    "mapped": mapped,
    "mapped_flows": mapped_flows,
    "sub_flows": sub_flows,
    "asked": asked,
    "rescued": rescued,
}


async def to_the_end(flow: AnyFlow, run_id: str, begin: bool, **options: Any) -> Any:
    """Run a flow, or resume a run, and answer every question with yes."""
    result = (
        await flow.run(State(), run_id=run_id, **options)
        if begin
        else await flow.resume(run_id, **options)
    )
    while result.status == "waiting":
        question = result.questions[0]
        result = await flow.answer(run_id, question, question.answer_type(approved=True), **options)
    return result

"""Workloads in pydantic-graph: its `GraphBuilder`, on a state object that every step changes."""
# pyright: reportMissingImports=false

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any, Literal

from pydantic import BaseModel, create_model
from pydantic_graph import (
    GraphBuilder,
    StepContext,
    TypeExpression,
    reduce_list_append,
    reduce_list_extend,
    reduce_null,
)

from tests.benchmarks.workloads import (
    FIELD_NODES,
    IDLE_ROUNDS,
    WIDE_FIELDS,
    WIDE_VALUE,
    Broken,
    Job,
    build_dag,
)


class Count(BaseModel):
    x: int = 0


class Items(BaseModel):
    items: list[int] = []
    total: int = 0


class Essay(BaseModel):
    draft: int = 0
    score: int = 0
    target: int = 100


class Ticket(BaseModel):
    number: int = 0
    label: str = ""
    done: str = ""


class Log(BaseModel):
    x: int = 0
    messages: list[str] = []


CANNOT = {
    "durable": "the installed version has no persistence",
    "resume": "the installed version has no persistence",
    "dag:layered": "with a join for each node of several parents it runs some nodes twice",
}
Way = Literal["again", "on", "idle"]


async def count_up(ctx: StepContext[Count, None, Any]) -> None:
    """Count up, as every node of a chain does."""
    ctx.state.x += 1


def build_chain(model: Any, functions: list[Any]) -> Any:
    """Build a graph of steps in a row."""
    graph = GraphBuilder(name="chain", state_type=model, output_type=type(None))
    before: Any = graph.start_node
    for index, function in enumerate(functions):
        step = graph.step(function, node_id=f"n{index}")
        graph.add(graph.edge_from(before).to(step))
        before = step
    graph.add(graph.edge_from(before).to(graph.end_node))
    return graph.build()


def make_job(graph: Any, make: Any, check: Any) -> Job:
    """Run a graph on a fresh state, which is the answer."""

    async def run() -> Any:
        state = make()
        await graph.run(state=state)
        return state

    return Job(run, check)


class Programs:
    """Programs of pydantic-graph."""

    def chain(self, size: int) -> Job:
        return make_job(build_chain(Count, [count_up] * size), Count, lambda state: state.x == size)

    def fan_out(self, size: int) -> Job:
        return self._fan(size, None)

    def error(self, size: int) -> Job:
        async def sleeping(index: int) -> None:
            if index == 0:
                raise Broken
            await asyncio.sleep(1.0)

        return self._fan(size, sleeping)

    def _fan(self, size: int, wait: Any) -> Job:
        graph = GraphBuilder(name="fan", state_type=Items, output_type=type(None))

        async def begin(ctx: StepContext[Items, None, None]) -> None: ...
        async def merge(ctx: StepContext[Items, None, list[int]]) -> None:
            ctx.state.items, ctx.state.total = ctx.inputs, len(ctx.inputs)

        def branch(index: int) -> Any:
            async def add(ctx: StepContext[Items, None, None]) -> int:
                if wait is not None:
                    await wait(index)
                return index

            return graph.step(add, node_id=f"b{index}")

        first, last = graph.step(begin, node_id="begin"), graph.step(merge, node_id="merge")
        join = graph.join(reduce_list_append, initial_factory=list[int], node_id="join")
        branches = [branch(index) for index in range(size)]
        graph.add(
            graph.edge_from(graph.start_node).to(first), graph.edge_from(first).to(*branches),
            graph.edge_from(*branches).to(join),
            graph.edge_from(join).to(last), graph.edge_from(last).to(graph.end_node),
        )  # fmt: skip
        return make_job(
            graph.build(),
            Items,
            lambda state: sorted(state.items) == list(range(size)) and state.total == size,
        )

    def map_items(self, size: int) -> Job:
        graph = GraphBuilder(name="map", state_type=Items, output_type=type(None))

        async def plan(ctx: StepContext[Items, None, None]) -> list[int]:
            return list(range(size))

        async def work(ctx: StepContext[Items, None, int]) -> int:
            return ctx.inputs

        async def merge(ctx: StepContext[Items, None, list[int]]) -> None:
            ctx.state.items, ctx.state.total = ctx.inputs, len(ctx.inputs)

        first, item, last = (
            graph.step(plan, node_id="plan"),
            graph.step(work, node_id="work"),
            graph.step(merge, node_id="merge"),
        )
        join = graph.join(reduce_list_append, initial_factory=list[int], node_id="join")
        graph.add(
            graph.edge_from(graph.start_node).to(first), graph.edge_from(first).map().to(item),
            graph.edge_from(item).to(join),
            graph.edge_from(join).to(last), graph.edge_from(last).to(graph.end_node),
        )  # fmt: skip
        return make_job(
            graph.build(),
            Items,
            lambda state: sorted(state.items) == list(range(size)) and state.total == size,
        )

    def _looping(self, model: Any, before: list[Any], judge: Any, idle: int = 0) -> Any:
        """Build steps in a row, and a judge that chooses `again`, `on` or a row of idle steps."""
        graph = GraphBuilder(name="loop", state_type=model, output_type=type(None))
        steps = [
            graph.step(function, node_id=f"n{index}")
            for index, function in enumerate([*before, judge])
        ]
        graph.add(graph.edge_from(graph.start_node).to(steps[0]))
        for left, right in pairwise(steps):
            graph.add(graph.edge_from(left).to(right))

        async def nothing(ctx: StepContext[Any, None, Any]) -> None: ...

        idles = [graph.step(nothing, node_id=f"idle{index}") for index in range(idle)]
        decision = (
            graph.decision()
            .branch(graph.match(TypeExpression[Literal["again"]]).to(steps[0]))
            .branch(graph.match(TypeExpression[Literal["on"]]).to(graph.end_node))
            .branch(
                graph.match(TypeExpression[Literal["idle"]]).to(
                    idles[0] if idles else graph.end_node
                )
            )
        )
        graph.add(graph.edge_from(steps[-1]).to(decision))
        for left, right in zip(idles, [*idles[1:], graph.end_node], strict=False):
            graph.add(graph.edge_from(left).to(right))
        return graph.build()

    def loop(self, size: int) -> Job:
        async def generate(ctx: StepContext[Essay, None, object]) -> None:
            ctx.state.draft += 1

        async def evaluate(ctx: StepContext[Essay, None, None]) -> Way:
            ctx.state.score = ctx.state.draft
            return "again" if ctx.state.score < ctx.state.target else "on"

        return make_job(
            self._looping(Essay, [generate], evaluate),
            lambda: Essay(target=size),
            lambda state: state.draft == size,
        )

    def idle(self, size: int) -> Job:
        async def step(ctx: StepContext[Count, None, object]) -> Way:
            ctx.state.x += 1
            return "again" if ctx.state.x < IDLE_ROUNDS else "on"

        return make_job(
            self._looping(Count, [], step, size), Count, lambda state: state.x == IDLE_ROUNDS
        )

    def history(self, size: int) -> Job:
        async def talk(ctx: StepContext[Log, None, object]) -> Way:
            ctx.state.x += 1
            ctx.state.messages.append(f"message {ctx.state.x}")
            return "again" if ctx.state.x < size else "on"

        return make_job(
            self._looping(Log, [], talk), Log, lambda state: len(state.messages) == size
        )

    def dag(self, size: str) -> Job:
        """Run two lanes between a fork and a join."""
        dag = build_dag(size)
        graph = GraphBuilder(name="dag", state_type=Items, output_type=type(None))

        def sleeping(name: str, number: int) -> Any:
            async def sleeper(ctx: StepContext[Items, None, object]) -> None:
                await asyncio.sleep(dag.seconds[name])
                ctx.state.items.append(number)

            return graph.step(sleeper, node_id=name)

        async def nothing(ctx: StepContext[Items, None, object]) -> None: ...

        steps = {name: sleeping(name, number) for number, name in enumerate(dag.names)}
        first, last = graph.step(nothing, node_id="first"), graph.step(nothing, node_id="last")
        join = graph.join(reduce_null, initial=None, node_id="join")
        graph.add(
            graph.edge_from(graph.start_node).to(first),
            graph.edge_from(join).to(last),
            graph.edge_from(last).to(graph.end_node),
        )
        graph.add(
            graph.edge_from(first).to(
                *(steps[name] for name, parents in dag.parents.items() if not parents)
            )
        )
        for name, children in dag.children().items():
            graph.add(
                graph.edge_from(steps[name]).to(*([steps[child] for child in children] or [join]))
            )
        return make_job(
            graph.build(), Items, lambda state: sorted(state.items) == list(range(len(dag.names)))
        )

    def sleepers(self, size: int) -> Job:
        async def sleeper(ctx: StepContext[Count, None, Any]) -> None:
            await asyncio.sleep(0.01)
            ctx.state.x += 1

        return make_job(build_chain(Count, [sleeper] * 5), Count, lambda state: state.x == 5)

    def router(self, size: int) -> Job:
        graph = GraphBuilder(name="router", state_type=Ticket, output_type=type(None))

        async def classify(ctx: StepContext[Ticket, None, None]) -> str:
            ctx.state.label = f"b{ctx.state.number % size}"
            return ctx.state.label

        def handling(index: int) -> Any:
            async def handle(ctx: StepContext[Ticket, None, object]) -> None:
                ctx.state.done = f"done{index}"

            return graph.step(handle, node_id=f"b{index}")

        first, decision = graph.step(classify, node_id="classify"), graph.decision()
        for index in range(size):
            step = handling(index)
            decision = decision.branch(
                graph.match(str, matches=lambda label, index=index: label == f"b{index}").to(step)
            )
            graph.add(graph.edge_from(step).to(graph.end_node))
        graph.add(graph.edge_from(graph.start_node).to(first), graph.edge_from(first).to(decision))
        numbers = iter(range(1 << 60))
        return make_job(
            graph.build(),
            lambda: Ticket(number=next(numbers)),
            lambda state: state.done == f"done{state.number % size}",
        )

    def wide(self, size: int) -> Job:
        fields: Any = {f"f{index}": (str, WIDE_VALUE) for index in range(WIDE_FIELDS)}
        model = create_model("Wide", **fields)
        given = model().model_dump()

        def changing(index: int) -> Any:
            async def change(ctx: StepContext[Any, None, Any]) -> None:
                setattr(ctx.state, f"f{index}", "changed")

            return change

        graph = build_chain(model, [changing(index) for index in range(size)])
        return make_job(
            graph,
            lambda: model(**given),
            lambda state: all(getattr(state, f"f{index}") == "changed" for index in range(size)),
        )

    def fields(self, size: int) -> Job:
        more: Any = {f"f{index}": (int, index) for index in range(size - 1)}
        model = create_model("Many", __base__=Count, **more)
        return make_job(
            build_chain(model, [count_up] * FIELD_NODES),
            model,
            lambda state: state.x == FIELD_NODES,
        )

    def unbalanced(self, size: int) -> Job:
        graph = GraphBuilder(name="lanes", state_type=Items, output_type=type(None))

        def adding(name: str, number: int) -> Any:
            async def add(ctx: StepContext[Items, None, Any]) -> None:
                ctx.state.items.append(number)

            return graph.step(add, node_id=name)

        async def begin(ctx: StepContext[Items, None, Any]) -> None: ...
        async def merge(ctx: StepContext[Items, None, Any]) -> None:
            ctx.state.total = len(ctx.state.items)

        first, last = graph.step(begin, node_id="begin"), graph.step(merge, node_id="merge")
        join = graph.join(reduce_null, initial=None, node_id="join")
        lane, short = [adding(f"n{index}", index) for index in range(size)], adding("short", 0)
        graph.add(
            graph.edge_from(graph.start_node).to(first), graph.edge_from(first).to(lane[0], short)
        )
        for left, right in pairwise(lane):
            graph.add(graph.edge_from(left).to(right))
        graph.add(
            graph.edge_from(lane[-1], short).to(join),
            graph.edge_from(join).to(last),
            graph.edge_from(last).to(graph.end_node),
        )
        return make_job(graph.build(), Items, lambda state: state.total == size + 1)

    def nested(self, size: int) -> Job:
        width = round(size ** (1 / 3))

        def level(depth: int) -> Any:
            graph = GraphBuilder(name=f"level{depth}", state_type=Items, output_type=list[int])
            inner: Any = level(depth - 1) if depth > 1 else None

            def branch(index: int) -> Any:
                async def leaf(ctx: StepContext[Items, None, None]) -> list[int]:
                    return [index]

                async def call(ctx: StepContext[Items, None, None]) -> list[int]:
                    return await inner.run(state=ctx.state)

                return graph.step(leaf if inner is None else call, node_id=f"b{index}")

            branches = [branch(index) for index in range(width)]
            join = graph.join(reduce_list_extend, initial_factory=list[int], node_id="join")
            graph.add(
                graph.edge_from(graph.start_node).to(*branches),
                graph.edge_from(*branches).to(join),
                graph.edge_from(join).to(graph.end_node),
            )
            return graph.build()

        graph = level(3)
        return Job(lambda: graph.run(state=Items()), lambda leaves: len(leaves) == size)

    def first_event(self, size: int) -> Job:
        """Take the first item of the iterator: the task that comes next."""
        graph = build_chain(Count, [count_up] * size)

        async def run() -> Any:
            under_way = graph.iter(state=Count())
            await anext(await under_way.__aenter__())
            return under_way

        return Job(
            run,
            lambda under_way: under_way is not None,
            after=lambda under_way: under_way.__aexit__(None, None, None),
        )

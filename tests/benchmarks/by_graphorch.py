"""Workloads as a user of graphorch writes them: async nodes, `build()` and `await flow.run(…)`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, create_model

from graphorch import Flow, Graph, RunEvent, RunFailed, append, node
from graphorch.journal.sqlite.store import SqliteStore
from tests.benchmarks.workloads import (
    FIELD_NODES,
    IDLE_ROUNDS,
    WIDE_FIELDS,
    WIDE_VALUE,
    Broken,
    Job,
    build_dag,
    build_message,
    parse_number,
)


class Count(BaseModel):
    x: int = 0


class Items(BaseModel):
    items: Annotated[list[int], append] = []


class Total(BaseModel):
    total: int = 0


class Summed(Items, Total): ...


class Draft(BaseModel):
    draft: int = 0


class Score(BaseModel):
    score: int = 0


class Target(BaseModel):
    target: int = 100


class Essay(Draft, Score, Target): ...


Label = Literal["b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7", "b8", "b9"]


class Ticket(BaseModel):
    number: int = 0


class Class(BaseModel):
    label: Label = "b0"


class Done(BaseModel):
    done: str = ""


class Desk(Ticket, Class, Done): ...


class Messages(BaseModel):
    messages: Annotated[list[str], append] = []


class Log(Count, Messages): ...


class Item(BaseModel):
    item: int


class Output(BaseModel):
    output: int


class Worker(Item, Output): ...


class Todo(BaseModel):
    todo: list[Item] = []


class Results(BaseModel):
    results: list[int] = []


class Mapped(Todo, Results, Total): ...


class Base(BaseModel):
    base: int = 0


class Level(Base, Items): ...


def observe(event: RunEvent) -> None:
    """Observe all events, and do nothing."""


@node
async def step(count: Count) -> Count:
    return Count(x=count.x + 1)


@node
async def log_step(count: Count) -> tuple[Count, Messages]:
    return Count(x=count.x + 1), Messages(messages=[build_message(count.x)])


@node
async def talk(count: Count) -> tuple[Count, Messages]:
    return Count(x=count.x + 1), Messages(messages=[f"message {count.x}"])


@node
async def finish(count: Count) -> Count:
    return Count(x=count.x)


def make_adder(number: int) -> Callable[[Items], Any]:
    """Make a node's function that adds a number to the items."""

    async def branch(items: Items) -> Items:
        return Items(items=[number])

    return branch


def make_branches(count: int, prefix: str = "b") -> list[Any]:
    """Make nodes that run side by side and add their numbers."""
    return [
        cast("Any", node)(make_adder(index)).named(f"{prefix}{index}") for index in range(count)
    ]


CANNOT: dict[str, str] = {}


class Programs:
    """Programs of graphorch, with an observer of all events if watched."""

    def __init__(self, *, is_watched: bool = False) -> None:
        self.watch: Sequence[Callable[[RunEvent], None]] = (observe,) if is_watched else ()

    def make_job(
        self,
        flow: Flow[Any, Any, Any],
        given: Callable[[], BaseModel],
        check: Callable[[Any], bool],
    ) -> Job:
        """Run a flow, and check its output."""
        if self.watch:
            watch = self.watch

            async def run() -> Any:
                return (await flow.run(given(), watch=watch)).output
        else:

            async def run() -> Any:
                return (await flow.run(given())).output

        return Job(run, check)

    def chain(self, size: int) -> Job:
        graph = Graph("chain", Count)
        graph.chain(*(step.named(f"n{index}") for index in range(size)))
        return self.make_job(graph.build(), Count, lambda count: count.x == size)

    def fan_out(self, size: int) -> Job:
        @node
        async def begin(total: Total) -> None: ...

        @node
        async def merge(items: Items) -> Total:
            return Total(total=len(items.items))

        graph = Graph("fan_out", Summed)
        graph.chain(begin, make_branches(size), merge)
        return self.make_job(
            graph.build(),
            Summed,
            lambda state: state.items == list(range(size)) and state.total == size,
        )

    def map_items(self, size: int) -> Job:
        @node
        async def plan(todo: Todo) -> Todo:
            return Todo(todo=[Item(item=index) for index in range(size)])

        @node
        async def work(item: Item) -> Output:
            return Output(output=item.item)

        @node
        async def merge(results: Results) -> Total:
            return Total(total=len(results.results))

        def over(todo: Todo) -> list[Item]:
            return todo.todo

        def gather(outputs: list[Output]) -> Results:
            return Results(results=[item.output for item in outputs])

        graph = Graph("map", Mapped)
        workers = graph.map(
            "workers", work, over=over, gather=gather, max_items=size, concurrency=size
        )
        graph.chain(plan, workers, merge)
        return self.make_job(
            graph.build(),
            Mapped,
            lambda state: state.results == list(range(size)) and state.total == size,
        )

    def loop(self, size: int) -> Job:
        @node
        async def generate(draft: Draft) -> Draft:
            return Draft(draft=draft.draft + 1)

        @node
        async def evaluate(draft: Draft) -> Score:
            return Score(score=draft.draft)

        def is_weak(score: Score, target: Target) -> bool:
            return score.score < target.target

        @node
        async def publish(draft: Draft) -> None: ...

        graph = Graph("loop", Essay)
        graph.chain(generate, evaluate, publish)
        graph.loop(evaluate, back_to=generate, while_=is_weak, max_iterations=size + 1)
        return self.make_job(
            graph.build(), lambda: Essay(target=size), lambda state: state.draft == size
        )

    def dag(self, size: str) -> Job:
        dag = build_dag(size)

        def sleeping(name: str, number: int) -> Any:
            async def sleeper(items: Items) -> Items:
                await asyncio.sleep(dag.seconds[name])
                return Items(items=[number])

            return cast("Any", node)(sleeper).named(name)

        nodes = {name: sleeping(name, number) for number, name in enumerate(dag.names)}
        graph = Graph("dag", Items)
        for name, parents in dag.parents.items():
            graph.chain(nodes[name])
            for parent in parents:
                graph.chain(nodes[parent], nodes[name])
        return self.make_job(
            graph.build(), Items, lambda state: sorted(state.items) == list(range(len(dag.names)))
        )

    def sleepers(self, size: int) -> Job:
        @node
        async def sleeper(count: Count) -> Count:
            await asyncio.sleep(0.01)
            return Count(x=count.x + 1)

        graph = Graph("sleepers", Count)
        graph.chain(*(sleeper.named(f"n{index}") for index in range(5)))
        return self.make_job(graph.build(), Count, lambda count: count.x == 5)

    def router(self, size: int) -> Job:
        @node
        async def classify(ticket: Ticket) -> Class:
            return Class(label=cast("Label", f"b{ticket.number % size}"))

        def kind_of(kind: Class) -> Label:
            return kind.label

        def handling(index: int) -> Any:
            async def handle(ticket: Ticket) -> Done:
                return Done(done=f"done{index}")

            return cast("Any", node)(handle).named(f"b{index}")

        graph = Graph("router", Desk)
        route: Any = graph.route(classify, kind_of)
        for index in range(size):
            route.when(f"b{index}", handling(index))
        route.exhaustive()
        numbers = iter(range(1 << 60))
        return self.make_job(
            graph.build(),
            lambda: Desk(number=next(numbers)),
            lambda state: state.done == f"done{state.number % size}",
        )

    def wide(self, size: int) -> Job:
        make: Any = create_model
        parts = [make(f"Part{index}", **{f"f{index}": (str, WIDE_VALUE)}) for index in range(size)]
        rest: Any = {f"f{index}": (str, WIDE_VALUE) for index in range(size, WIDE_FIELDS)}
        state: Any = create_model("Wide", __base__=(*parts, create_model("Rest", **rest)))

        def changing(index: int) -> Any:
            async def change(part: Any) -> Any:
                return parts[index](**{f"f{index}": "changed"})

            change.__annotations__ = {"part": parts[index], "return": parts[index]}
            return cast("Any", node)(change).named(f"n{index}")

        graph: Any = Graph("wide", state)
        graph.chain(*(changing(index) for index in range(size)))
        given = state().model_dump()
        return self.make_job(
            graph.build(),
            lambda: state(**given),
            lambda made: all(getattr(made, f"f{index}") == "changed" for index in range(size)),
        )

    async def durable(self, size: str, path: Path) -> Job:
        mode, count = size.partition("/")[0], parse_number(size)
        graph = Graph("durable", Log)
        graph.chain(*(log_step.named(f"n{index}") for index in range(count)))
        flow = graph.build()
        store = await SqliteStore.open(path, sync=cast("Any", mode))

        async def run() -> Log:
            return (await flow.run(Log(), durable=store)).output

        return Job(run, lambda state: state.x == count == len(state.messages), close=store.close)

    async def resume(self, size: int, path: Path) -> Job:
        is_broken = True

        @node
        async def last(count: Count) -> Count:
            if is_broken:
                raise Broken
            return Count(x=count.x + 1)

        def is_short(count: Count) -> bool:
            return count.x < size

        graph = Graph("resume", Log)
        graph.chain(talk, last)
        graph.loop(talk, back_to=talk, while_=is_short, max_iterations=size + 1)
        flow = graph.build()
        store = await SqliteStore.open(path, sync="normal")
        with suppress(RunFailed):
            await flow.run(Log(), durable=store, run_id="r")
        is_broken = False

        async def run() -> Log:
            return (await flow.resume("r", durable=store)).output

        return Job(
            run,
            lambda state: state.x == size + 1 and len(state.messages) == size,
            close=store.close,
        )

    def error(self, size: int) -> Job:
        def sleeping(index: int) -> Any:
            async def branch(items: Items) -> Items:
                if index == 0:
                    raise Broken
                await asyncio.sleep(1.0)
                return Items(items=[index])

            return cast("Any", node)(branch).named(f"b{index}")

        graph = Graph("error", Items)
        graph.chain([sleeping(index) for index in range(size)])
        flow = graph.build()

        async def run() -> Any:
            return await flow.run(Items(), on_failure="cancel")

        return Job(run, lambda _: False)

    def nested(self, size: int) -> Job:
        width = round(size ** (1 / 3))

        def leaves() -> list[Any]:
            def leaf(index: int) -> Any:
                async def work(base: Base) -> Items:
                    return Items(items=[base.base * width + index])

                return cast("Any", node)(work).named(f"leaf{index}")

            return [leaf(index) for index in range(width)]

        def leave(items: Items) -> Items:
            return items

        def level(depth: int) -> Flow[Base, Items, Level]:
            graph = Graph(f"level{depth}", Level, input=Base, output=Items)

            def calling(index: int) -> Any:
                def enter(base: Base) -> Base:
                    return Base(base=base.base * width + index)

                return graph.sub(f"s{index}", inner, enter=enter, leave=leave)

            if depth == 1:
                graph.chain(leaves())
                return graph.build()
            inner = level(depth - 1)
            graph.chain([calling(index) for index in range(width)])
            return graph.build()

        return self.make_job(level(3), Base, lambda state: state.items == list(range(size)))

    def idle(self, size: int) -> Job:
        def is_short(count: Count) -> bool:
            return count.x < IDLE_ROUNDS

        def way(count: Count) -> Literal["on", "idle"]:
            return "on" if count.x >= 0 else "idle"

        graph = Graph("idle", Count)
        graph.loop(step, back_to=step, while_=is_short, max_iterations=IDLE_ROUNDS + 1)
        idle = [step.named(f"idle{index}") for index in range(size)]
        if idle:
            graph.route(step, way).when("on", finish).when("idle", idle[0]).exhaustive()
            graph.chain(*idle, finish)
        else:
            graph.chain(step, finish)
        return self.make_job(graph.build(), Count, lambda count: count.x == IDLE_ROUNDS)

    def fields(self, size: int) -> Job:
        more: Any = {f"f{index}": (int, index) for index in range(size - 1)}
        state: Any = create_model("Many", __base__=(Count, create_model("More", **more)))
        graph: Any = Graph("fields", state, input=Count, output=Count)
        graph.chain(*(step.named(f"n{index}") for index in range(FIELD_NODES)))
        return self.make_job(graph.build(), Count, lambda count: count.x == FIELD_NODES)

    def unbalanced(self, size: int) -> Job:
        @node
        async def merge(items: Items) -> Total:
            return Total(total=len(items.items))

        graph = Graph("unbalanced", Summed)
        graph.chain(*make_branches(size), merge)
        graph.chain(*make_branches(1, "short"), merge)
        return self.make_job(graph.build(), Summed, lambda state: state.total == size + 1)

    def history(self, size: int) -> Job:
        def is_short(count: Count) -> bool:
            return count.x < size

        graph = Graph("history", Log)
        graph.chain(talk, finish)
        graph.loop(talk, back_to=talk, while_=is_short, max_iterations=size + 1)
        return self.make_job(graph.build(), Log, lambda state: len(state.messages) == size)

    def first_event(self, size: int) -> Job:
        graph = Graph("chain", Count)
        graph.chain(*(step.named(f"n{index}") for index in range(size)))
        flow = graph.build()

        async def run() -> Any:
            events = flow.stream(Count())
            await anext(events)
            return events

        return Job(run, lambda events: events is not None, after=lambda events: events.aclose())

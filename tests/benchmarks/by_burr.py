"""Workloads in Burr: async pydantic actions, a graph built once, and an application for each run.

In Burr the application owns the state, so a run cannot share it with another.
"""
# pyright: reportMissingImports=false

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

from burr.core import ApplicationBuilder, GraphBuilder, State, action, expr, when
from burr.core.parallelism import MapStates, RunnableGraph, SubGraphTask, TaskBasedParallelAction
from burr.integrations.persisters.b_aiosqlite import AsyncSQLitePersister
from burr.integrations.pydantic import PydanticTypingSystem
from pydantic import BaseModel, create_model

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
    "dag:layered": "one action at a time, and parallel actions that are maps: "
    "no node of several parents"
}


@action.pydantic(reads=["x"], writes=["x"])
async def count_up(state: Count) -> Count:
    state.x = state.x + 1
    return state


@action.pydantic(reads=["x", "messages"], writes=["x", "messages"])
async def talk(state: Log) -> Log:
    state.messages = [*state.messages, f"message {state.x}"]
    state.x = state.x + 1
    return state


def build_graph(actions: dict[str, Any], transitions: list[Any]) -> Any:
    """Build a graph."""
    return GraphBuilder().with_actions(**actions).with_transitions(*transitions).build()


def build_chain(actions: list[Any]) -> Any:
    """Build a graph of actions in a row."""
    return build_graph(
        {f"n{index}": item for index, item in enumerate(actions)},
        [(f"n{index}", f"n{index + 1}") for index in range(len(actions) - 1)],
    )


def make_builder(graph: Any, state: BaseModel, entry: str) -> Any:
    """Return the builder of the application of a run."""
    return (
        ApplicationBuilder()
        .with_graph(graph)
        .with_typing(PydanticTypingSystem(type(state)))
        .with_state(state)
        .with_entrypoint(entry)
    )


async def run_graph(graph: Any, state: BaseModel, entry: str, *halts: str) -> Any:
    """Run a graph until any of some actions is done, and return the state."""
    app = await make_builder(graph, state, entry).abuild()
    _, _, state = await app.arun(halt_after=list(halts))
    return state


class Reducing:
    """Base of the parallel actions: async, and writing the items."""

    reads = ("items",)
    writes = ("items",)

    def is_async(self) -> bool:
        return True


async def open_persister(path: Path, mode: str) -> tuple[Any, Any]:
    """Return a persister on a file with the pragmas of all systems, and its closing function."""
    context = AsyncSQLitePersister.from_values(db_path=str(path))
    persister = await context.__aenter__()
    await persister.initialize()
    await persister.connection.execute("PRAGMA journal_mode = WAL")
    await persister.connection.execute(f"PRAGMA synchronous = {mode}")

    async def close() -> None:
        await context.__aexit__(None, None, None)

    return persister, close


class Programs:
    """Programs of Burr."""

    def chain(self, size: int) -> Job:
        graph = build_chain([count_up] * size)
        return Job(
            lambda: run_graph(graph, Count(), "n0", f"n{size - 1}"),
            lambda state: state["x"] == size,
        )

    def _fan(self, size: int, body: Any) -> Job:
        @action(reads=["index"], writes=["item"])
        async def body_action(state: State) -> State:
            return state.update(item=await body(state["index"]))

        class Fan(Reducing, MapStates):
            def action(self, state: Any, inputs: Any) -> Any:
                return body_action

            async def states(self, state: Any, context: Any, inputs: Any) -> AsyncGenerator[Any]:
                for index in range(size):
                    yield state.update(index=index)

            async def reduce(self, state: Any, states: Any) -> Any:
                return state.update(items=[branch["item"] async for branch in states])

        @action.pydantic(reads=["items"], writes=["total"])
        async def merge(state: Items) -> Items:
            state.total = len(state.items)
            return state

        graph = build_graph({"fan": Fan(), "merge": merge}, [("fan", "merge")])
        return Job(
            lambda: run_graph(graph, Items(), "fan", "merge"),
            lambda state: sorted(state["items"]) == list(range(size)) and state["total"] == size,
        )

    def fan_out(self, size: int) -> Job:
        async def body(index: int) -> int:
            return index

        return self._fan(size, body)

    map_items = fan_out

    def error(self, size: int) -> Job:
        async def body(index: int) -> int:
            if index == 0:
                raise Broken
            await asyncio.sleep(1.0)
            return index

        return self._fan(size, body)

    def loop(self, size: int) -> Job:
        @action.pydantic(reads=["draft"], writes=["draft"])
        async def generate(state: Essay) -> Essay:
            state.draft = state.draft + 1
            return state

        @action.pydantic(reads=["draft"], writes=["score"])
        async def evaluate(state: Essay) -> Essay:
            state.score = state.draft
            return state

        @action.pydantic(reads=["score"], writes=["score"])
        async def publish(state: Essay) -> Essay:
            return state

        actions = {"generate": generate, "evaluate": evaluate, "publish": publish}
        graph = build_graph(
            actions,
            [
                ("generate", "evaluate"),
                ("evaluate", "generate", expr("score < target")),
                ("evaluate", "publish"),
            ],
        )
        return Job(
            lambda: run_graph(graph, Essay(target=size), "generate", "publish"),
            lambda state: state["draft"] == size,
        )

    def dag(self, size: str) -> Job:
        """Run two lanes as two sub-graphs of a parallel action."""
        dag = build_dag(size)

        def lane(names: list[str]) -> Any:
            def sleeping(name: str) -> Any:
                @action(reads=["count"], writes=["count"])
                async def sleeper(state: State) -> State:
                    await asyncio.sleep(dag.seconds[name])
                    return state.update(count=state["count"] + 1)

                return sleeper

            graph = build_graph({name: sleeping(name) for name in names}, list(pairwise(names)))
            return RunnableGraph(graph, names[0], [names[-1]])

        lanes = [lane([name for name in dag.names if name.startswith(letter)]) for letter in "ab"]

        class Lanes(Reducing, TaskBasedParallelAction):
            async def tasks(self, state: Any, context: Any, inputs: Any) -> AsyncGenerator[Any]:
                for number, item in enumerate(lanes):
                    yield SubGraphTask(
                        graph=item,
                        inputs={},
                        state=State({"count": 0}),
                        application_id=f"{context.app_id}:{number}",
                    )

            async def reduce(self, state: Any, states: Any) -> Any:
                return state.update(items=[item["count"] async for item in states])

        @action.pydantic(reads=["items"], writes=["items"])
        async def merge(state: Items) -> Items:
            return state

        graph = build_graph({"lanes": Lanes(), "merge": merge}, [("lanes", "merge")])
        return Job(
            lambda: run_graph(graph, Items(), "lanes", "merge"),
            lambda state: state["items"] == [10, 1],
        )

    def sleepers(self, size: int) -> Job:
        @action.pydantic(reads=["x"], writes=["x"])
        async def sleeper(state: Count) -> Count:
            await asyncio.sleep(0.01)
            state.x = state.x + 1
            return state

        graph = build_chain([sleeper] * 5)
        return Job(lambda: run_graph(graph, Count(), "n0", "n4"), lambda state: state["x"] == 5)

    def router(self, size: int) -> Job:
        @action.pydantic(reads=["number"], writes=["label"])
        async def classify(state: Ticket) -> Ticket:
            state.label = f"b{state.number % size}"
            return state

        def handling(index: int) -> Any:
            @action.pydantic(reads=["label"], writes=["done"])
            async def handle(state: Ticket) -> Ticket:
                state.done = f"done{index}"
                return state

            return handle

        names = [f"b{index}" for index in range(size)]
        actions = {name: handling(index) for index, name in enumerate(names)}
        graph = build_graph(
            {"classify": classify, **actions},
            [("classify", name, when(label=name)) for name in names],
        )
        numbers = iter(range(1 << 60))
        return Job(
            lambda: run_graph(graph, Ticket(number=next(numbers)), "classify", *names),
            lambda state: state["done"] == f"done{state['number'] % size}",
        )

    def wide(self, size: int) -> Job:
        fields: Any = {f"f{index}": (str, WIDE_VALUE) for index in range(WIDE_FIELDS)}
        model = create_model("Wide", **fields)
        given = model().model_dump()

        def changing(index: int) -> Any:
            async def change(state: Any) -> Any:
                setattr(state, f"f{index}", "changed")
                return state

            change.__annotations__ = {"state": model, "return": model}
            return action.pydantic(reads=[f"f{index}"], writes=[f"f{index}"])(change)

        graph = build_chain([changing(index) for index in range(size)])
        return Job(
            lambda: run_graph(graph, model(**given), "n0", f"n{size - 1}"),
            lambda state: all(state[f"f{index}"] == "changed" for index in range(size)),
        )

    async def durable(self, size: str, path: Path) -> Job:
        count = parse_number(size)
        persister, close = await open_persister(path, size.partition("/")[0])

        @action.pydantic(reads=["x", "messages"], writes=["x", "messages"])
        async def step(state: Log) -> Log:
            state.messages = [*state.messages, build_message(state.x)]
            state.x = state.x + 1
            return state

        graph = build_chain([step] * count)

        async def run() -> Any:
            app = (
                await make_builder(graph, Log(), "n0")
                .with_state_persister(persister)
                .with_identifiers(app_id="r")
                .abuild()
            )
            _, _, state = await app.arun(halt_after=[f"n{count - 1}"])
            return state

        return Job(run, lambda state: state["x"] == count == len(state["messages"]), close=close)

    async def resume(self, size: int, path: Path) -> Job:
        is_broken = True

        @action.pydantic(reads=["x"], writes=["x"])
        async def last(state: Log) -> Log:
            if is_broken:
                raise Broken
            state.x = state.x + 1
            return state

        persister, close = await open_persister(path, "normal")
        graph = build_graph(
            {"talk": talk, "last": last}, [("talk", "talk", expr(f"x < {size}")), ("talk", "last")]
        )
        app = (
            await make_builder(graph, Log(), "talk")
            .with_state_persister(persister)
            .with_identifiers(app_id="r")
            .abuild()
        )
        with suppress(Broken):
            await app.arun(halt_after=["last"])
        is_broken = False

        async def run() -> Any:
            builder = (
                ApplicationBuilder()
                .with_graph(graph)
                .with_typing(PydanticTypingSystem(Log))
                .with_identifiers(app_id="r")
            )
            builder = builder.initialize_from(
                persister,
                resume_at_next_action=True,
                default_state=Log(),
                default_entrypoint="talk",
            )
            app = await builder.with_state_persister(persister).abuild()
            _, _, state = await app.arun(halt_after=["last"])
            return state

        return Job(
            run,
            lambda state: state["x"] == size + 1 and len(state["messages"]) == size,
            close=close,
        )

    def nested(self, size: int) -> Job:
        width = round(size ** (1 / 3))

        @action(reads=["index"], writes=["items"])
        async def leaf(state: State) -> State:
            return state.update(items=[state["index"]])

        def level(depth: int) -> Any:
            inner = RunnableGraph(level(depth - 1), "fan", ["fan"]) if depth > 1 else leaf

            class Fan(Reducing, MapStates):
                def action(self, state: Any, inputs: Any) -> Any:
                    return inner

                async def states(
                    self, state: Any, context: Any, inputs: Any
                ) -> AsyncGenerator[Any]:
                    for index in range(width):
                        yield state.update(index=index)

                async def reduce(self, state: Any, states: Any) -> Any:
                    return state.update(
                        items=[item async for lane in states for item in lane["items"]]
                    )

            return build_graph({"fan": Fan()}, [])

        graph = level(3)
        return Job(
            lambda: run_graph(graph, Items(), "fan", "fan"),
            lambda state: len(state["items"]) == size,
        )

    def idle(self, size: int) -> Job:
        idle = {f"idle{index}": count_up for index in range(size)}
        ways: list[Any] = [(f"idle{index}", f"idle{index + 1}") for index in range(size - 1)]
        on: list[Any] = [
            ("step", "step", expr(f"x < {IDLE_ROUNDS}")),
            ("step", "finish", expr("x >= 0")),
            *([("step", "idle0")] if size else []),
        ]
        graph = build_graph({"step": count_up, "finish": count_up, **idle}, on + ways)
        return Job(
            lambda: run_graph(graph, Count(), "step", "finish"),
            lambda state: state["x"] == IDLE_ROUNDS + 1,
        )

    def fields(self, size: int) -> Job:
        more: Any = {f"f{index}": (int, index) for index in range(size - 1)}
        model = create_model("Many", __base__=Count, **more)
        graph = build_chain([count_up] * FIELD_NODES)
        return Job(
            lambda: run_graph(graph, model(), "n0", f"n{FIELD_NODES - 1}"),
            lambda state: state["x"] == FIELD_NODES,
        )

    def unbalanced(self, size: int) -> Job:
        def lane(count: int) -> Any:
            def adding(number: int) -> Any:
                @action(reads=["items"], writes=["items"])
                async def add(state: State) -> State:
                    return state.update(items=[*state["items"], number])

                return add

            return RunnableGraph(
                build_chain([adding(number) for number in range(count)]), "n0", [f"n{count - 1}"]
            )

        lanes = [lane(size), lane(1)]

        class Lanes(Reducing, TaskBasedParallelAction):
            async def tasks(self, state: Any, context: Any, inputs: Any) -> AsyncGenerator[Any]:
                for number, item in enumerate(lanes):
                    yield SubGraphTask(
                        graph=item,
                        inputs={},
                        state=State({"items": []}),
                        application_id=f"{context.app_id}:{number}",
                    )

            async def reduce(self, state: Any, states: Any) -> Any:
                return state.update(items=[item async for lane in states for item in lane["items"]])

        @action.pydantic(reads=["items"], writes=["total"])
        async def merge(state: Items) -> Items:
            state.total = len(state.items)
            return state

        graph = build_graph({"lanes": Lanes(), "merge": merge}, [("lanes", "merge")])
        return Job(
            lambda: run_graph(graph, Items(), "lanes", "merge"),
            lambda state: state["total"] == size + 1,
        )

    def history(self, size: int) -> Job:
        @action.pydantic(reads=["x"], writes=["x"])
        async def finish(state: Log) -> Log:
            return state

        graph = build_graph(
            {"talk": talk, "finish": finish},
            [("talk", "talk", expr(f"x < {size}")), ("talk", "finish")],
        )
        return Job(
            lambda: run_graph(graph, Log(), "talk", "finish"),
            lambda state: len(state["messages"]) == size,
        )

    def first_event(self, size: int) -> Job:
        graph = build_chain([count_up] * size)

        async def run() -> Any:
            app = await make_builder(graph, Count(), "n0").abuild()
            events = app.aiterate(halt_after=[f"n{size - 1}"])
            await anext(events)
            return events

        return Job(run, lambda events: events is not None, after=lambda events: events.aclose())

"""Workloads in LangGraph: a `StateGraph` on a pydantic state, compiled once, and `ainvoke`.

Routers are async, since LangGraph runs those faster.
"""
# pyright: reportMissingImports=false

from __future__ import annotations

import asyncio
import operator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send
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
    items: Annotated[list[int], operator.add] = []


class Summed(Items):
    total: int = 0
    todo: list[int] = []


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
    messages: Annotated[list[str], operator.add] = []


CANNOT: dict[str, str] = {}
NO_LIMIT = {"recursion_limit": 1_000_000}
ONE_RUN = NO_LIMIT | {"configurable": {"thread_id": "r"}}


def build_chain(model: Any, nodes: list[Any]) -> Any:
    """Compile a graph of nodes in a row."""
    graph = StateGraph(model)
    for index, node in enumerate(nodes):
        graph.add_node(f"n{index}", node)
        graph.add_edge(f"n{index - 1}" if index else START, f"n{index}")
    graph.add_edge(f"n{len(nodes) - 1}", END)
    return graph


def make_job(app: Any, given: dict[str, Any], check: Any) -> Job:
    """Run a compiled graph."""
    return Job(lambda: app.ainvoke(given, NO_LIMIT), check)


async def open_saver(path: Path, mode: str) -> tuple[Any, Any]:
    """Return a checkpointer on a file, and its closing function."""
    context = AsyncSqliteSaver.from_conn_string(str(path))
    saver = await context.__aenter__()
    await saver.setup()
    await saver.conn.execute(f"PRAGMA synchronous = {mode}")

    async def close() -> None:
        await context.__aexit__(None, None, None)

    return saver, close


class Programs:
    """Programs of LangGraph."""

    def chain(self, size: int) -> Job:
        async def step(state: Count) -> dict[str, Any]:
            return {"x": state.x + 1}

        return make_job(
            build_chain(Count, [step] * size).compile(), {"x": 0}, lambda state: state["x"] == size
        )

    def fan_out(self, size: int) -> Job:
        async def begin(state: Summed) -> dict[str, Any]:
            return {}

        async def merge(state: Summed) -> dict[str, Any]:
            return {"total": len(state.items)}

        def branch(index: int) -> Any:
            async def add(state: Summed) -> dict[str, Any]:
                return {"items": [index]}

            return add

        graph = StateGraph(Summed)
        graph.add_node("begin", begin)
        graph.add_node("merge", merge)
        graph.add_edge(START, "begin")
        for index in range(size):
            graph.add_node(f"b{index}", branch(index))
            graph.add_edge("begin", f"b{index}")
        graph.add_edge([f"b{index}" for index in range(size)], "merge")
        graph.add_edge("merge", END)
        return make_job(
            graph.compile(),
            {"items": []},
            lambda state: sorted(state["items"]) == list(range(size)) and state["total"] == size,
        )

    def map_items(self, size: int) -> Job:
        async def plan(state: Summed) -> dict[str, Any]:
            return {"todo": list(range(size))}

        async def work(index: int) -> dict[str, Any]:
            return {"items": [index]}

        async def merge(state: Summed) -> dict[str, Any]:
            return {"total": len(state.items)}

        async def send(state: Summed) -> list[Any]:
            return [Send("work", index) for index in state.todo]

        graph = StateGraph(Summed)
        graph.add_node("plan", plan)
        graph.add_node("work", work)
        graph.add_node("merge", merge)
        graph.add_edge(START, "plan")
        graph.add_conditional_edges("plan", send, ["work"])
        graph.add_edge("work", "merge")
        graph.add_edge("merge", END)
        return make_job(
            graph.compile(),
            {"items": []},
            lambda state: sorted(state["items"]) == list(range(size)) and state["total"] == size,
        )

    def loop(self, size: int) -> Job:
        async def generate(state: Essay) -> dict[str, Any]:
            return {"draft": state.draft + 1}

        async def evaluate(state: Essay) -> dict[str, Any]:
            return {"score": state.draft}

        async def way(state: Essay) -> str:
            return "generate" if state.score < state.target else END

        graph = StateGraph(Essay)
        graph.add_node("generate", generate)
        graph.add_node("evaluate", evaluate)
        graph.add_edge(START, "generate")
        graph.add_edge("generate", "evaluate")
        graph.add_conditional_edges("evaluate", way, ["generate", END])
        return make_job(graph.compile(), {"target": size}, lambda state: state["draft"] == size)

    def dag(self, size: str) -> Job:
        dag = build_dag(size)

        def sleeping(name: str, number: int) -> Any:
            async def sleeper(state: Items) -> dict[str, Any]:
                await asyncio.sleep(dag.seconds[name])
                return {"items": [number]}

            return sleeper

        async def end(state: Items) -> dict[str, Any]:
            return {}

        graph = StateGraph(Items)
        for number, name in enumerate(dag.names):
            graph.add_node(name, sleeping(name, number))
        graph.add_node("end", end)
        for name, parents in dag.parents.items():
            graph.add_edge(list(parents) if parents else START, name)
        graph.add_edge([name for name, children in dag.children().items() if not children], "end")
        graph.add_edge("end", END)
        return make_job(
            graph.compile(),
            {"items": []},
            lambda state: sorted(state["items"]) == list(range(len(dag.names))),
        )

    def sleepers(self, size: int) -> Job:
        async def step(state: Count) -> dict[str, Any]:
            await asyncio.sleep(0.01)
            return {"x": state.x + 1}

        return make_job(
            build_chain(Count, [step] * 5).compile(), {"x": 0}, lambda state: state["x"] == 5
        )

    def router(self, size: int) -> Job:
        async def classify(state: Ticket) -> dict[str, Any]:
            return {"label": f"b{state.number % size}"}

        async def way(state: Ticket) -> str:
            return state.label

        def handling(index: int) -> Any:
            async def handle(state: Ticket) -> dict[str, Any]:
                return {"done": f"done{index}"}

            return handle

        graph = StateGraph(Ticket)
        graph.add_node("classify", classify)
        graph.add_edge(START, "classify")
        for index in range(size):
            graph.add_node(f"b{index}", handling(index))
            graph.add_edge(f"b{index}", END)
        graph.add_conditional_edges("classify", way, [f"b{index}" for index in range(size)])
        app, numbers = graph.compile(), iter(range(1 << 60))
        return Job(
            lambda: app.ainvoke({"number": next(numbers)}, NO_LIMIT),
            lambda state: state["done"] == f"done{state['number'] % size}",
        )

    def wide(self, size: int) -> Job:
        fields: Any = {f"f{index}": (str, WIDE_VALUE) for index in range(WIDE_FIELDS)}
        model = create_model("Wide", **fields)

        def changing(index: int) -> Any:
            async def change(state: Any) -> dict[str, Any]:
                return {f"f{index}": "changed"}

            return change

        app = build_chain(model, [changing(index) for index in range(size)]).compile()
        return make_job(
            app,
            model().model_dump(),
            lambda state: all(state[f"f{index}"] == "changed" for index in range(size)),
        )

    async def durable(self, size: str, path: Path) -> Job:
        count = parse_number(size)
        saver, close = await open_saver(path, size.partition("/")[0])

        async def step(state: Log) -> dict[str, Any]:
            return {"x": state.x + 1, "messages": [build_message(state.x)]}

        app = build_chain(Log, [step] * count).compile(checkpointer=saver)

        def run() -> Any:
            return app.ainvoke({"x": 0}, ONE_RUN, durability="sync")

        return Job(run, lambda state: state["x"] == count == len(state["messages"]), close=close)

    async def resume(self, size: int, path: Path) -> Job:
        is_broken = True

        async def step(state: Log) -> dict[str, Any]:
            return {"x": state.x + 1, "messages": [f"message {state.x}"]}

        async def last(state: Log) -> dict[str, Any]:
            if is_broken:
                raise Broken
            return {"x": state.x + 1}

        async def way(state: Log) -> str:
            return "step" if state.x < size else "last"

        saver, close = await open_saver(path, "normal")
        graph = StateGraph(Log)
        graph.add_node("step", step)
        graph.add_node("last", last)
        graph.add_edge(START, "step")
        graph.add_conditional_edges("step", way, ["step", "last"])
        graph.add_edge("last", END)
        app = graph.compile(checkpointer=saver)
        with suppress(Broken):
            await app.ainvoke({"x": 0}, ONE_RUN, durability="sync")
        is_broken = False

        def run() -> Any:
            return app.ainvoke(None, ONE_RUN, durability="sync")

        return Job(
            run,
            lambda state: state["x"] == size + 1 and len(state["messages"]) == size,
            close=close,
        )

    def error(self, size: int) -> Job:
        def branch(index: int) -> Any:
            async def sleeper(state: Items) -> dict[str, Any]:
                if index == 0:
                    raise Broken
                await asyncio.sleep(1.0)
                return {"items": [index]}

            return sleeper

        graph = StateGraph(Items)
        for index in range(size):
            graph.add_node(f"b{index}", branch(index))
            graph.add_edge(START, f"b{index}")
        return make_job(graph.compile(), {"items": []}, lambda _: False)

    def nested(self, size: int) -> Job:
        width = round(size ** (1 / 3))

        def leaf(index: int) -> Any:
            async def work(state: Items) -> dict[str, Any]:
                return {"items": [index]}

            return work

        async def join(state: Items) -> dict[str, Any]:
            return {}

        def level(depth: int) -> Any:
            graph = StateGraph(Items)
            graph.add_node("join", join)
            inner = level(depth - 1) if depth > 1 else None
            for index in range(width):
                graph.add_node(f"b{index}", leaf(index) if inner is None else inner)
                graph.add_edge(START, f"b{index}")
            graph.add_edge([f"b{index}" for index in range(width)], "join")
            graph.add_edge("join", END)
            return graph.compile()

        return make_job(level(3), {"items": []}, lambda state: len(state["items"]) == size)

    def idle(self, size: int) -> Job:
        async def step(state: Count) -> dict[str, Any]:
            return {"x": state.x + 1}

        async def finish(state: Count) -> dict[str, Any]:
            return {}

        async def way(state: Count) -> str:
            return "step" if state.x < IDLE_ROUNDS else "finish" if state.x >= 0 else "idle0"

        graph = StateGraph(Count)
        graph.add_node("step", step)
        graph.add_node("finish", finish)
        graph.add_edge(START, "step")
        graph.add_conditional_edges("step", way, ["step", "finish", *(["idle0"] if size else [])])
        for index in range(size):
            graph.add_node(f"idle{index}", step)
            graph.add_edge(f"idle{index}", f"idle{index + 1}" if index + 1 < size else "finish")
        graph.add_edge("finish", END)
        return make_job(graph.compile(), {"x": 0}, lambda state: state["x"] == IDLE_ROUNDS)

    def fields(self, size: int) -> Job:
        more: Any = {f"f{index}": (int, index) for index in range(size - 1)}

        async def step(state: Count) -> dict[str, Any]:
            return {"x": state.x + 1}

        model = create_model("Many", __base__=Count, **more)
        return make_job(
            build_chain(model, [step] * FIELD_NODES).compile(),
            {"x": 0},
            lambda state: state["x"] == FIELD_NODES,
        )

    def unbalanced(self, size: int) -> Job:
        def branch(index: int) -> Any:
            async def add(state: Summed) -> dict[str, Any]:
                return {"items": [index]}

            return add

        async def merge(state: Summed) -> dict[str, Any]:
            return {"total": len(state.items)}

        graph = StateGraph(Summed)
        for index in range(size):
            graph.add_node(f"n{index}", branch(index))
            graph.add_edge(f"n{index - 1}" if index else START, f"n{index}")
        graph.add_node("short", branch(0))
        graph.add_node("merge", merge)
        graph.add_edge(START, "short")
        graph.add_edge([f"n{size - 1}", "short"], "merge")
        graph.add_edge("merge", END)
        return make_job(graph.compile(), {"items": []}, lambda state: state["total"] == size + 1)

    def history(self, size: int) -> Job:
        async def talk(state: Log) -> dict[str, Any]:
            return {"x": state.x + 1, "messages": [f"message {state.x}"]}

        async def way(state: Log) -> str:
            return "talk" if state.x < size else END

        graph = StateGraph(Log)
        graph.add_node("talk", talk)
        graph.add_edge(START, "talk")
        graph.add_conditional_edges("talk", way, ["talk", END])
        return make_job(graph.compile(), {"x": 0}, lambda state: len(state["messages"]) == size)

    def first_event(self, size: int) -> Job:
        async def step(state: Count) -> dict[str, Any]:
            return {"x": state.x + 1}

        app = build_chain(Count, [step] * size).compile()

        async def run() -> Any:
            events = app.astream({"x": 0}, NO_LIMIT, stream_mode="updates")
            await anext(events)
            return events

        return Job(run, lambda events: events is not None, after=lambda events: events.aclose())

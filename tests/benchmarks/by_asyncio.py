"""Workloads by hand: coroutines on a pydantic model, and a task for what runs concurrently."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

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


CANNOT: dict[str, str] = {}


class Programs:
    """Programs by hand, which all others are compared with."""

    def chain(self, size: int) -> Job:
        async def step(state: Count) -> None:
            state.x += 1

        steps = [step] * size

        async def run() -> Count:
            state = Count()
            for item in steps:
                await item(state)
            return state

        return Job(run, lambda state: state.x == size)

    def fan_out(self, size: int) -> Job:
        async def begin(state: Items) -> None: ...
        async def branch(index: int) -> int:
            return index

        async def merge(state: Items, items: list[int]) -> None:
            state.items, state.total = items, len(items)

        async def run() -> Items:
            state = Items()
            await begin(state)
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(branch(index)) for index in range(size)]
            await merge(state, [task.result() for task in tasks])
            return state

        return Job(run, lambda state: state.items == list(range(size)) and state.total == size)

    map_items = fan_out

    def loop(self, size: int) -> Job:
        async def generate(state: Essay) -> None:
            state.draft += 1

        async def evaluate(state: Essay) -> None:
            state.score = state.draft

        async def run() -> Essay:
            state = Essay(target=size)
            while True:
                await generate(state)
                await evaluate(state)
                if state.score >= state.target:
                    return state

        return Job(run, lambda state: state.draft == size)

    def dag(self, size: str) -> Job:
        dag = build_dag(size)

        async def run() -> list[str]:
            tasks: dict[str, asyncio.Task[str]] = {}

            async def run_node(name: str) -> str:
                for parent in dag.parents[name]:
                    await tasks[parent]
                await asyncio.sleep(dag.seconds[name])
                return name

            async with asyncio.TaskGroup() as group:
                for name in dag.names:
                    tasks[name] = group.create_task(run_node(name))
            return [task.result() for task in tasks.values()]

        return Job(run, lambda names: sorted(names) == sorted(dag.names))

    def sleepers(self, size: int) -> Job:
        async def step(state: Count) -> None:
            await asyncio.sleep(0.01)
            state.x += 1

        async def run() -> Count:
            state = Count()
            for _ in range(5):
                await step(state)
            return state

        return Job(run, lambda state: state.x == 5)

    def router(self, size: int) -> Job:
        async def classify(state: Ticket) -> None:
            state.label = f"b{state.number % size}"

        def branch(index: int) -> Any:
            async def handle(state: Ticket) -> None:
                state.done = f"done{index}"

            return handle

        table = {f"b{index}": branch(index) for index in range(size)}
        numbers = iter(range(1 << 60))

        async def run() -> Ticket:
            state = Ticket(number=next(numbers))
            await classify(state)
            await table[state.label](state)
            return state

        return Job(run, lambda state: state.done == f"done{state.number % size}")

    def wide(self, size: int) -> Job:
        fields: Any = {f"f{index}": (str, WIDE_VALUE) for index in range(WIDE_FIELDS)}
        model: Any = create_model("Wide", **fields)
        given = model().model_dump()

        async def step(state: Any, index: int) -> None:
            setattr(state, f"f{index}", "changed")

        async def run() -> Any:
            state = model(**given)
            for index in range(size):
                await step(state, index)
            return state

        return Job(
            run,
            lambda state: all(getattr(state, f"f{index}") == "changed" for index in range(size)),
        )

    async def durable(self, size: str, path: Path) -> Job:
        """Append what each step adds to a bare log, with an INSERT and a COMMIT."""
        mode, count = size.partition("/")[0], parse_number(size)
        log = open_log(path, mode)

        async def step(state: Log) -> dict[str, Any]:
            state.x += 1
            state.messages.append(build_message(state.x))
            return {"x": state.x, "messages": state.messages[-1:]}

        async def run() -> Log:
            state = Log()
            for _ in range(count):
                log.execute("INSERT INTO log (body) VALUES (?)", (json.dumps(await step(state)),))
            return state

        async def close() -> None:
            log.close()

        return Job(run, lambda state: state.x == count == len(state.messages), close=close)

    async def resume(self, size: int, path: Path) -> Job:
        log = open_log(path, "normal")
        for index in range(size):
            log.execute(
                "INSERT INTO log (body) VALUES (?)",
                (json.dumps({"x": index + 1, "messages": [f"message {index}"]}),),
            )

        async def last(state: Log) -> None:
            state.x += 1

        async def run() -> Log:
            state = Log()
            for (body,) in log.execute("SELECT body FROM log ORDER BY seq"):
                read = json.loads(body)
                state.x = read["x"]
                state.messages += read["messages"]
            await last(state)
            return state

        async def close() -> None:
            log.close()

        return Job(
            run, lambda state: state.x == size + 1 and len(state.messages) == size, close=close
        )

    def error(self, size: int) -> Job:
        async def branch(index: int) -> None:
            if index == 0:
                raise Broken
            await asyncio.sleep(1.0)

        async def run() -> None:
            async with asyncio.TaskGroup() as group:
                for index in range(size):
                    group.create_task(branch(index))

        return Job(run, lambda _: False)

    def nested(self, size: int) -> Job:
        width = round(size ** (1 / 3))

        async def leaf(index: int) -> list[int]:
            return [index]

        async def level(depth: int, base: int) -> list[int]:
            if depth == 0:
                return await leaf(base)
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(level(depth - 1, base * width + index))
                    for index in range(width)
                ]
            return [leaf for task in tasks for leaf in task.result()]

        async def run() -> list[int]:
            return await level(3, 0)

        return Job(run, lambda leaves: leaves == list(range(size)))

    def idle(self, size: int) -> Job:
        async def step(state: Count) -> None:
            state.x += 1

        async def run() -> Count:
            state = Count()
            while state.x < IDLE_ROUNDS:
                await step(state)
            return state

        return Job(run, lambda state: state.x == IDLE_ROUNDS)

    def fields(self, size: int) -> Job:
        fields: Any = {f"f{index}": (int, index) for index in range(size - 1)}
        model: Any = create_model("Many", __base__=Count, **fields)

        async def step(state: Any) -> None:
            state.x += 1

        async def run() -> Any:
            state = model()
            for _ in range(FIELD_NODES):
                await step(state)
            return state

        return Job(run, lambda state: state.x == FIELD_NODES)

    def unbalanced(self, size: int) -> Job:
        async def step(index: int) -> int:
            return index

        async def lane(count: int) -> list[int]:
            return [await step(index) for index in range(count)]

        async def run() -> Items:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(lane(size)), group.create_task(lane(1))]
            items = [item for task in tasks for item in task.result()]
            return Items(items=items, total=len(items))

        return Job(run, lambda state: state.total == size + 1)

    def history(self, size: int) -> Job:
        async def step(state: Log) -> None:
            state.x += 1
            state.messages.append(f"message {state.x}")

        async def run() -> Log:
            state = Log()
            while state.x < size:
                await step(state)
            return state

        return Job(run, lambda state: len(state.messages) == size)

    def first_event(self, size: int) -> Job:
        async def step(state: Count) -> None:
            state.x += 1

        async def stream() -> AsyncGenerator[Count]:
            state = Count()
            for _ in range(size):
                await step(state)
                yield state

        async def run() -> Any:
            events = stream()
            await anext(events)
            return events

        return Job(run, lambda events: events is not None, after=lambda events: events.aclose())


def open_log(path: Path, mode: str) -> sqlite3.Connection:
    """Open a SQLite file with a single table, in which every INSERT is a commit."""
    log = sqlite3.connect(path, isolation_level=None)
    log.execute("PRAGMA journal_mode = WAL")
    log.execute(f"PRAGMA synchronous = {mode}")
    log.execute("CREATE TABLE log (seq INTEGER PRIMARY KEY, body TEXT NOT NULL)")
    return log

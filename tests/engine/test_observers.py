"""Queue between a run and a reader: it keeps events in order, and delays the run when full."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any, cast

import pytest
from pydantic import BaseModel

from graphorch import Graph, node
from graphorch.engine.events import Cancelled, RunEvent, TextDelta
from graphorch.engine.observers import EventQueue
from graphorch.testing.virtual_clock import run_virtual

FULL = 256


class Count(BaseModel):
    n: int = 0


def event(number: int) -> Cancelled:
    return Cancelled(f"n{number}", "n", "test")


async def one_of(queue: EventQueue) -> RunEvent:
    """Return the next event, read by a reader who then leaves."""
    async with contextlib.aclosing(cast("AsyncGenerator[RunEvent]", aiter(queue))) as reader:
        return await anext(reader)


async def read(queue: EventQueue) -> list[RunEvent]:
    return [run_event async for run_event in queue]


def test_queue_keeps_order_until_closed() -> None:
    async def main() -> list[RunEvent]:
        queue = EventQueue()
        reader = asyncio.create_task(read(queue))
        for number in range(3):
            queue.put(event(number))
            await asyncio.sleep(1)
        queue.close()
        return await reader

    assert run_virtual(main()) == [event(0), event(1), event(2)]


def test_queue_is_read_after_close() -> None:
    """Events that came before the end are not lost."""

    async def main() -> list[RunEvent]:
        queue = EventQueue()
        queue.put(event(0))
        queue.close()
        return await read(queue)

    assert run_virtual(main()) == [event(0)]


def test_queue_joins_deltas_of_one_node() -> None:
    """Text of a node is joined, apart from that of other nodes."""

    async def main() -> list[RunEvent]:
        queue = EventQueue()
        for path, text in [("a", "he"), ("a", "llo"), ("b", "x"), ("a", "!")]:
            queue.put(TextDelta(path, path, text))
        queue.put(event(0))
        queue.put(TextDelta("a", "a", "?"))
        queue.close()
        return await read(queue)

    assert run_virtual(main()) == [
        TextDelta("a", "a", "hello"),
        TextDelta("b", "b", "x"),
        TextDelta("a", "a", "!"),
        event(0),
        TextDelta("a", "a", "?"),
    ]


def test_full_queue_makes_run_wait() -> None:
    """With a full queue, the run waits until an event was read."""

    async def main() -> list[Any]:
        queue, notes = EventQueue(), []
        for number in range(FULL):
            queue.put(event(number))

        async def run() -> None:
            await queue.wait_for_room()
            notes.append("room")

        task = asyncio.create_task(run())
        await asyncio.sleep(1)
        assert notes == []
        await one_of(queue)
        await asyncio.sleep(1)
        await task
        return notes

    assert run_virtual(main()) == ["room"]


def test_queue_has_room_below_capacity() -> None:
    async def main() -> None:
        queue = EventQueue()
        for number in range(FULL - 1):
            queue.put(event(number))
        await queue.wait_for_room()

    run_virtual(main())


def test_queue_wakes_all_waiters() -> None:
    async def main() -> int:
        queue = EventQueue()
        for number in range(FULL):
            queue.put(event(number))
        waiting = [asyncio.create_task(queue.wait_for_room()) for _ in range(3)]
        await asyncio.sleep(1)
        await one_of(queue)
        await asyncio.wait(waiting, timeout=5)
        return sum(task.done() for task in waiting)

    assert run_virtual(main()) == 3


@pytest.mark.parametrize("closed_first", [True, False])
def test_closed_queue_always_has_room(closed_first: bool) -> None:
    async def main() -> None:
        queue = EventQueue()
        for number in range(FULL + 10):
            queue.put(event(number))
        if closed_first:
            queue.close()
        waiting = asyncio.create_task(queue.wait_for_room())
        await asyncio.sleep(1)
        queue.close()
        await waiting

    run_virtual(main())


def test_first_event_is_read_at_once() -> None:
    """Read the first event at once, even if the run never waits for anything."""
    ran: list[int] = []

    @node
    async def step(count: Count) -> Count:
        ran.append(count.n)
        return Count(n=count.n + 1)

    async def main() -> int:
        graph = Graph("g", Count)
        graph.chain(*(step.named(f"n{number}") for number in range(100)))
        async with contextlib.aclosing(graph.build().stream(Count())) as events:
            await anext(events)
            return len(ran)

    assert run_virtual(main()) <= 1

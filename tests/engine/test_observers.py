"""The queue between a run and a reader: nothing is lost, order is kept, and a full queue makes the run wait."""

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
    """The next event, read by somebody who then leaves."""
    async with contextlib.aclosing(cast("AsyncGenerator[RunEvent]", aiter(queue))) as reader:
        return await anext(reader)


async def read(queue: EventQueue) -> list[RunEvent]:
    return [run_event async for run_event in queue]


def test_events_come_in_their_order_and_end_when_the_queue_is_closed() -> None:
    async def main() -> list[RunEvent]:
        queue = EventQueue()
        reader = asyncio.create_task(read(queue))
        for number in range(3):
            queue.put(event(number))
            await asyncio.sleep(1)
        queue.close()
        return await reader

    assert run_virtual(main()) == [event(0), event(1), event(2)]


def test_what_came_before_the_end_is_read_after_it() -> None:
    async def main() -> list[RunEvent]:
        queue = EventQueue()
        queue.put(event(0))
        queue.close()
        return await read(queue)

    assert run_virtual(main()) == [event(0)]


def test_waiting_tokens_of_one_node_are_joined_and_those_of_others_not() -> None:
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


def test_a_full_queue_has_the_run_wait_until_one_was_read() -> None:
    async def main() -> list[Any]:
        queue, told = EventQueue(), []
        for number in range(FULL):
            queue.put(event(number))

        async def run() -> None:
            await queue.wait_for_room()
            told.append("room")

        task = asyncio.create_task(run())
        await asyncio.sleep(1)
        assert told == []
        await one_of(queue)
        await asyncio.sleep(1)
        await task
        return told

    assert run_virtual(main()) == ["room"]


def test_there_is_room_below_the_limit() -> None:
    async def main() -> None:
        queue = EventQueue()
        for number in range(FULL - 1):
            queue.put(event(number))
        await queue.wait_for_room()

    run_virtual(main())


def test_several_who_wait_for_room_all_go_on() -> None:
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
def test_nobody_waits_for_room_in_a_queue_that_is_closed(closed_first: bool) -> None:
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


def test_the_first_event_is_read_before_a_run_that_waits_for_nothing_is_over() -> None:
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

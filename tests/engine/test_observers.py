"""Queue between a run and a reader: it keeps events in order, and delays the run when full."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Annotated, Any, cast

import pytest
from pydantic import BaseModel

from graphorch import Flow, Graph, RunFailed, add, node
from graphorch.engine.events import (
    Cancelled,
    Committed,
    Expanded,
    QuestionAsked,
    RunEvent,
    Started,
    TextDelta,
)
from graphorch.engine.observers import EventQueue
from graphorch.journal.memory import MemoryStore
from graphorch.models.offline.client import OfflineClient
from graphorch.testing.virtual_clock import run_virtual
from tests.trace.acting import Topic, desk

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


# ---- maps ----------------------------------------------------------------------------------------
class Numbers(BaseModel):
    numbers: list[int] = []


class Total(BaseModel):
    total: Annotated[int, add] = 0


class Sums(Count, Numbers, Total): ...


def build_map(broken: list[int]) -> Flow[Numbers, Total]:
    """Return a flow with a sub-flow around a map; items that are in `broken` fail."""

    @node
    async def work(count: Count) -> Total:
        if count.n in broken:
            raise ValueError("broken")
        return Total(total=count.n)

    def list_counts(numbers: Numbers) -> list[Count]:
        return [Count(n=n) for n in numbers.numbers]

    def sum_up(totals: list[Total]) -> Total:
        return Total(total=sum(total.total for total in totals))

    inner = Graph("inner", Sums, input=Numbers, output=Total)
    inner.chain(inner.map("each", work, over=list_counts, gather=sum_up, max_items=9))
    outer = Graph("outer", Sums, input=Numbers, output=Total)
    team = outer.sub("team", inner.build(), enter=give_numbers, leave=take_total)
    return outer.chain(team).build()


def give_numbers(numbers: Numbers) -> Numbers:
    return numbers


def take_total(total: Total) -> Total:
    return total


@pytest.mark.parametrize("numbers", [[], [1], [1, 2, 3]], ids=len)
def test_map_says_how_many_items_it_has(numbers: list[int]) -> None:
    """A map is expanded once, also without items and inside of a sub-flow, which is not."""
    seen: list[RunEvent] = []
    build_map([]).run_sync(Numbers(numbers=numbers), watch=[seen.append])
    expanded = [(e.path, e.items) for e in seen if isinstance(e, Expanded)]
    assert expanded == [("team/each", len(numbers))]


def test_map_that_grows_says_so_each_time() -> None:
    """A map is expanded again whenever a result added items, with how many there are then."""

    @node
    async def work(count: Count) -> Count:
        return count

    graph = Graph("growing", Sums, input=Numbers, output=Total)
    each = graph.map(
        "each",
        work,
        over=lambda s: [Count(n=n) for n in s.numbers],
        gather=lambda counts: Total(total=len(counts)),
        max_items=9,
        grow=lambda count: [Count(n=count.n - 1)] * (count.n > 0),
    )
    seen: list[RunEvent] = []
    graph.chain(each).build().run_sync(Numbers(numbers=[2]), watch=[seen.append])
    expanded = [(e.items, e.grows) for e in seen if isinstance(e, Expanded)]
    assert expanded == [(1, True), (2, True), (3, True)]


def test_map_that_is_resumed_is_not_expanded_again() -> None:
    """A resume and a replay go on inside of the map: that it has items is no news of theirs."""

    async def main() -> list[RunEvent]:
        broken, store, seen = [2], MemoryStore(), list[RunEvent]()
        flow = build_map(broken)
        with pytest.raises(RunFailed):
            await flow.run(Numbers(numbers=[1, 2]), run_id="r", durable=store)
        broken.clear()
        result = await flow.resume("r", durable=store, watch=[seen.append])
        assert result.output.total == 3
        return seen

    seen = asyncio.run(main())
    assert not [event for event in seen if isinstance(event, Expanded)]


def test_calls_of_tools_name_their_tool() -> None:
    """Events of tool calls name the tool, and no node follows a call."""
    seen: list[RunEvent] = []

    async def main() -> None:
        await desk().run(Topic(), client=OfflineClient(), watch=[seen.append])

    asyncio.run(main())
    started = [event.path for event in seen if isinstance(event, Started) and event.tool]
    assert "write/r1/search#0" in started
    committed = [event for event in seen if isinstance(event, Committed) and event.tool]
    assert {event.to for event in committed} == {()}
    assert {event.tool for event in committed} == {"search", "note"}
    asked = [event.tool for event in seen if isinstance(event, QuestionAsked)]
    assert asked == ["send", "send"]

"""Runs of very many activations: what comes later costs little, however much came before."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from pydantic import BaseModel

from graphorch import Graph, node
from graphorch.journal.memory import MemoryStore
from graphorch.journal.records import NewRun, RunLog
from graphorch.views.pictures.run_pictures import PictureRequest, draw_run
from graphorch.views.reading.journal_reader import JournalReader
from graphorch.views.reading.open_run import OpenRun
from graphorch.views.reading.run_lists import read_row
from graphorch.views.runs.nodes import measure_nodes
from graphorch.views.runs.timeline import build_timeline

ITEMS = 5_000
MOST_CALLS = 76  # of functions, for a record


class Count(BaseModel):
    count: int = 0


class Number(BaseModel):
    number: int = 0


class Square(BaseModel):
    square: int = 0


class Sum(BaseModel):
    total: int = 0


class Item(Number, Square): ...


class State(Count, Sum, Number, Square): ...


def build() -> Any:
    """Return a map of two nodes over very many numbers."""

    @node
    def copy(number: Number) -> Square:
        return Square(square=number.number)

    @node
    def double(square: Square) -> Square:
        return Square(square=2 * square.square)

    def over(count: Count) -> list[Number]:
        return [Number(number=number) for number in range(count.count)]

    def gather(squares: list[Square]) -> Sum:
        return Sum(total=sum(each.square for each in squares))

    inner = Graph("inner", Item, input=Number, output=Square).chain(copy, double).build()
    graph = Graph("outer", State, input=Count, output=Sum)
    return graph.chain(graph.map("each", inner, over=over, gather=gather, max_items=ITEMS)).build()


def measure(work: Callable[[], object]) -> float:
    """Return the seconds of this thread that some work took."""
    began = time.thread_time()
    work()
    return time.thread_time() - began


@pytest.mark.slow
def test_update_of_large_run_is_cheap() -> None:
    """Of 10,000 activations the next one costs a small part of all that came before."""

    async def main() -> None:
        whole, store = MemoryStore(), MemoryStore()
        await build().run(Count(count=ITEMS), run_id="one", durable=whole)
        log = await whole.load("one")
        head, reader = log.head, JournalReader(store)
        await store.create(NewRun("one", head.flow, head.fingerprint, head.format))
        lease = await store.claim("one", "other", ttl=600.0)
        *most, last = log.records
        await store.append(lease, most, expected_last_seq=0)
        began = time.process_time()
        async with reader.open_run("one") as run:
            await read_row(reader, run.head, run.trace)
            draw_run(run, None, PictureRequest(True, "auto"))
        first = time.process_time() - began
        await store.append(lease, [last], expected_last_seq=len(most))
        async with reader.open_run("one") as run:
            after = run.seq - 1
            update = measure(lambda: run.trace)
            update += measure(lambda: measure_nodes(run.trace, run.moments.last_seqs))
            update += measure(lambda: run.moments.list_moments(after, 100))
            update += measure(lambda: build_timeline(run.trace, 0.0, after, run.last_seqs))
            assert len(run.trace.spans) > 2 * ITEMS
        assert update < first / 4, (update, first)

    asyncio.run(main())


def test_records_are_read_in_few_calls() -> None:
    """A record of a large run is read with a bounded number of function calls: pictures wait."""

    async def load(items: int) -> RunLog:
        store = MemoryStore()
        await build().run(Count(count=items), run_id="one", durable=store)
        return await store.load("one")

    def count(log: RunLog) -> int:
        calls = 0

        def note(frame: FrameType, event: str, argument: Any) -> None:
            nonlocal calls
            calls += event == "call"

        run = OpenRun(log.head)
        sys.setprofile(note)
        try:
            run.take(log.head, log.records)
        finally:
            sys.setprofile(None)
        return calls

    small, large = asyncio.run(load(50)), asyncio.run(load(250))
    count(small)  # the first one loads and compiles
    calls = count(large) - count(small)
    assert calls / (len(large.records) - len(small.records)) < MOST_CALLS

"""A flow for tests of pools: a map of nodes of pool `gpu`, which log where they begin and end."""

from __future__ import annotations

import asyncio
from typing import Annotated

from pydantic import BaseModel

from graphorch import Context, Graph, append, node
from tests.workers.flow_file import log


class Job(BaseModel):
    """How many nodes of the pool there are, and how many seconds each takes."""

    count: int = 3
    seconds: float = 0.0


class Item(BaseModel):
    number: int
    seconds: float


class Items(BaseModel):
    items: list[Item] = []


class Square(BaseModel):
    square: int = 0


class Squares(BaseModel):
    squares: Annotated[list[int], append] = []


class State(Job, Items, Squares): ...


@node
async def plan(ctx: Context[None], job: Job) -> Items:
    """Make the items."""
    log(ctx)
    return Items(items=[Item(number=number, seconds=job.seconds) for number in range(job.count)])


@node(pool="gpu")
async def work(ctx: Context[None], item: Item) -> Square:
    """Work on the pool."""
    log(ctx)
    await asyncio.sleep(item.seconds)
    return Square(square=item.number**2)


@node(pool="gpu", effect="once")
async def send(ctx: Context[None], squares: Squares) -> Squares:
    """Act once, on the pool."""
    log(ctx)
    return Squares(squares=[-1])


def list_items(items: Items) -> list[Item]:
    return items.items


def collect(results: list[Square]) -> Squares:
    return Squares(squares=[each.square for each in results])


def build() -> Graph[State, Job, Squares]:
    """Return the graph."""
    graph = Graph("pooled", State, input=Job, output=Squares)
    each = graph.map("each", work, over=list_items, gather=collect, max_items=50, concurrency=50)
    graph.chain(plan, each, send)
    return graph


flow = build().build()

"""A flow for workers that are killed: every kind of node, each of which says when it ran.

A node writes a line into the file that the variable CHAOS_LOG names: when, where, and for which
activation it began.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from typing import Annotated

from pydantic import BaseModel

from graphorch import START, Context, Flow, Graph, agent, append, node

ITEMS = 16
ROUNDS = 3


class Order(BaseModel):
    name: str
    seed: int


class Items(BaseModel):
    items: list[int] = []


class Item(BaseModel):
    item: int


class Crunched(BaseModel):
    crunched: int = 0


class Sums(BaseModel):
    sums: list[int] = []


class Letter(BaseModel):
    letter: str = ""


class Steps(BaseModel):
    steps: Annotated[list[str], append] = []


class Total(BaseModel):
    total: str = ""


class Part(Order, Item, Crunched): ...


class State(Order, Items, Sums, Letter, Steps, Total): ...


def log(ctx: Context[None], name: str) -> None:
    """Write down that a node begins for an activation."""
    entry = {"at": time.time(), "pid": os.getpid(), "name": name, "id": ctx.key, "path": ctx.path}
    with open(os.environ["CHAOS_LOG"], "a") as file:
        file.write(json.dumps(entry) + "\n")


def pause(order: Order, salt: object, most: float) -> float:
    """Return seconds of work, equal whenever the same work is done again."""
    return random.Random(f"{order.seed} {salt}").uniform(0, most)


@node
async def plan(ctx: Context[None], order: Order) -> Items:
    log(ctx, order.name)
    await asyncio.sleep(pause(order, "plan", 0.1))
    return Items(items=list(range(ITEMS)))


@node
async def crunch(ctx: Context[None], order: Order, item: Item) -> Crunched:
    log(ctx, order.name)
    await asyncio.sleep(pause(order, item.item, 0.6))
    return Crunched(crunched=item.item * order.seed)


@node(isolation="worker")
def step(ctx: Context[None], order: Order) -> Steps:
    log(ctx, order.name)
    time.sleep(pause(order, ctx.path, 0.2))
    return Steps(steps=["step"])


@agent(output=Letter)
def write(order: Order) -> str:
    return f"Write a letter. This is {order.name}."


@node
def add(ctx: Context[None], sums: Sums, letter: Letter, steps: Steps, order: Order) -> Total:
    log(ctx, order.name)
    return Total(total=f"{order.name}: {sum(sums.sums)} {len(steps.steps)} {letter.letter}")


def expected(order: Order) -> str:
    """Return the result of a run."""
    crunched = sum(range(ITEMS)) * order.seed
    return f"{order.name}: {crunched} {ROUNDS} dear {order.name}"


def list_parts(order: Order, items: Items) -> list[Part]:
    return [Part(name=order.name, seed=order.seed, item=item) for item in items.items]


def gather_parts(parts: list[Crunched]) -> Sums:
    return Sums(sums=[part.crunched for part in parts])


def is_short(steps: Steps) -> bool:
    return len(steps.steps) < ROUNDS


def build_flow() -> Flow[Order, Total]:
    """Return the flow: a map, an agent and a loop at once, and a join."""
    graph = Graph("chaotic", State, input=Order, output=Total)
    inner = Graph("part", Part, input=Part, output=Crunched).chain(START, crunch).build()
    graph.chain(START, plan)
    each = graph.map("each", inner, over=list_parts, gather=gather_parts, max_items=ITEMS)
    graph.chain(plan, [each, write, step], add)
    graph.loop(step, back_to=step, while_=is_short, max_iterations=ROUNDS)
    return graph.build()


flow = build_flow()

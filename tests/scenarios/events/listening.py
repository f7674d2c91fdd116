"""A flow that takes signals and answers beside a node at work, and a program that drives it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel

from graphorch import START, Flow, Graph, append, node
from graphorch.journal.sqlite.store import SqliteStore

ROUNDS = 40


class Order(BaseModel):
    order: str = "tea"


class Payment(BaseModel):
    amount: int = 0


class Verdict(BaseModel):
    number: int = 0


class Done(BaseModel):
    done: Annotated[list[str], append] = []


class State(Order, Payment, Verdict, Done): ...


@node
async def take(payment: Payment) -> Done:
    return Done(done=[f"took {payment.amount}"])


@node
async def act(verdict: Verdict) -> Done:
    return Done(done=[f"acted on {verdict.number}"])


@node
async def work(order: Order) -> Done:
    await asyncio.sleep(600.0)
    return Done(done=["worked"])


def build_flow() -> Flow[Order, Done, State]:
    """Build a flow with a loop of signals, a loop of questions, and a node that works for long."""
    graph = Graph("listening", State, input=Order, output=Done)
    paid = graph.signal("paid", Payment)
    ask = graph.ask("ask", question=lambda state: f"{state.order}?", answer=Verdict)
    graph.chain(paid, take)
    graph.loop(take, back_to=paid, while_=lambda state: True, max_iterations=ROUNDS)
    graph.chain(ask, act)
    graph.loop(act, back_to=ask, while_=lambda state: True, max_iterations=ROUNDS)
    graph.chain(START, work)
    return graph.build()


async def main(database: Path) -> None:
    """Drive a run until the process is killed."""
    store = await SqliteStore.open(database, sync="normal")
    await build_flow().run(Order(), run_id="r", durable=store)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))

"""A flow of signals, a question and a timer, and a program whose processes drive it until killed.

The program reads lines from its input, `FOLDER LATE`, and forks a process for each, whose number it
prints. That process begins the run in the folder, or resumes it once the lease of the process
before it has run out, which is `LATE` seconds away.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel

from graphorch import Context, Flow, Graph, append, node
from graphorch.journal.errors import RunNotFound
from graphorch.journal.sqlite.store import SqliteStore

PAYMENTS = 4


class Order(BaseModel):
    order: str = "tea"


class Payment(BaseModel):
    amount: int = 0


class Verdict(BaseModel):
    verdict: str = ""


class Done(BaseModel):
    done: Annotated[list[str], append] = []


class State(Order, Payment, Verdict, Done): ...


@node
async def take(payment: Payment) -> Done:
    await asyncio.sleep(0.005)
    return Done(done=[f"took {payment.amount}"])


@node
async def act(verdict: Verdict) -> Done:
    return Done(done=[f"acted on {verdict.verdict}"])


@node
async def remind(order: Order) -> Done:
    return Done(done=[f"reminded of {order.order}"])


@node
async def work(ctx: Context[None], order: Order) -> Done:
    await asyncio.sleep(0.06)
    return Done(done=["worked"])


@node
async def close(done: Done) -> Done:
    return Done(done=["closed"])


def is_more_to_pay(payment: Payment) -> bool:
    return payment.amount < PAYMENTS


def build_flow() -> Flow[Order, Done, State]:
    """Build a flow that takes payments in a loop, asks a person, waits for a time, and works."""
    graph = Graph("owned", State, input=Order, output=Done)
    paid = graph.signal("paid", Payment, keep=PAYMENTS)
    ask = graph.ask("ask", question=lambda state: f"{state.order}?", answer=Verdict)
    later = graph.timer("later", after=timedelta(milliseconds=50))
    graph.chain(paid, take, close)
    graph.loop(take, back_to=paid, while_=is_more_to_pay, max_iterations=PAYMENTS)
    graph.chain(ask, act, close)
    graph.chain(later, remind, close)
    graph.chain(work, close)
    return graph.build()


async def drive(flow: Flow[Order, Done, State], folder: Path, late: float) -> Any:
    """Begin or resume the run in a folder, and return its result."""
    store = await SqliteStore.open(
        folder / "runs.sqlite", sync="normal", clock=lambda: time.time() + late
    )
    try:
        # A process that died as it began left no run, or a run without its input.
        try:
            has_begun = bool((await store.load("r")).records)
        except RunNotFound:
            has_begun = False
        if not has_begun:
            return await flow.run(Order(), run_id="r", durable=store)
        return await flow.resume("r", durable=store)
    finally:
        await store.close()


def main() -> None:
    """Fork a process for each line."""
    flow = build_flow()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print("ready", flush=True)
    for line in sys.stdin:
        folder, late = line.rsplit(maxsplit=1)
        child = os.fork()
        if child:
            print(child, flush=True)
            continue
        try:
            asyncio.run(drive(flow, Path(folder), float(late)))
        finally:
            os._exit(0)


if __name__ == "__main__":
    main()

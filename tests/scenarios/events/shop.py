"""Flows that wait for signals, timers and people, for tests of their runs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BaseModel

from graphorch import START, Expired, Flow, Graph, append, node
from graphorch.clock import Clock


class Order(BaseModel):
    order: str = "tea"


class Verdict(BaseModel):
    approved: bool = False


class Payment(BaseModel):
    amount: int = 0


class Done(BaseModel):
    done: Annotated[list[str], append] = []


class State(Order, Verdict, Payment, Done): ...


ShopFlow = Flow[Order, Done, State]


@node
async def ship(verdict: Verdict) -> Done:
    return Done(done=[f"shipped, approved: {verdict.approved}"])


@node
async def ship_paid(payment: Payment) -> Done:
    return Done(done=[f"shipped for {payment.amount}"])


@node
async def remind(order: Order) -> Done:
    return Done(done=[f"reminded of {order.order}"])


def ask_to_ship(order: Order) -> str:
    return f"May {order.order} be shipped?"


def first_flow(after: float = 3 * 86_400.0, *, keep: int = 1) -> ShopFlow:
    """Build a flow that goes on with an approval, a payment, or a reminder."""
    graph = Graph("shop", State, input=Order, output=Done)
    approve = graph.ask("approve", question=ask_to_ship, answer=Verdict)
    paid = graph.signal("paid", Payment, keep=keep)
    later = graph.timer("later", after=timedelta(seconds=after))
    events = {approve: ship, paid: ship_paid, later: remind}
    return graph.chain(START, graph.first("decided", events)).build()


def paid_flow(*, keep: int = 1, expires: float | None = None) -> ShopFlow:
    """Build a flow that waits for one payment, and reminds if it does not come in time."""
    graph = Graph("paid", State, input=Order, output=Done)
    paid = graph.signal("paid", Payment, keep=keep, expires=expires)
    graph.chain(START, paid, ship_paid)
    if expires is not None:
        graph.on_error(paid, remind, when=Expired)
    return graph.build()


def timer_flow(after: float) -> ShopFlow:
    """Build a flow that reminds after some time."""
    graph = Graph("timer", State, input=Order, output=Done)
    return graph.chain(START, graph.timer("later", after=timedelta(seconds=after)), remind).build()


class Orders(BaseModel):
    orders: list[Order] = []


class Receipts(BaseModel):
    receipts: list[str] = []


class Shop(Orders, Receipts): ...


def map_flow() -> Flow[Orders, Receipts, Shop]:
    """Build a flow in which each order waits for the payment with its own key."""
    inner = Graph("order", State, input=Order, output=Done)
    paid = inner.signal("paid", Payment, key=key_of)
    flow = inner.chain(START, paid, ship_paid).build()
    graph = Graph("orders", Shop, input=Orders, output=Receipts)
    each = graph.map("each", flow, over=list_orders, gather=collect, max_items=20)
    return graph.chain(START, each).build()


def key_of(order: Order) -> str:
    return order.order


def list_orders(orders: Orders) -> Sequence[Order]:
    return orders.orders


def collect(results: list[Done]) -> Receipts:
    return Receipts(receipts=[line for done in results for line in done.done])


def loop_flow(rounds: int) -> ShopFlow:
    """Build a flow that takes one payment in each round of a loop."""
    graph = Graph("loop", State, input=Order, output=Done)
    paid = graph.signal("paid", Payment, keep=3)
    graph.chain(START, paid, ship_paid)
    graph.loop(ship_paid, back_to=paid, while_=is_not_last, max_iterations=rounds)
    return graph.build()


def is_not_last(payment: Payment) -> bool:
    return payment.amount != 0


@node
async def work(order: Order) -> Done:
    await asyncio.sleep(1.0)
    return Done(done=["worked"])


def held_flow(*, keep: int = 1, first: bool = False) -> ShopFlow:
    """Build a flow that asks a person before, or instead of, its payment, and once more after."""
    graph = Graph("held", State, input=Order, output=Done)
    approve = graph.ask("approve", question=ask_to_ship, answer=Verdict)
    paid = graph.signal("paid", Payment, keep=keep)
    again = graph.ask("again", question=ask_to_ship, answer=Verdict)
    if first:
        graph.chain(START, graph.first("decided", {approve: again, paid: again}))
    else:
        graph.chain(START, approve, paid, again)
    return graph.chain(again, ship).build()


def asking_flow() -> ShopFlow:
    """Build a flow that asks a person for a short time, beside work that takes longer."""
    graph = Graph("asking", State, input=Order, output=Done)
    approve = graph.ask("approve", question=ask_to_ship, answer=Verdict, expires=0.2)
    graph.chain(START, [approve, work])
    return graph.on_error(approve, remind, when=Expired).build()


async def begin(
    flow: Flow[Any, Any, Any], store: Any, clock: Clock | None = None, run_id: str = "r"
) -> Any:
    """Run a flow until it rests."""
    given = flow.plan.input()
    if clock is None:
        return await flow.run(given, run_id=run_id, durable=store)
    return await flow.run(given, run_id=run_id, durable=store, clock=clock)

"""Flows with what format 6 brought, for golden journals. Like the other flows, never changed.

One waits for the first of several events with a signal kept behind it, after a map that grows and
exclusive work; the other one undoes what it committed when a later node fails.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BaseModel

from graphorch import START, Context, Flow, Graph, append, node


class Order(BaseModel):
    order: int = 4


class Verdict(BaseModel):
    approved: bool = False


class Payment(BaseModel):
    amount: int = 0


class Address(BaseModel):
    street: str = ""


class Done(BaseModel):
    done: Annotated[list[str], append] = []


class State(Order, Verdict, Payment, Address, Done): ...


EVENT_RUNS = ("events.waiting", "events.finished", "undo.crashed")


class Acts:
    """What nodes did to the world, and where the process dies, if it does."""

    def __init__(self, dies: Callable[[], None] | None = None) -> None:
        self.done: list[str] = []
        self.dies = dies


def event_flow() -> Flow[Order, Done, State]:
    """Return a flow that waits for an approval, a payment or a date, and then for an address."""

    @node
    def halve(order: Order) -> Order:
        return order

    @node
    def pack(order: Order) -> Done:
        return Done(done=["packed"])

    @node
    def label(order: Order) -> Done:
        return Done(done=["labelled"])

    @node
    def ship(payment: Payment | None, address: Address) -> Done:
        return Done(done=[f"shipped to {address.street} for {payment.amount if payment else 0}"])

    graph = Graph("shop", State, input=Order, output=Done)
    parts = graph.map(
        "parts", halve, over=itself, gather=list_parts, grow=halves_of, until=has_four, max_items=9
    )
    approve = graph.ask("approve", question=ask_to_ship, answer=Verdict)
    paid = graph.signal("paid", Payment)
    later = graph.timer("later", after=timedelta(days=3_650))
    address = graph.signal("address", Address, keep=2)
    decided = graph.first("decided", {approve: address, paid: address, later: address})
    graph.chain(START, parts, [pack, label]).chain(pack, decided)
    graph.exclusive("bench", [pack, label])
    return graph.chain(address, ship).build()


def itself(order: Order) -> Sequence[Order]:
    return [order]


def halves_of(order: Order) -> list[Order]:
    half = order.order // 2
    return [Order(order=half), Order(order=order.order - half)] if half else []


def has_four(parts: list[Order]) -> bool:
    return len(parts) >= 4


def list_parts(parts: list[Order]) -> Done:
    return Done(done=[f"{len(parts)} parts"])


def ask_to_ship(order: Order) -> str:
    return f"May order {order.order} be shipped?"


def undo_flow() -> Flow[Order, Done, State]:
    """Return a flow that books twice, fails, and undoes both bookings."""

    @node(effect="idempotent")
    def cancel(ctx: Context[Acts], done: Done) -> None:
        acts = ctx.resources
        acts.done.append(f"cancelled after {done.done[-1]}")
        if acts.dies is not None and len(acts.done) == 3:
            acts.dies()

    @node(effect="idempotent", undo=cancel)
    def book(ctx: Context[Acts], order: Order) -> Done:
        ctx.resources.done.append("booked")
        return Done(done=["hotel"])

    @node(effect="idempotent", undo=cancel)
    def fly(ctx: Context[Acts], done: Done) -> Done:
        return Done(done=["flight"])

    @node
    def pay(done: Done) -> Payment:
        raise OSError("the bank is closed")

    graph: Any = Graph("trip", State, input=Order, output=Done, compensate=True)
    return graph.chain(START, book, fly, pay).build()

"""A flow that books, holds and pays, with undos, and a ledger of what it did.

Each entry of the ledger has the key of the activation, so that what acts twice shows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pydantic import BaseModel

from graphorch import Context, Flow, Graph, Retry, node
from graphorch.journal.memory import MemoryStore


class Trip(BaseModel):
    trip: str = "Oslo"
    broken: str = "pay"


class Booking(BaseModel):
    booking: str = ""


class Seat(BaseModel):
    seat: str = ""


class Receipt(BaseModel):
    receipt: str = ""


class State(Trip, Booking, Seat, Receipt): ...


TripFlow = Flow[Trip, Receipt, State]


class Ledger:
    """A ledger in memory."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.store = MemoryStore()

    def write(self, line: str) -> None:
        self.lines.append(line)

    @property
    def did(self) -> list[str]:
        """Return what was done, without keys."""
        return [line.split()[0] for line in self.lines]

    def clear(self) -> None:
        self.lines.clear()


def act(ctx: Context[Ledger], name: str, broken: str) -> None:
    ctx.resources.write(f"{name} {ctx.key}")
    if name in broken.split():
        raise ValueError(f"no {name}")


async def cancel_booking(ctx: Context[Ledger], trip: Trip, booking: Booking) -> None:
    assert booking.booking == f"room in {trip.trip}"
    act(ctx, "cancel", trip.broken)


@node(effect="once", undo=cancel_booking)
async def book(ctx: Context[Ledger], trip: Trip) -> Booking:
    act(ctx, "book", trip.broken)
    return Booking(booking=f"room in {trip.trip}")


@node(effect="idempotent", retry=Retry(2, first=1.0))
async def release_seat(ctx: Context[Ledger], trip: Trip, seat: Seat) -> None:
    assert seat.seat == "12A"
    act(ctx, "release", trip.broken)


@node(effect="idempotent", undo=release_seat)
async def hold(ctx: Context[Ledger], trip: Trip) -> Seat:
    act(ctx, "hold", trip.broken)
    return Seat(seat="12A")


@node
async def pay(ctx: Context[Ledger], trip: Trip) -> Receipt:
    act(ctx, "pay", trip.broken)
    if "wait" in trip.broken:
        await asyncio.sleep(100)
    return Receipt(receipt="paid")


def build_trip(*, compensate: bool = True) -> TripFlow:
    """Return the flow: what it committed is undone if it fails, or only if it is cancelled."""
    graph = Graph("trip", State, input=Trip, output=Receipt, compensate=compensate)
    return graph.chain(book, hold, pay).build()


def build_outer(*, compensate: bool = True, handled: bool = True, inner: bool = False) -> TripFlow:
    """Return a flow with the trip as a region, and perhaps a handler of its failure.

    The trip itself says that it compensates if it is to do so as an `inner` one.
    """
    graph = Graph("outer", State, input=Trip, output=Receipt)
    enter: Callable[[Trip], Trip] = give_trip
    region = graph.sub(
        "trip", build_trip(compensate=inner), enter=enter, leave=take, compensate=compensate
    )
    graph.chain(region)
    if handled:
        graph.on_error(region, stay)
    return graph.build()


def give_trip(trip: Trip) -> Trip:
    return trip


def take(receipt: Receipt) -> Receipt:
    return receipt


@node
async def stay(ctx: Context[Ledger], trip: Trip) -> Receipt:
    act(ctx, "stay", trip.broken)
    return Receipt(receipt="at home")

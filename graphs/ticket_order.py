"""An order of tickets that waits for days: for a payment, for a reminder's time, for a person.

    graphorch run graphs/ticket_order.py --durable
    graphorch send graphs/ticket_order.py last paid '{"amount": 90}'
    graphorch answer graphs/ticket_order.py last issue yes
    graphorch resume graphs/ticket_order.py --due
    graphorch runs cancel last --flow graphs/ticket_order.py

    reserve → answered ─ paid → accept → issue       a person agrees before tickets are issued,
                 ↑     └ later → remind → give_up    or the money goes back: refund
                 └───────────────┘ twice

Between these steps no process runs: the run rests in the journal, and says what it waits for. A
payment that comes early is kept, and one that comes after the seats were given back is refused with
the reason. Whoever cancels the order has everything taken back that it did, in reverse order and
each once: tickets, money, seats. What happens outside is a line of a file here, `box_office.txt` in
the folder for temporary files, or the path in BOX_OFFICE.
"""

from __future__ import annotations

import os
import tempfile
from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel, Field

from graphorch import START, Context, Expired, Failure, Graph, Rejected, node

DAY = 86_400.0
PATIENCE = 2  # periods that a customer has to pay in, each with a reminder at its end


class Order(BaseModel):
    customer: str = Field(min_length=1)
    seats: int = Field(default=2, ge=1, le=8)
    price: float = Field(default=45.0, gt=0, description="dollars a seat")


class Reservation(BaseModel):
    reservation: str = ""


class Payment(BaseModel):
    amount: float = Field(default=0.0, ge=0, description="dollars that came in")


class Receipt(BaseModel):
    receipt: str = ""


class Reminders(BaseModel):
    reminders: int = 0


class Outcome(BaseModel):
    outcome: str = ""


class Ticketing(Order, Reservation, Payment, Receipt, Reminders, Outcome): ...


# ---- what happens outside, and how it is taken back ----------------------------------------------
def write_line(key: str, line: str) -> None:
    """Add a line to the file of the box office; one with this key is there once."""
    path = Path(os.environ.get("BOX_OFFICE") or Path(tempfile.gettempdir()) / "box_office.txt")
    known = path.read_text("utf-8") if path.exists() else ""
    if key not in known:
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{line}  [{key}]\n")


@node(effect="idempotent")
def free_seats(ctx: Context, order: Order) -> None:
    write_line(ctx.key, f"{order.customer}: {order.seats} seats are free again")


@node(effect="idempotent", undo=free_seats)
def reserve(ctx: Context, order: Order) -> Reservation:
    write_line(ctx.key, f"{order.customer}: {order.seats} seats reserved")
    return Reservation(reservation=f"{order.seats} seats for {order.customer}")


@node(effect="idempotent")
def pay_back(ctx: Context, order: Order, payment: Payment) -> None:
    write_line(ctx.key, f"{order.customer}: {payment.amount:.2f} paid back")


@node(effect="idempotent", undo=pay_back)
def accept(ctx: Context, order: Order, payment: Payment) -> Receipt:
    write_line(ctx.key, f"{order.customer}: {payment.amount:.2f} received")
    due = order.seats * order.price
    return Receipt(receipt=f"{payment.amount:.2f} of {due:.2f} received")


@node(effect="idempotent")
def recall(ctx: Context, reservation: Reservation) -> None:
    write_line(ctx.key, f"tickets recalled: {reservation.reservation}")


@node(effect="idempotent", gate="before", expires=2 * DAY, undo=recall)
def issue(ctx: Context, reservation: Reservation, receipt: Receipt) -> Outcome:
    write_line(ctx.key, f"tickets issued: {reservation.reservation}")
    return Outcome(outcome=f"tickets for {reservation.reservation}, {receipt.receipt}")


# ---- the other ends ------------------------------------------------------------------------------
@node(effect="idempotent")
def refund(ctx: Context, failure: Failure, order: Order, payment: Payment) -> Outcome:
    """Pay back what came in, since a person refused the tickets or did not answer in time."""
    write_line(f"{ctx.key} seats", f"{order.customer}: {order.seats} seats are free again")
    write_line(f"{ctx.key} money", f"{order.customer}: {payment.amount:.2f} paid back")
    return Outcome(outcome=f"{payment.amount:.2f} paid back ({failure.error})")


@node(effect="idempotent")
def remind(ctx: Context, order: Order, reminders: Reminders) -> Reminders:
    number = reminders.reminders + 1
    write_line(ctx.key, f"{order.customer}: reminder {number} of {PATIENCE}")
    return Reminders(reminders=number)


@node(effect="idempotent")
def give_up(ctx: Context, order: Order, reservation: Reservation) -> Outcome:
    write_line(ctx.key, f"{order.customer}: {order.seats} seats are free again")
    return Outcome(outcome=f"not paid in time: {reservation.reservation} given back")


def is_patient(reminders: Reminders) -> bool:
    return reminders.reminders < PATIENCE


graph = Graph("ticket_order", Ticketing, input=Order, output=Outcome)
paid = graph.signal("paid", Payment)
later = graph.timer("later", after=timedelta(days=3))
answered = graph.first("answered", {paid: accept, later: remind})
graph.chain(START, reserve, answered)
graph.chain(accept, issue).on_error(issue, refund, when=(Rejected, Expired))
graph.chain(remind, give_up)
graph.loop(remind, back_to=answered, while_=is_patient, max_iterations=PATIENCE)
flow = graph.build()

sample = Order(customer="Ada")

if __name__ == "__main__":
    print(f"Run this flow with: graphorch run {__file__}")

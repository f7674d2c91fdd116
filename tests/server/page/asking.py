"""Flows that ask and start from the page: every kind of question, and inputs of every kind."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from graphorch import Flow, Graph, node

AnyFlow = Flow[Any, Any, Any]


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int = Field(default=9, ge=1, le=9)


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    name: str


class Leaf(BaseModel):
    label: str
    children: list[Leaf] = []


class Order(BaseModel):
    title: str = Field(min_length=1, max_length=80, description="What the letter is about")
    copies: int = Field(default=1, ge=1, le=20)
    price: Decimal = Decimal("1.10")
    number: int = 2**63 + 1
    due: date | None = None
    tone: Literal["plain", "warm"] = "plain"
    pet: Annotated[Cat | Dog, Field(discriminator="kind")] | None = None
    labels: dict[str, int] = {}
    notes: list[str] = []
    tree: Leaf | None = None


class Letter(BaseModel):
    letter: str = ""


class Verdict(BaseModel):
    approved: bool = Field(description="Whether the letter goes out")
    note: str = Field(default="", max_length=20)


class State(Order, Letter, Verdict): ...


@node
def write(order: Order) -> Letter:
    return Letter(letter=f"A {order.tone} letter on {order.title}")


@node(effect="once", gate="before")
def post(letter: Letter) -> Letter:
    return Letter(letter=f"{letter.letter}, posted")


def build_orders() -> AnyFlow:
    """Ask a person, then ask whether a node that acts may run."""
    graph = Graph("orders", State, input=Order, output=Letter)
    approve = graph.ask(
        "approve", question=lambda s: f"Send '{s.letter}'?", answer=Verdict, expires=3600
    )
    return graph.chain(write, approve, post).build()

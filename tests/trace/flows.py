"""Flow of three levels with agents, a route, tools and a possible fault, for trace tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel

from graphorch import Flow, Graph, agent, append, node
from graphorch.models.messages import Request, Response, ToolCall, Usage


class Order(BaseModel):
    order: str = ""
    amount: int = 1


class Plan(BaseModel):
    plan: str = ""


class Stock(BaseModel):
    stock: str = ""


class Reply(BaseModel):
    reply: str = ""


class Log(BaseModel):
    log: Annotated[list[str], append] = []


class Shop(Order, Plan, Stock, Reply, Log): ...


AnyFlow = Flow[Any, Any, Any]


@agent(output=Plan, model="openai/gpt-5", instructions="Plan the order.")
def plan(order: Order) -> str:
    return f"Plan: {order.order}"


@agent(output=Reply, model="google/gemini")
def answer(order: Order, stock: Stock) -> str:
    return f"Answer {order.order} with {stock.stock}"


@node
def count(order: Order) -> Stock:
    """The planted fault: no more than 9 of anything."""
    if order.amount > 9:
        raise ValueError(f"only 9 on the shelf, {order.amount} wanted")
    return Stock(stock=f"{order.amount} in stock")


@node
def reorder(order: Order) -> Stock:
    return Stock(stock=f"{order.amount} ordered")


@node
def check(order: Order) -> Log:
    return Log(log=[order.order])


def where(order: Order) -> Literal["here", "elsewhere"]:
    return "here" if order.amount < 100 else "elsewhere"


def shop() -> AnyFlow:
    """order (plan → fulfilment (check → stock (look → count or reorder)) → answer)."""
    stock = Graph("stock", Shop)
    look = check.named("look")
    stock.route(look, where).when("here", count).when("elsewhere", reorder).exhaustive()
    fulfilment = Graph("fulfilment", Shop)
    fulfilment.chain(
        check,
        fulfilment.sub(
            "stock", stock.build(), enter=lambda s: s, leave=lambda s: Stock(stock=s.stock)
        ),
    )
    order = Graph("order", Shop, input=Order, output=Reply)
    order.chain(
        plan,
        order.sub(
            "fulfilment",
            fulfilment.build(),
            enter=lambda s: s,
            leave=lambda s: Stock(stock=s.stock),
        ),
        answer,
    )
    return order.build()


class Model:
    """Fake client that charges a fixed price and keeps a ledger of it."""

    def __init__(self, *, tool: str = "", price: float = 0.0125) -> None:
        self.ledger: list[tuple[str, float]] = []
        self._tool = tool
        self._price = price

    async def complete(self, request: Request, on_text: Any = None) -> Response:
        last = request.messages[-1]
        calls = (
            (ToolCall(id="c1", name=self._tool, arguments='{"word": "tides"}'),)
            if self._tool and last.role != "tool"
            else ()
        )
        self.ledger.append((request.model, self._price))
        return Response(
            text="" if calls else f"done: {last.content}",
            model=request.model,
            usage=Usage(100, 20, 10),
            usd=self._price,
            usd_source="reported",
            finish_reason="stop",
            attempts=1,
            seconds=0.01,
            first_token_seconds=0.004,
            tool_calls=calls,
        )


class SilentModel(Model):
    """A model whose endpoint reports no tokens."""

    async def complete(self, request: Request, on_text: Any = None) -> Response:
        response = await super().complete(request, on_text)
        return replace(response, usage=replace(response.usage, is_estimated=True))

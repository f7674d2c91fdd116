"""Agents with tools for golden journals, from format 5 on. Like the flows, never changed."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from graphorch import Flow, Graph, Request, Response, Usage, agent, tool
from graphorch.models.messages import ToolCall


class Order(BaseModel):
    order: str


class Facts(BaseModel):
    facts: str = ""


class Reply(BaseModel):
    reply: str = ""


class Research(Order, Facts): ...


class Desk(Order, Reply): ...


ORDER = Order(order="A7")
TOOL_RUNS = ("tools.waiting", "tools.changed", "tools.crashed")


class World:
    """What the tools do to the world, and where the process dies, if it does."""

    def __init__(self, dies: Any = None) -> None:
        self.acts: list[str] = []
        self.dies = dies


class Caller:
    """A model that looks up, delegates and pays in its first round, sends a letter, and answers."""

    def __init__(self) -> None:
        self.asked: list[Request] = []

    async def complete(self, request: Request, on_text: Any = None) -> Response:
        """Answer as the length of the conversation says."""
        self.asked.append(request)
        rounds = sum(bool(message.tool_calls) for message in request.messages)
        is_inside = not request.tools
        wanted: list[tuple[str, str]] = []
        if not is_inside and rounds == 0:
            wanted = [
                ("look_up", '{"order": "A7"}'),
                ("research", '{"order": "A7"}'),
                ("refund", '{"order": "A7", "amount": 250}'),
                ("look_up", '{"order": "nowhere"}'),
            ]
        elif not is_inside and rounds == 1:
            wanted = [("send", '{"text": "done"}')]
        calls = tuple(
            ToolCall(id=f"c{rounds}.{index}", name=name, arguments=arguments)
            for index, (name, arguments) in enumerate(wanted)
        )
        text = "" if calls else "The lamp was late." if is_inside else "It is settled."
        usage = Usage(20, 5)
        return Response(text, "m", usage, 0.1, "table", "stop", 1, 0.1, None, tool_calls=calls)


def tool_flow(world: World) -> Flow[Order, Reply, Desk]:
    """Return an agent with tools of each effect class, one approved, and a flow among them."""

    @tool(effect="pure", tells=LookupError)
    def look_up(order: str) -> dict[str, Any]:
        """Look an order up."""
        if order == "nowhere":
            raise LookupError("no such order")
        return {"order": order, "paid": 250.0}

    @tool(approve=True)
    def refund(order: str, amount: float) -> str:
        """Pay money back."""
        world.acts.append(f"refund {amount:g}")
        return f"{amount:g} paid back"

    @tool
    def send(text: str) -> str:
        """Send a letter."""
        world.acts.append(f"send {text}")
        if world.dies is not None:
            world.dies()
        return "sent"

    @agent(output=Facts)
    def dig(order: Order) -> str:
        return f"What happened to {order.order}?"

    inner = Graph("research", Research, input=Order, output=Facts).chain(dig).build()

    @agent(output=Reply, tools=[look_up, inner.as_tool(), refund, send])
    def settle(order: Order) -> str:
        return f"Settle {order.order}."

    return Graph("desk", Desk, input=Order, output=Reply).chain(settle).build()

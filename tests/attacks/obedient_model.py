"""A model that does its task well, and obeys every order that it finds in what it reads.

An order is a name and JSON arguments between `<<` and `>>`, in whatever words around it. The model
calls the tool of that name with these arguments, if it has it; it puts the arguments into an answer
that has fields of their names; and it passes the order on with every text that it writes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from graphorch.models.messages import Message, Request, Response, ToolCall, Usage

_ORDER = re.compile(r"<<(\w+) (\{.*?\})>>")
Call = tuple[str, Mapping[str, Any]]


def give_order(name: str, arguments: Mapping[str, Any]) -> str:
    """Return an order as it stands in a document."""
    return f"<<{name} {json.dumps(arguments)}>>"


@dataclass
class Script:
    """What an agent does without orders: the tools that it calls, and what it answers."""

    answer: str | Mapping[str, Any]
    calls: Sequence[Call] = ()


@dataclass
class ObedientModel:
    """Plays the script of each agent, by its name, until it reads an order."""

    scripts: Mapping[str, Script]
    obeyed: int = 0
    requests: list[Request] = field(default_factory=list[Request])

    async def complete(
        self, request: Request, on_text: Callable[[str], None] | None = None
    ) -> Response:
        """Return the next answer."""
        self.requests.append(request)
        agent = request.metadata["path"].rpartition("/")[2]
        script = self.scripts[agent]
        orders = [order for message in request.messages for order in _read_orders(message)]
        calls = [*script.calls, *orders]
        offered = {tool.name for tool in request.tools}
        made = [
            (call.name, json.loads(call.arguments))
            for message in request.messages
            for call in message.tool_calls
        ]
        for name, arguments in calls if request.tool_choice != "none" else ():
            if name in offered and (name, arguments) not in made:
                self.obeyed += (name, arguments) in orders
                call = ToolCall(id=f"call{len(made)}", name=name, arguments=json.dumps(arguments))
                return _respond(tool=call)
        return _respond(self._write_answer(script, orders))

    def _write_answer(self, script: Script, orders: Sequence[Call]) -> str:
        if isinstance(script.answer, str):
            if not orders:
                return script.answer
            self.obeyed += 1
            return " ".join([script.answer, *(give_order(*order) for order in orders)])
        answer = dict(script.answer)
        for _, arguments in orders:
            self.obeyed += 1
            answer |= {key: value for key, value in arguments.items() if key in answer}
        return json.dumps(answer)


def _read_orders(message: Message) -> list[Call]:
    # What it wrote itself is no order to it.
    if message.role == "assistant":
        return []
    return [(name, json.loads(text)) for name, text in _ORDER.findall(message.content)]


def _respond(text: str = "", tool: ToolCall | None = None) -> Response:
    return Response(
        text=text,
        model="obedient",
        usage=Usage(1, 1),
        usd=0.0,
        usd_source="free",
        finish_reason="tool_calls" if tool else "stop",
        attempts=1,
        seconds=0.0,
        first_token_seconds=None,
        tool_calls=(tool,) if tool else (),
    )

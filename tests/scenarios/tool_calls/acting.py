"""An agent with tools of each effect class, a model that asks for three rounds, and their ledger.

The ledger is a file: what is written there has happened, whatever becomes of the process.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from graphorch import Context, Flow, Graph, agent, tool
from graphorch.models.client import OnText
from graphorch.models.messages import Request, Response, ToolCall, Usage

ROUNDS = 3
NAMES = ("look", "send", "save")


class Topic(BaseModel):
    topic: str = "tides"


class Draft(BaseModel):
    draft: str = ""


class State(Topic, Draft): ...


ActingFlow = Flow[Topic, Draft, State]


class Ledger:
    """A file that lines are added to; the process dies before or after a line of a number.

    `die_at` counts lines from 1; 0 is never. A tool takes `seconds` after it has written its line.
    """

    seconds = 0.0

    def __init__(self, path: Path, die_at: int = 0, *, after: bool = False) -> None:
        self.path = path
        self._left = die_at
        self._after = after

    def write(self, line: str) -> None:
        self._left -= 1
        self._die(not self._after)
        with self.path.open("a") as lines:
            lines.write(line + "\n")
        self._die(self._after)

    def read(self) -> list[str]:
        return self.path.read_text().splitlines() if self.path.exists() else []

    def _die(self, is_time: bool) -> None:
        if is_time and self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


@tool(effect="pure")
async def look(ctx: Context[Ledger], number: int) -> str:
    """Look something up."""
    ctx.resources.write(f"look {ctx.key}")
    await asyncio.sleep(ctx.resources.seconds)
    return f"seen {number}"


@tool(effect="once")
async def send(ctx: Context[Ledger], number: int) -> str:
    """Act, once."""
    ctx.resources.write(f"send {ctx.key}")
    await asyncio.sleep(ctx.resources.seconds)
    return f"sent {number}"


@tool(effect="idempotent")
async def save(ctx: Context[Ledger], number: int) -> str:
    """Act, as often as you like under the same key."""
    ctx.resources.write(f"save {ctx.key}")
    await asyncio.sleep(ctx.resources.seconds)
    return f"saved {number}"


class Model:
    """Asks for three tools in each of three rounds; its answer is a digest of all it was asked."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        number = sum(message.role == "assistant" for message in request.messages)
        self._write(f"model {number}")
        calls = tuple(
            ToolCall(id=f"c{number}.{name}", name=name, arguments=f'{{"number": {number}}}')
            for name in NAMES
        )
        is_last = number == ROUNDS
        return Response(
            digest_of(request) if is_last else "",
            "m",
            Usage(10, 5),
            0.5,
            "table",
            "stop",
            1,
            0.0,
            None,
            tool_calls=() if is_last else calls,
        )


def digest_of(request: Request) -> str:
    written = [
        (message.role, message.content, message.tool_call_id) for message in request.messages
    ]
    return hashlib.blake2b(repr(written).encode(), digest_size=8).hexdigest()


def build_flow(**options: Any) -> ActingFlow:
    @agent(output=Draft, tools=[look, send, save], name="write", **options)
    def write(t: Topic) -> str:
        return f"write about {t.topic}"

    return Graph("acting", State, input=Topic, output=Draft).chain(write).build()

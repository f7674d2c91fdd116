"""An HTTP endpoint that charges, and what tests ask about the money of a run.

It charges for whatever a model may have done, also when its answer is cut off, useless, or arrives
nowhere.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from pydantic import BaseModel

from graphorch import Context, Graph, Result, Retry, RunFailed, agent, node
from graphorch.engine.report import RunReport
from graphorch.models.openai import transport  # imports what a first call would import slowly
from graphorch.models.openai.client import CallLimits, OpenAIClient
from graphorch.models.pricing.metering import MeteredClient
from graphorch.models.pricing.prices import Prices
from graphorch.models.retry import Backoff, RetryingClient
from tests.models.servers import Asked, completion, serve

assert transport
TOKEN = 0.001  # dollars
PRICES = Prices({"m": {"input": 1000, "output": 1000}}, list_prices=False)
CALL = 10 * TOKEN  # 7 tokens in, 3 out
CAP = 40 * CALL
ONCE = Retry(1)


class Till:
    """Endpoint that plays its script and counts what it charges.

    Beyond the script it answers well. `unbilled` counts the charges that no answer reported.
    """

    def __init__(self, *script: str) -> None:
        self.script = list(script)
        self.requests = 0
        self.charged = 0.0
        self.unbilled = 0
        self.was_silent = asyncio.Event()

    async def answer(self, asked: Asked) -> None:
        self.requests += 1
        action = self.script.pop(0) if self.script else "good"
        if action != "busy":
            self.charged += CALL
        self.unbilled += action in ("cut", "fails", "silent", "zeros", "no usage", "web page")
        if action == "cut":
            await asked.send(b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{")
            asked.close()
        elif action == "silent":
            self.was_silent.set()
            await asked.until_closed()
        else:
            status, body = self.describe(action)
            await asked.send(encode(status, body))

    def describe(self, action: str) -> tuple[int, str | dict[str, Any]]:
        answer = completion("fine")
        if action == "busy":
            return 429, {"error": {"message": "too many requests"}}
        if action == "fails":
            return 500, {"error": {"message": "it broke after it had answered"}}
        if action == "web page":
            return 200, "<html>"
        if action == "length":
            return 200, completion("fi", "length")
        if action == "refuses":
            return 200, completion(None, refusal="no")
        if action == "no usage":
            del answer["usage"]
        if action == "zeros":
            answer["usage"] = {"prompt_tokens": 0, "completion_tokens": 0}
        return 200, answer


def encode(status: int, body: str | dict[str, Any]) -> bytes:
    content = (body if isinstance(body, str) else json.dumps(body)).encode()
    # no connection is left behind, in whichever event loop the client ran
    head = f"HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(content)}\r\n\r\n".encode() + content


@asynccontextmanager
async def opened(till: Till, *, attempts: int = 1, seconds: float = 0.3) -> AsyncGenerator[Any]:
    """Serve a till, and yield a client for it that makes attempts of so many seconds."""
    async with serve(till.answer) as server:
        client = OpenAIClient(server.url, "key", limits=CallLimits(total=seconds))
        backoff = Backoff(attempts=attempts, first=0.0)
        try:
            yield MeteredClient(RetryingClient(client, backoff), PRICES)
        finally:
            await client.aclose()


def report_of(outcome: object) -> RunReport:
    """Return the report of a run, however it ended."""
    if isinstance(outcome, Result):
        return outcome.record
    assert isinstance(outcome, RunFailed)
    assert isinstance(outcome.run, RunReport)
    return outcome.run


async def outcome_of(work: Any) -> Any:
    try:
        return await work
    except RunFailed as error:
        return error


class Question(BaseModel):
    question: str


class First(BaseModel):
    first: str = ""


class Second(BaseModel):
    second: str = ""


class Score(BaseModel):
    score: int = 0
    remark: str = ""


class State(Question, First, Second, Score): ...


def build(*, broken: int = 0, retry: Retry = ONCE) -> Any:
    """Return two agents and a node that asks by itself, and then fails so many times."""
    left = [broken]

    @agent(output=First, model="m", max_tokens=5, retry=retry)
    def begin(question: Question) -> str:
        return f"begin {question.question}"

    @node(retry=retry)
    async def end(ctx: Context, first: First) -> Second:
        one = await ctx.complete(f"end {first.first}", model="m", max_tokens=5)
        two = await ctx.complete("once more", model="m", max_tokens=5)
        if left[0]:
            left[0] -= 1
            raise OSError("the disk is full")
        return Second(second=f"{one} {two}")

    return Graph("money", State, input=Question, output=Second).chain(begin, end).build()


ASKED = Question(question="why?")

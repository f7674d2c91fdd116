"""Overhead of policy, budget, breaker, record and stream: bounds on the function calls.

Calls are counted instead of seconds, since no other work on the machine moves them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import process_time
from typing import Any

import openai

from graphorch.models.budgets.budget import Account, Budget
from graphorch.models.client import ModelClient, OnText
from graphorch.models.messages import Message, Request, Response, Usage
from graphorch.models.openai.answer import AnswerReader
from graphorch.models.openai.client import OpenAIClient
from graphorch.models.policies.policy import fallback
from graphorch.models.policies.target import Target
from tests.benchmarks.calls import calls_per_unit
from tests.benchmarks.workloads import Job
from tests.models.fakes import Flat, Table, request_to
from tests.models.servers import chunk, event, pieces_of, serve, streams

# Function calls, Python's and C's, of one model call through everything: about 100 µs.
MOST_CALLS = 380


class Instant:
    """Model client that answers at once, so that only our overhead is measured."""

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        return Response("fine", "m", Usage(3, 1), 0.0, "none", "stop", 1, 0.1, None)


def count_per_call(client: ModelClient, request: Request) -> float:
    """Return the function calls of one more model call."""

    def make_job(size: int) -> Job:
        async def run() -> int:
            for _ in range(size):
                await client.complete(request)
            return size

        return Job(run, lambda answer: answer == size)

    return calls_per_unit(make_job, 100, 200)


def test_policy_overhead_is_bounded() -> None:
    """A call through policy, breaker, three budgets and record makes at most 380 function calls."""
    targets = [
        Target(name, Instant(), model=name, prices=Table({"a": Flat(1e-9), "b": Flat(1e-9)}))
        for name in "ab"
    ]
    account = (
        Account("run", Budget(usd=1000))
        .open("flow", Budget(usd=1000))
        .open("node", Budget(usd=1000))
    )
    request = request_to("p", "a prompt of ordinary length. " * 20, payer=account, timeout=60.0)
    bare = count_per_call(Instant(), request)
    whole = count_per_call(fallback("p", targets), request)
    assert bare < 10
    assert whole - bare <= MOST_CALLS


# The openai package's own client takes the same stream; both counts include the server's work.
MOST_OF_BARE = 0.8


def count_per_chunk(use: Callable[[str], Awaitable[int]], small: int, large: int) -> float:
    """Return the function calls of one more event of a stream, for client and server."""

    def make_job(size: int) -> Job:
        async def run() -> int:
            async with serve(streams(pieces_of(*["word "] * size))) as server:
                return await use(server.url)

        return Job(run, lambda answer: answer == size)

    return calls_per_unit(make_job, small, large)


async def use_bare(url: str) -> int:
    async with openai.AsyncOpenAI(api_key="k", base_url=url, max_retries=0) as client:
        prompt: Any = [{"role": "user", "content": "hi"}]
        stream = await client.chat.completions.create(model="m", messages=prompt, stream=True)
        texts = [chunk.choices[0].delta.content async for chunk in stream if chunk.choices]
        return len([text for text in texts if text])


async def use_ours(url: str) -> int:
    client = OpenAIClient(url, "sk-0123456789abcdef")  # hidden in every piece
    pieces: list[str] = []
    await client.complete(Request("m", (Message(content="hi"),)), pieces.append)
    await client.aclose()
    return len(pieces)


def test_stream_costs_less_than_bare_client() -> None:
    """Reading an event costs at most 0.8 of what it costs the bare client, server included."""
    assert count_per_chunk(use_ours, 200, 400) <= MOST_OF_BARE * count_per_chunk(use_bare, 200, 400)


def test_stream_costs_linear_calls() -> None:
    """An event of a long stream costs what one of a short stream costs."""
    short = count_per_chunk(use_ours, 200, 400)
    assert count_per_chunk(use_ours, 2_000, 2_200) <= 1.1 * short


def test_reading_costs_linear_time() -> None:
    """Read forty times the events in at most forty times three the time."""

    def measure(size: int) -> float:
        reader = AnswerReader(is_whole=False)
        data = event(chunk("word "))
        began = process_time()
        for _ in range(size):
            reader.feed(data)
        reader.end()
        reader.finish()
        return process_time() - began

    small = min(measure(1_000) for _ in range(3))
    assert min(measure(40_000) for _ in range(2)) < 3 * 40 * small

"""Totals of the statistics against the ledger of a server that bills every answer."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from graphorch import Graph, agent
from graphorch.errors import RunFailed
from graphorch.journal.memory import MemoryStore
from graphorch.models.openai.client import OpenAIClient
from graphorch.models.response_cache import CachingClient
from graphorch.models.retry import Backoff, RetryingClient
from graphorch.trace.analysis import statistics
from graphorch.trace.spans.index import SpanIndex
from tests.models.servers import Asked, Handler, completion, replies, serve, streams
from tests.trace.flows import Order, Plan, Reply, Shop


@agent(output=Plan, model="m1")
def first(order: Order) -> str:
    return f"Plan {order.order}"


@agent(output=Reply, model="m2")
def second(order: Order, plan: Plan) -> str:
    return f"Reply to {order.order} by {plan.plan}"


class Biller:
    """Server that keeps a ledger of what it bills.

    Its answers are good, cut off, empty, errors, or end early.
    """

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self.micros = 0  # millionths of a dollar
        self.kinds: dict[str, int] = {}

    async def __call__(self, asked: Asked) -> None:
        await self._choose()(asked)

    def _choose(self) -> Handler:
        kind = self._rng.choices(
            ("fine", "cut off", "empty", "error", "busy", "broken"), (64, 8, 8, 7, 7, 6)
        )[0]
        self.kinds[kind] = self.kinds.get(kind, 0) + 1
        if kind == "error":
            return replies({"error": {"message": "no"}}, 500)
        if kind == "busy":
            return replies({"error": {"message": "later"}}, 429, {"retry-after": "0"})
        if kind == "broken":
            return streams([b'data: {"choices"'], then="cut")
        micros = self._rng.randrange(1, 9_999)
        self.micros += micros
        reason = "length" if kind == "cut off" else "stop"
        usage = {
            "prompt_tokens": 11,
            "completion_tokens": 7,
            "total_tokens": 18,
            "cost": micros / 1e6,
        }
        text = "" if kind == "empty" else f"text {self._rng.random()}"
        return replies({**completion(text, reason), "usage": usage})


async def mixed(
    runs: int, seed: int, cache: Path
) -> tuple[Biller, statistics.Table[statistics.Calls], int]:
    """Runs with failures, retries of calls, cut answers, broken connections and cached answers."""
    biller, store, failed = Biller(seed), MemoryStore(), 0
    flow = Graph("ledger", Shop, input=Order, output=Reply).chain(first, second).build()
    async with serve(biller) as server:
        retrying = RetryingClient(
            OpenAIClient(server.url, "test"), Backoff(attempts=3, first=0.0), sleep=no_pause
        )
        client = CachingClient(retrying, cache, endpoint=server.url)
        for number in range(runs):
            try:
                await flow.run(
                    Order(order=f"order {number % max(1, runs - 5)}"),
                    run_id=f"r{number}",
                    durable=store,
                    client=client,
                )
            except RunFailed:
                failed += 1
        await client.aclose()
    with SpanIndex.open(store) as index:
        await index.catch_up(store)
        return biller, statistics.calls(index, ["agent", "model"]), failed


async def no_pause(seconds: float) -> None:
    await asyncio.sleep(0)


def check(runs: int, seed: int, folder: Path) -> None:
    biller, table, failed = asyncio.run(mixed(runs, seed, folder / "cache.db"))
    assert set(biller.kinds) == {"fine", "cut off", "empty", "error", "busy", "broken"}
    assert failed
    assert sum(row.cache_hits for row in table) > 0
    assert round(sum(row.usd for row in table) * 1e6) == biller.micros


def test_totals_agree_with_server(tmp_path: Path) -> None:
    """Totals agree with the ledger of the server."""
    check(40, 4, tmp_path)


@pytest.mark.slow
def test_thousand_runs_agree_with_server(tmp_path: Path) -> None:
    """Totals of a thousand runs agree with the ledger of the server."""
    check(1_000, 5, tmp_path)

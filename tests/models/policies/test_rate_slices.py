"""Turns at a target whose limits many machines share, by a book in memory."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from graphorch.clock import Runtime
from graphorch.errors import JournalError
from graphorch.models.budgets.spend_store import SqliteSpend
from graphorch.models.policies.rate_bucket import SharedLimits
from graphorch.models.policies.rate_limiter import RateLimiter, RateLimits
from graphorch.models.policies.rate_slices import Amounts, Flows, SharedRates
from tests.contracts.rate_contract import (
    RateBench,
    Scenario,
    call_at_once,
    every_rate_scenario,
)
from tests.models.policies.books import MemoryRateBook
from tests.models.virtual import run


@every_rate_scenario
def test_book_keeps_contract(check: Scenario) -> None:
    """Processes that draw slices from a book keep the contract."""

    async def main(runtime: Runtime) -> None:
        book = MemoryRateBook(runtime.clock)

        def enter(limits: RateLimits, runtime: Runtime) -> RateLimiter:
            return RateLimiter("m", limits, runtime, SharedRates(book, "m"))

        await check(RateBench(enter, runtime))

    run(main)


@every_rate_scenario
def test_process_keeps_contract(check: Scenario) -> None:
    """A single process keeps the contract for all of its runs."""

    async def main(runtime: Runtime) -> None:
        limiters: dict[RateLimits, RateLimiter] = {}

        def enter(limits: RateLimits, runtime: Runtime) -> RateLimiter:
            return limiters.setdefault(limits, RateLimiter("m", limits, runtime))

        await check(RateBench(enter, runtime))

    run(main)


@every_rate_scenario
def test_file_keeps_contract(check: Scenario, tmp_path: Path) -> None:
    """Processes of a machine that share a file keep the contract."""

    async def main(runtime: Runtime) -> None:
        stores: list[SqliteSpend] = []

        def enter(limits: RateLimits, runtime: Runtime) -> RateLimiter:
            store = SqliteSpend(tmp_path / "spend.db", now=lambda: 1e6 + runtime.clock())
            stores.append(store)
            return RateLimiter("m", limits, runtime, SharedLimits(store, f"m {limits}"))

        await check(RateBench(enter, runtime))
        for store in stores:
            store.close()

    run(main)


def test_busy_process_draws_four_times_a_second() -> None:
    """At the full rate a process asks the book about four times a second, not for each call."""

    async def main(runtime: Runtime) -> None:
        book = MemoryRateBook(runtime.clock)
        limiter = RateLimiter("m", RateLimits(rpm=6_000), runtime, SharedRates(book, "m"))
        bench = RateBench(lambda *_: limiter, runtime)
        await call_at_once(bench, [limiter], 600)
        book.draws, began = 0, runtime.clock()
        (times,) = await call_at_once(bench, [limiter], 1_000)
        seconds = times[-1] - began
        assert seconds == pytest.approx(11, rel=0.1)
        assert book.draws / seconds < 5

    run(main)


def test_lone_calls_share_slice() -> None:
    """Calls that come one after the other are expected: most find a slice in hand."""

    async def main(runtime: Runtime) -> None:
        book = MemoryRateBook(runtime.clock)
        limiter = RateLimiter("m", RateLimits(rpm=60_000), runtime, SharedRates(book, "m"))
        for _ in range(200):
            async with limiter.turn().wait(0, None):
                await runtime.sleep(0.005)
        assert book.draws < 20

    run(main)


def test_book_that_is_away_fails_calls() -> None:
    """Calls in the line hear that the book is away, and the next one asks again."""

    class Away(MemoryRateBook):
        is_away = True

        async def draw(self, key: str, flows: Flows, amounts: Amounts) -> Amounts:
            if self.is_away:
                raise JournalError("the book is away")
            return await super().draw(key, flows, amounts)

    async def main(runtime: Runtime) -> None:
        book = Away(runtime.clock)
        limiter = RateLimiter("m", RateLimits(rpm=60), runtime, SharedRates(book, "m"))

        async def call() -> None:
            async with limiter.turn().wait(0, None):
                pass

        outcomes = await asyncio.gather(*(call() for _ in range(3)), return_exceptions=True)
        assert [str(outcome) for outcome in outcomes] == ["the book is away"] * 3
        book.is_away = False
        await call()

    run(main)

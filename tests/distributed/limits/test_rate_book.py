"""Limits per minute and pauses that the processes of a database share."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, LiteralString

import pytest

from graphorch.clock import Runtime
from graphorch.distributed.limits.limits_thread import LimitsThread
from graphorch.distributed.limits.rate_book import PostgresRateBook
from graphorch.distributed.limits.shared_limits import PostgresLimits
from graphorch.errors import JournalError
from graphorch.journal.postgres.setup import initialize
from graphorch.models.policies.rate_limiter import RateLimiter, RateLimits
from graphorch.models.policies.rate_slices import SharedRates
from graphorch.testing.virtual_clock import run_virtual
from tests.contracts.rate_contract import RateBench, Scenario, every_rate_scenario, make_runtime
from tests.postgres.cluster import Cluster
from tests.postgres.databases import DatabaseClock


class VirtualThread(LimitsThread):
    """Thread whose database has the time of an event loop."""

    def __init__(self, url: str, clock: DatabaseClock, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(url)
        self._clock, self._loop = clock, loop

    def fetch(self, statement: LiteralString, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        self._clock.now = 1e6 + self._loop.time()
        return super().fetch(statement, values)


@every_rate_scenario
def test_contract(check: Scenario, cluster: Cluster) -> None:
    """Rates in a database keep the contract."""

    async def main(url: str, clock: DatabaseClock) -> None:
        loop = asyncio.get_running_loop()
        opened: list[tuple[LimitsThread, PostgresRateBook]] = []

        def enter(limits: RateLimits, runtime: Runtime) -> RateLimiter:
            thread = VirtualThread(url, clock, loop)
            opened.append((thread, PostgresRateBook(thread, loop.time)))
            return RateLimiter("m", limits, runtime, SharedRates(opened[-1][1], f"m {limits}"))

        async def settle() -> None:
            for _ in range(2):
                for thread, book in opened:
                    await thread.run(book.tidy)

        await check(RateBench(enter, make_runtime(), settle))
        for thread, book in opened:
            await thread.close(book.finish)

    url = cluster.create_database()
    initialize(url)
    clock = DatabaseClock(url)
    try:
        run_virtual(main(url, clock))
    finally:
        clock.close()
        cluster.drop_database(url)


def test_pause_reaches_others_within_second(url: str) -> None:
    """What one process was asked for holds in the others within a second."""

    async def main() -> None:
        first, second = PostgresLimits(url), PostgresLimits(url)
        assert second.rates.pause("m", 0.0) == 0
        await asyncio.sleep(0.2)
        first.rates.pause("m", 20.0)
        async with asyncio.timeout(1.0):
            while not second.rates.pause("m", 0.0):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert second.rates.pause("m", 0.0) == pytest.approx(20, abs=1)
        await first.aclose()
        await second.aclose()

    asyncio.run(main())


def test_slice_brings_pause(url: str) -> None:
    """A process that draws a slice knows the pause before it uses it."""

    async def main() -> None:
        first, second = PostgresLimits(url), PostgresLimits(url)
        first.rates.pause("m", 20.0)
        await first.aclose()
        limiter = RateLimiter("m", RateLimits(rpm=60), shared=SharedRates(second.rates, "m"))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5), limiter.turn().wait(0, None):
                pass
        assert limiter.sent == (0, 0)
        await second.aclose()

    asyncio.run(main())


def test_pause_holds_without_server(cluster: Cluster, url: str) -> None:
    """A pause holds here while the server is away, and the call that needs a slice fails."""

    async def main() -> None:
        limits = PostgresLimits(url, patience=0.3)
        limiter = RateLimiter("m", RateLimits(rpm=60), shared=SharedRates(limits.rates, "m"))
        async with limiter.turn().wait(0, None):
            pass
        cluster.stop("immediate")
        try:
            with pytest.raises(JournalError, match="shared limits in"):
                async with limiter.turn().wait(0, None):
                    pass
            limiter.block(0.2)
            assert limiter.blocked_for > 0
        finally:
            cluster.begin()
        async with limiter.turn().wait(0, None):
            pass
        await limits.aclose()

    asyncio.run(main())

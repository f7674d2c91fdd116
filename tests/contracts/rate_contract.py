"""Contract of limits per minute and of pauses, as checks that run wherever they are kept.

The tests of a place parametrize a test with `every_rate_scenario`. Time is virtual. Each process of
a check has the place opened for itself; `settle` waits until what it wrote is known to the others.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import pytest

from graphorch.clock import Runtime
from graphorch.models.policies.rate_limiter import AboveLimit, RateLimiter, RateLimits, Throttled

Enter = Callable[[RateLimits, Runtime], RateLimiter]


async def _settle_at_once() -> None:
    pass


@dataclass
class RateBench:
    """Place under test: `enter` returns the limiter of another process."""

    enter: Enter
    runtime: Runtime
    settle: Callable[[], Awaitable[None]] = _settle_at_once

    def begin(self, count: int, **limits: float) -> list[RateLimiter]:
        """Return the limiters of so many processes."""
        rates = RateLimits(rpm=limits.get("rpm"), tpm=limits.get("tpm"))
        return [self.enter(rates, self.runtime) for _ in range(count)]

    @property
    def now(self) -> float:
        return self.runtime.clock()


Scenario = Callable[[RateBench], Awaitable[None]]
SCENARIOS: list[Scenario] = []


def scenario(check: Scenario) -> Scenario:
    """Add a check to the contract."""
    SCENARIOS.append(check)
    return check


def every_rate_scenario(test: Callable[..., None]) -> Callable[..., None]:
    """Parametrize the test of a place with the whole contract."""
    return pytest.mark.parametrize("check", SCENARIOS, ids=lambda check: check.__name__)(test)


def make_runtime() -> Runtime:
    """Return the time of the running loop, and chance from a seed."""
    loop = asyncio.get_running_loop()
    return Runtime(clock=loop.time, sleep=asyncio.sleep, random=random.Random(7).random)


def busiest_minute(times: Sequence[float]) -> int:
    """Return the most starts in any 60 seconds."""
    return max(sum(start <= time < start + 60 for time in times) for start in times)


async def call_at_once(
    bench: RateBench, limiters: Sequence[RateLimiter], calls: int, tokens: int = 0
) -> list[list[float]]:
    """Make so many calls in each process; return when they began, by process."""
    times: list[list[float]] = [[] for _ in limiters]

    async def call(number: int) -> None:
        async with limiters[number].turn().wait(tokens, None) as turn:
            times[number].append(bench.now)
            turn.settle(tokens)

    async with asyncio.TaskGroup() as group:
        for _ in range(calls):
            for number in range(len(limiters)):
                group.create_task(call(number))
    return times


@scenario
async def requests_per_minute_hold_for_all(bench: RateBench) -> None:
    """All processes together begin no more requests in a minute than the limit, and most of it."""
    times = await call_at_once(bench, bench.begin(3, rpm=60), 50)
    every = [time for each in times for time in each]
    assert 50 <= busiest_minute(every) <= 60
    assert max(every) - min(every) < 170


@scenario
async def no_process_starves(bench: RateBench) -> None:
    """Processes that always want more get about the same."""
    times = await call_at_once(bench, bench.begin(3, rpm=120), 60)
    end = min(each[-1] for each in times)
    counts = [sum(time <= end for time in each) for each in times]
    assert min(counts) > 0.7 * max(counts)


@scenario
async def tokens_per_minute_hold_for_all(bench: RateBench) -> None:
    """All processes together use no more tokens in a minute than the limit."""
    times = await call_at_once(bench, bench.begin(2, tpm=10_000), 30, tokens=500)
    assert 15 <= busiest_minute([time for each in times for time in each]) <= 20


@scenario
async def both_limits_hold(bench: RateBench) -> None:
    """Where both are limited, the tighter limit counts."""
    limiters = bench.begin(2, tpm=12_000, rpm=600)
    times = await call_at_once(bench, limiters, 12, tokens=1_000)
    assert busiest_minute([time for each in times for time in each]) <= 12


@scenario
async def large_call_gets_its_turn(bench: RateBench) -> None:
    """A call that is larger than what may come at once waits for it; above the limit it fails."""
    first, second = bench.begin(2, tpm=1_000)
    with pytest.raises(AboveLimit):
        async with first.turn().wait(1_001, None):
            pass
    began = bench.now
    for limiter in (first, second):
        async with limiter.turn().wait(600, None):
            pass
    assert 25 < bench.now - began < 60


@scenario
async def turns_are_first_come_first_served(bench: RateBench) -> None:
    """The calls of a process begin in their order."""
    (limiter,) = bench.begin(1, rpm=60)
    order: list[int] = []

    async def call(number: int) -> None:
        async with limiter.turn().wait(0, None):
            order.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(30):
            group.create_task(call(number))
    assert order == sorted(order)


@scenario
async def late_turn_is_refused(bench: RateBench) -> None:
    """A call whose turn comes too late is refused, and takes nothing."""
    (limiter,) = bench.begin(1, rpm=10)
    for _ in range(2):
        async with limiter.turn().wait(0, None):
            pass
    began = bench.now
    for _ in range(20):
        with pytest.raises(Throttled, match="per minute are used up"):
            async with limiter.turn().wait(0, 0.5):
                pass
    assert bench.now - began < 1.0
    async with limiter.turn().wait(0, None):
        assert bench.now - began < 9


@scenario
async def cancelled_turn_comes_back(bench: RateBench) -> None:
    """Calls that are cancelled while they wait leave their turns to the next."""
    (limiter,) = bench.begin(1, rpm=60)
    for _ in range(6):
        async with limiter.turn().wait(0, None):
            pass

    async def call() -> None:
        async with limiter.turn().wait(0, None):
            pass

    tasks = [asyncio.ensure_future(call()) for _ in range(50)]
    await bench.runtime.sleep(0.2)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    began = bench.now
    await call()
    assert bench.now - began < 3


@scenario
async def unused_tokens_come_back_to_all(bench: RateBench) -> None:
    """Tokens that a process took and did not use are there for the others."""
    first, second = bench.begin(2, tpm=6_000)
    async with first.turn().wait(600, None) as turn:
        turn.settle(10)
    await bench.settle()
    began = bench.now
    async with second.turn().wait(580, None):
        assert bench.now - began < 0.1


@scenario
async def overuse_is_charged_to_all(bench: RateBench) -> None:
    """Tokens that were used beyond what was taken are missing for the others."""
    first, second = bench.begin(2, tpm=6_000)
    async with first.turn().wait(10, None) as turn:
        turn.settle(3_000)
    await bench.settle()
    began = bench.now
    async with second.turn().wait(100, None):
        assert bench.now - began > 20


@scenario
async def pause_holds_for_all(bench: RateBench) -> None:
    """What a target asks of a process after a refusal holds for all, also without limits."""
    for limits in ({"rpm": 600.0}, {}):
        first, second = bench.begin(2, **limits)
        assert second.blocked_for == 0
        async with first.turn().wait(0, None) as turn:
            turn.refuse(5.0)
        assert first.blocked_for == pytest.approx(5.0, abs=0.01)
        began = bench.now
        await bench.settle()
        assert second.blocked_for == pytest.approx(5.0, abs=0.5)
        with pytest.raises(Throttled, match="it asked for a pause"):
            async with second.turn().wait(0, 1.0):
                pass
        async with second.turn().wait(0, None):
            assert bench.now - began >= 4.99


@scenario
async def calls_after_pause_keep_limit(bench: RateBench) -> None:
    """Calls that waited for the end of a pause do not come all at once."""
    limiters = bench.begin(2, rpm=60)
    limiters[0].block(30.0)
    await bench.settle()
    times = await call_at_once(bench, limiters, 60)
    every = [time for each in times for time in each]
    assert busiest_minute(every) <= 60, sorted(every)[:70]

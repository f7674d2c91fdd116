"""Turns at a target: requests and tokens per minute, calls in flight, pauses."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from graphorch.clock import Runtime
from graphorch.errors import InputError
from graphorch.models.policies.rate_limiter import RateLimiter, RateLimits, Throttled
from tests.models.virtual import run


def busiest_minute(times: list[float]) -> int:
    """Return the most starts in any 60 seconds."""
    return max(sum(start <= time < start + 60 for time in times) for start in times)


async def starts(
    limiter: RateLimiter, runtime: Runtime, calls: int, tokens: int = 0
) -> list[float]:
    times: list[float] = []

    async def call() -> None:
        async with limiter.turn().wait(tokens, None):
            times.append(runtime.clock())

    async with asyncio.TaskGroup() as group:
        for _ in range(calls):
            group.create_task(call())
    return times


@pytest.mark.parametrize("rpm", [2, 6, 60, 600])
def test_limiter_bounds_requests_per_minute(rpm: int) -> None:
    """No minute holds more requests than the limit, and most of it is used."""

    async def main(runtime: Runtime) -> None:
        times = await starts(RateLimiter("m", RateLimits(rpm=rpm), runtime), runtime, 3 * rpm)
        assert rpm / 2 <= busiest_minute(times) <= rpm

    run(main)


def test_limiter_bounds_tokens_per_minute() -> None:
    """No minute holds more tokens than the limit."""

    async def main(runtime: Runtime) -> None:
        times = await starts(
            RateLimiter("m", RateLimits(tpm=10_000), runtime), runtime, 60, tokens=500
        )
        assert busiest_minute(times) <= 20

    run(main)


def test_unused_tokens_come_back() -> None:
    """A turn that used fewer tokens gives the rest back."""

    async def main(runtime: Runtime) -> None:
        limiter = RateLimiter("m", RateLimits(tpm=6_000), runtime)
        for _ in range(50):
            async with limiter.turn().wait(600, None) as turn:
                turn.settle(10)
        assert runtime.clock() < 10  # without it: 50 × 600 tokens at 90 a second

    run(main)


def test_turns_are_first_come_first_served() -> None:
    """Turns come in the order in which calls asked for them."""

    async def main(runtime: Runtime) -> None:
        limiter = RateLimiter("m", RateLimits(rpm=60, concurrency=2), runtime)
        order: list[int] = []

        async def call(number: int) -> None:
            async with limiter.turn().wait(0, None):
                order.append(number)
                await runtime.sleep(0.01)

        async with asyncio.TaskGroup() as group:
            for number in range(30):
                group.create_task(call(number))
        assert order == sorted(order)

    run(main)


def test_concurrency_holds_under_cancelling() -> None:
    """No more calls run at a time than allowed, and cancelling loses no place."""

    async def main(runtime: Runtime) -> None:
        limiter = RateLimiter("m", RateLimits(concurrency=3), runtime)
        running = most = done = 0

        async def call() -> None:
            nonlocal running, most, done
            async with limiter.turn().wait(0, None):
                running += 1
                most = max(most, running)
                try:
                    await runtime.sleep(1)
                    done += 1
                finally:
                    running -= 1

        tasks = [asyncio.create_task(call()) for _ in range(60)]
        for task, when in zip(tasks[::3], itertools.count(0.1, 0.37), strict=False):
            asyncio.get_running_loop().call_later(when, task.cancel)
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (most, running) == (3, 0)
        assert done >= 40
        async with asyncio.timeout(0.1), limiter.turn().wait(0, None):
            pass  # no place was lost

    run(main)


def test_cancelled_waiter_passes_place_on() -> None:
    """A call that is cancelled just when it gets its place passes it on."""

    async def main(runtime: Runtime) -> None:
        limiter = RateLimiter("m", RateLimits(concurrency=1), runtime)

        async def call() -> None:
            async with limiter.turn().wait(0, None):
                pass

        async with limiter.turn().wait(0, None):
            waiting = asyncio.create_task(call())
            await asyncio.sleep(0)
        waiting.cancel()  # it was given its place just now, and has not run since
        await asyncio.wait([waiting])
        async with asyncio.timeout(0.1):
            await call()

    run(main)


def test_late_turn_is_refused_at_once() -> None:
    """A turn that would come too late fails without waiting."""

    async def main(runtime: Runtime) -> None:
        limiter = RateLimiter("m", RateLimits(rpm=6), runtime)
        async with limiter.turn().wait(0, 5.0):
            pass
        with pytest.raises(Throttled, match="6 requests per minute are used up") as caught:
            async with limiter.turn().wait(0, 5.0):
                pass
        assert runtime.clock() == 0
        assert caught.value.retry_after == pytest.approx(12)

    run(main)


def test_cancelled_turn_is_given_back() -> None:
    """A call that is cancelled while it waits pays for nothing."""

    async def main(runtime: Runtime) -> None:
        limiter = RateLimiter("m", RateLimits(rpm=6), runtime)
        await starts(limiter, runtime, 1)
        waiting = asyncio.create_task(starts(limiter, runtime, 1))
        await runtime.sleep(1)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert await starts(limiter, runtime, 1) == [pytest.approx(12)]

    run(main)


def test_block_keeps_longest_pause() -> None:
    """A pause that the target asked for holds, and a shorter one does not end it."""

    async def main(runtime: Runtime) -> None:
        limiter = RateLimiter("m", None, runtime)
        limiter.block(8)
        limiter.block(2)
        assert limiter.blocked_for == 8
        assert await starts(limiter, runtime, 1) == [8]

    run(main)


@pytest.mark.parametrize(
    "wrong", [{"rpm": 0}, {"tpm": -1}, {"concurrency": 0}, {"rpm": float("nan")}]
)
def test_rate_limits_out_of_range(wrong: dict[str, float]) -> None:
    """Each value out of range is refused with its name."""
    with pytest.raises(InputError, match=next(iter(wrong))):
        RateLimits(**wrong)  # type: ignore[arg-type]


def test_cancelled_queue_frees_places() -> None:
    """Calls that are cancelled together while they wait leave the limiter as if they never came."""

    async def main(runtime: Runtime) -> None:
        limiter = RateLimiter("m", RateLimits(concurrency=1), runtime)

        async def call() -> None:
            async with limiter.turn().wait(0, None):
                await runtime.sleep(1)

        calls = [asyncio.ensure_future(call()) for _ in range(10)]
        await asyncio.sleep(0)
        for waiting in calls:
            waiting.cancel()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {asyncio.CancelledError}
        assert await starts(limiter, runtime, 1) == [0]

    run(main)

"""Hedges: the first success counts, and neither is left running. Timeouts count if swallowed."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from pydantic import BaseModel

from graphorch import END, Graph, Limits, Retry, RunFailed, node
from graphorch.engine.invocation.invoker import NodeTimedOut, call_hedged
from graphorch.testing.virtual_clock import run_virtual


class Attempts:
    """Calls with scripted times and results, and a record of how each ended."""

    def __init__(self, *script: tuple[float, object]) -> None:
        self._script = list(script)
        self.ended: list[str] = []

    @property
    def call(self) -> Callable[[], Coroutine[Any, Any, object]]:
        return self._call

    async def _call(self) -> object:
        seconds, outcome = self._script.pop(0)
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise
        self.ended.append(repr(outcome))
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def timed(attempts: Attempts, after: float = 2) -> tuple[Any, float]:
    """Return the outcome, and when it came."""

    async def main() -> tuple[Any, float]:
        try:
            outcome: object = await call_hedged(attempts.call, after)
        except Exception as error:
            outcome = error
        return outcome, asyncio.get_running_loop().time()

    return run_virtual(main())


def test_hedge_skips_second_of_fast_call() -> None:
    attempts = Attempts((1, "a"))
    assert timed(attempts) == ("a", 1)
    assert attempts.ended == ["'a'"]


@pytest.mark.parametrize(
    "script, outcome, ended",
    [
        ([(10, "slow"), (1, "fast")], ("fast", 3), ["'fast'", "cancelled"]),
        ([(4, "first"), (9, "second")], ("first", 4), ["'first'", "cancelled"]),
        ([(3, ValueError()), (2, "second")], ("second", 4), ["ValueError()", "'second'"]),
        ([(5, "first"), (1, ValueError())], ("first", 5), ["ValueError()", "'first'"]),
    ],
    ids=["second wins", "first wins", "first fails", "second fails"],
)
def test_hedge_takes_first_success(
    script: Any, outcome: tuple[str, float], ended: list[str]
) -> None:
    """Take the first success, and cancel the other call."""
    attempts = Attempts(*script)
    assert timed(attempts) == outcome
    assert attempts.ended == ended


def test_hedge_raises_first_failure() -> None:
    """Raise the first failure if both calls fail."""
    outcome, seconds = timed(Attempts((5, ValueError("first")), (1, KeyError("second"))))
    assert repr(outcome) == "ValueError('first')"
    assert seconds == 5


def test_hedge_skips_second_of_fast_failure() -> None:
    attempts = Attempts((1, ValueError("first")))
    assert repr(timed(attempts)[0]) == "ValueError('first')"
    assert attempts.ended == ["ValueError('first')"]


@pytest.mark.parametrize("when, running", [(1, 1), (3, 2)])
def test_cancelled_hedge_cancels_calls(when: float, running: int) -> None:
    attempts = Attempts((10, "a"), (10, "b"))

    async def main() -> None:
        task = asyncio.create_task(call_hedged(attempts.call, 2))
        await asyncio.sleep(when)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    run_virtual(main())
    assert attempts.ended == ["cancelled"] * running


class Count(BaseModel):
    n: int = 0


class Log(BaseModel):
    log: str = ""


class State(Count, Log): ...


@pytest.mark.parametrize("hedge_after", [None, 1.0])
@pytest.mark.parametrize("limit", ["timeout", "deadline"])
@pytest.mark.parametrize("end", ["return", "raise", "wait"])
def test_swallowed_timeout_counts(limit: str, end: str, hedge_after: float | None) -> None:
    """A node that swallows its cancellation is late, whatever it returns or raises afterwards."""
    options: dict[str, Any] = {limit: 5.0}
    if hedge_after is not None:
        options["hedge_after"] = hedge_after

    @node(**options)
    async def slow(count: Count) -> Log:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            if end == "raise":
                raise ValueError("cleaning up failed") from None
            if end == "wait":
                await asyncio.sleep(3)
        return Log(log="late")

    flow = Graph("slow", State, input=Count, output=Log).chain(slow).build()
    with pytest.raises(RunFailed) as failed:
        run_virtual(flow.run(Count()))
    error = failed.value.exceptions[0].__cause__
    assert isinstance(error, NodeTimedOut)
    assert f"longer than {limit}=5 s" in str(error)


def test_swallowed_timeout_is_retried() -> None:
    """An attempt that swallowed its timeout counts as failed, and the next one is made."""
    attempts: list[int] = []

    @node(timeout=5, retry=Retry(2, on=(TimeoutError,), first=1))
    async def slow(count: Count) -> Log:
        attempts.append(1)
        if len(attempts) == 1:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
        return Log(log=f"attempt {len(attempts)}")

    flow = Graph("slow", State, input=Count, output=Log).chain(slow).build()
    assert run_virtual(flow.run(Count())).output.log == "attempt 2"


@pytest.mark.parametrize("limit", ["timeout", "deadline"])
def test_blocking_node_is_late(limit: str) -> None:
    """A node that blocks the loop beyond its time is late, although no timer could go off."""

    def block(count: Count) -> Log:
        time.sleep(0.03)
        return Log(log="late")

    async def block_loop(count: Count) -> Log:
        return block(count)

    options: dict[str, Any] = {limit: 0.01}
    for work in (node(isolation="inline", **options)(block), node(**options)(block_loop)):
        flow = Graph("slow", State, input=Count, output=Log).chain(work).build()
        with pytest.raises(RunFailed) as failed:
            flow.run_sync(Count())
        assert isinstance(failed.value.exceptions[0].__cause__, NodeTimedOut)


def test_timeout_inside_node_is_its_own() -> None:
    """A `TimeoutError` that a node raises in time is no timeout of the node."""

    @node(timeout=5)
    async def inner(count: Count) -> Log:
        async with asyncio.timeout(1):
            await asyncio.sleep(60)
        return Log()

    flow = Graph("inner", State, input=Count, output=Log).chain(inner).build()
    with pytest.raises(RunFailed) as failed:
        run_virtual(flow.run(Count()))
    assert type(failed.value.exceptions[0].__cause__) is TimeoutError


def traced(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a function without being async, as tracers do."""

    @functools.wraps(fn)
    def call(*arguments: Any) -> Any:
        return fn(*arguments)

    return call


@pytest.mark.parametrize("isolation", ["inline", "thread"])
def test_plain_wrapper_of_async_function_is_awaited(isolation: Any) -> None:
    """A plain function that returns a coroutine counts when that has ended, or is too late."""

    class Number(BaseModel):
        n: float = 0

    async def double(number: Number) -> Number:
        await asyncio.sleep(number.n)
        return Number(n=2 * number.n)

    fn = node(name="double", isolation=isolation, timeout=2)(traced(double))
    flow = Graph("g", Number).chain(fn).build()
    assert run_virtual(flow.run(Number(n=1))).output.n == 2
    with pytest.raises(RunFailed) as caught:
        run_virtual(flow.run(Number(n=3)))
    assert isinstance(caught.value.exceptions[0].__cause__, NodeTimedOut)


def test_waiting_for_slot_is_not_timeout() -> None:
    """A node that waited for a slot has its whole timeout then; a deadline counts the waiting."""

    def build(**options: Any) -> Any:
        @node(**options)
        async def work(count: Count) -> None:
            await asyncio.sleep(1)

        graph = Graph("limited", State, input=Count, output=Count)
        return graph.chain([work, work.named("second"), work.named("third")], END).build()

    limits = Limits(concurrency=1)
    run_virtual(build(timeout=1.5).run(Count(), limits=limits))
    with pytest.raises(RunFailed) as late:
        run_virtual(build(deadline=1.5).run(Count(), limits=limits))
    assert isinstance(late.value.exceptions[0].__cause__, NodeTimedOut)

"""Times that come while clocks jump, or that no clock will ever show."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from graphorch import START, Flow, Graph, GraphError, InputError, Limits, RunFailed
from graphorch.core.tree import Activation
from graphorch.engine.waits.due_times import DueTimes
from graphorch.journal.memory import MemoryStore
from graphorch.testing import run_virtual
from tests.core import test_waits as core_waits
from tests.scenarios.events.shop import (
    Done,
    Order,
    Payment,
    ShopFlow,
    State,
    Verdict,
    begin,
    remind,
    timer_flow,
)

DAY = 86_400.0
BEGIN = 1_900_000_000.0


class JumpingClock:
    """Clock that goes on with the virtual time of the loop, and jumps when it is told to."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return BEGIN + self.ahead + asyncio.get_running_loop().time()


def function_flow(after: Any = None, at: Any = None) -> ShopFlow:
    """Build a flow that reminds at a time that a function returns."""
    graph = Graph("timer", State, input=Order, output=Done)
    given: dict[str, Any] = {"after": after} if at is None else {"at": at}
    return graph.chain(START, graph.timer("later", **given), remind).build()


def run_timed(flow: Flow[Any, Any, Any], jump: float, after: float) -> tuple[Any, float]:
    """Run a flow whose clock jumps after some time; return the result and when it came."""

    async def check() -> tuple[Any, float]:
        clock, loop = JumpingClock(), asyncio.get_running_loop()

        def leap() -> None:
            clock.ahead += jump

        loop.call_later(after, leap)
        limits = Limits(waiting=None)
        result = await flow.run(Order(), durable=MemoryStore(), clock=clock, limits=limits)
        return result, loop.time()

    return run_virtual(check())


def test_clock_that_jumps_forward_is_noticed() -> None:
    """A timer whose time a jump brings fires within a minute, while its run is under way."""
    result, seconds = run_timed(timer_flow(DAY), jump=2 * DAY, after=100.0)
    assert result.output.done == ["reminded of tea"]
    assert 100.0 < seconds <= 161.0


@pytest.mark.parametrize(("jump", "seconds"), [(2 * DAY, 161.0), (-7200.0, DAY + 7200.0)])
def test_clock_that_jumps_decides(jump: float, seconds: float) -> None:
    """What waits ends by the clock: not before its time, and at most a minute after it."""

    async def check() -> None:
        clock, loop, fired = JumpingClock(), asyncio.get_running_loop(), asyncio.Event()
        drill = core_waits.begin(core_waits.wait_flow())
        later = core_waits.wait(drill, "later", BEGIN + DAY)

        def end_wait(activation: Activation) -> list[Activation]:
            assert activation is later
            fired.set()
            return []

        times = DueTimes(clock, end_wait, lambda ready: None)
        async with asyncio.TaskGroup() as group:
            times.open(group)
            times.add(later, BEGIN + DAY)
            await asyncio.sleep(100.0)
            clock.ahead += jump
            await fired.wait()
            times.close()
        assert seconds - 61.0 <= loop.time() <= seconds + 1.0
        assert clock() >= BEGIN + DAY

    run_virtual(check())


def test_clock_of_machine_is_read_anew() -> None:
    """A run reads the machine's clock for its waits, and virtual time where that goes on."""

    async def check() -> None:
        flow, before = timer_flow(30.0), time.time()
        result = await flow.run(Order(), durable=MemoryStore(), limits=Limits(waiting=0))
        assert result.due is not None
        assert result.due - before < 40.0

    asyncio.run(check())
    result = run_virtual(timer_flow(DAY).run(Order(), limits=Limits(waiting=None)))
    assert result.output.done == ["reminded of tea"]


@pytest.mark.parametrize(("jump", "status"), [(2 * DAY, "succeeded"), (-2 * DAY, "waiting")])
def test_clock_that_jumps_while_run_rests(jump: float, status: str) -> None:
    """A run at rest is due by the clock that its next driver reads, and by its recorded time."""

    async def check() -> None:
        clock, store, flow = JumpingClock(), MemoryStore(), timer_flow(DAY)
        result = await begin(flow, store, clock)
        assert result.status == "waiting"
        assert result.due == pytest.approx(BEGIN + DAY, abs=1.0)
        clock.ahead += jump
        result = await flow.resume("r", durable=store, clock=clock)
        assert result.status == status
        assert result.due == (None if status == "succeeded" else pytest.approx(BEGIN + DAY, abs=1))
        clock.ahead = DAY
        if status == "waiting":
            result = await flow.resume("r", durable=store, clock=clock)
        assert result.output.done == ["reminded of tea"]
        assert (await flow.replay("r", durable=store)).output == result.output

    run_virtual(check())


def test_timer_beyond_limit_on_time_is_kept() -> None:
    """A timer later than `Limits(seconds=…)` stops the run, which fires it when it is resumed."""

    async def check() -> None:
        clock, store, flow = JumpingClock(), MemoryStore(), timer_flow(100.0)
        limits = Limits(seconds=10.0, waiting=None)
        options: dict[str, Any] = {"durable": store, "clock": clock}
        with pytest.raises(RunFailed, match="limit"):
            await flow.run(Order(), run_id="r", limits=limits, **options)
        assert asyncio.get_running_loop().time() < 11.0
        result = await flow.resume("r", limits=Limits(waiting=None), **options)
        assert result.output.done == ["reminded of tea"]
        assert asyncio.get_running_loop().time() == pytest.approx(100.0, abs=1.0)

    run_virtual(check())


def test_date_in_the_past_passes_at_once() -> None:
    """A date that is over when it is reached fires at once, also if a function returns it."""
    past = datetime(1999, 1, 1, tzinfo=UTC)
    for at in (past, lambda order: past):
        result, seconds = run_timed(function_flow(at=at), jump=0.0, after=1.0)
        assert result.output.done == ["reminded of tea"]
        assert seconds < 1.0


def negative(order: Order) -> timedelta:
    return timedelta(seconds=-1)


def whole(order: Order) -> Any:
    return 5


def naive(order: Order) -> datetime:
    return datetime(2999, 1, 1)


def not_a_number(order: Order) -> timedelta:
    return timedelta(seconds=float("nan"))


def endless(order: Order) -> timedelta:
    return timedelta.max


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"after": negative}, "not a duration from now on"),
        ({"after": whole}, "not a duration from now on"),
        ({"at": naive}, "not a date with a time zone"),
        ({"after": not_a_number}, "NaN"),
        ({"after": endless}, "at most a thousand years"),
    ],
    ids=["negative", "number", "without time zone", "not a number", "endless"],
)
def test_wrong_time_is_one_clear_failure(given: dict[str, Any], message: str) -> None:
    """A function that returns no time fails its node with one message, which names it."""

    async def check() -> None:
        with pytest.raises(RunFailed) as caught:
            await function_flow(**given).run(Order(), durable=MemoryStore())
        assert message in str(caught.value)
        assert "later" in str(caught.value)

    asyncio.run(check())


HUGE: list[Callable[[], Flow[Any, Any, Any]]] = [
    lambda: function_flow(after=timedelta(days=365_000)),
    lambda: function_flow(after=lambda order: timedelta(days=365_000)),
    lambda: function_flow(at=datetime.max.replace(tzinfo=UTC)),
    lambda: function_flow(at=lambda order: datetime.max.replace(tzinfo=UTC)),
]


@pytest.mark.parametrize("build", HUGE, ids=["duration", "returned duration", "date", "returned"])
def test_huge_time_lets_run_rest(build: Callable[[], Flow[Any, Any, Any]]) -> None:
    """A time that no clock will show is a wait like any other: shown, kept, replayed, cancelled."""

    async def check() -> None:
        flow, store = build(), MemoryStore()
        result = await begin(flow, store)
        assert result.status == "waiting"
        assert result.due is not None
        assert result.due > time.time() + 1000 * DAY
        with pytest.raises(InputError, match="later"):
            print(result.output)
        assert (await flow.resume("r", durable=store)).status == "waiting"
        assert (await flow.replay("r", durable=store)).status == "waiting"
        await flow.cancel("r", durable=store)

    asyncio.run(check())


def test_huge_time_is_waited_for_without_limit() -> None:
    """A run that stays under way for a huge time does so, until it is stopped."""

    async def check() -> None:
        flow = function_flow(after=timedelta(days=365_000))
        running = flow.run(Order(), durable=MemoryStore(), limits=Limits(waiting=None))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(running, 0.2)

    asyncio.run(check())


def test_endless_wait_does_not_build() -> None:
    """A wait of more than a thousand years, which no record can hold, is a problem of the graph."""
    graph = Graph("endless", State, input=Order, output=Done)
    later = graph.timer("later", after=timedelta.max)
    ask = graph.ask("ask", question=lambda order: "?", answer=Verdict, expires=1e15)
    paid = graph.signal("paid", Payment, expires=1e15)
    with pytest.raises(GraphError) as caught:
        graph.chain(START, [later, ask, paid], remind).build()
    codes = {problem.code for problem in caught.value.problems}
    assert codes == {"TIMER_TIME", "ASK_EXPIRES", "SIGNAL_EXPIRES"}

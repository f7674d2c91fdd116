"""Estimates of flows that wait for signals, timers, and the first of several events."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from graphorch import START, Graph, agent
from graphorch.graph.estimate.estimator import worst_case
from tests.scenarios.events.shop import (
    Done,
    Order,
    Payment,
    State,
    Verdict,
    ask_to_ship,
    first_flow,
    loop_flow,
    map_flow,
    remind,
    ship,
    ship_paid,
    timer_flow,
)

DAY = 86_400.0


@agent(output=Verdict, max_tokens=100)
def think(order: Order) -> str:
    """Call a model once, or twice with a repair."""
    return order.order


def test_first_costs_its_dearest_continuation() -> None:
    """All events of a first begin, and of what follows them only the dearest counts."""
    graph = Graph("dear", State, input=Order, output=Done)
    approve = graph.ask("approve", question=ask_to_ship, answer=Verdict)
    paid = graph.signal("paid", Payment)
    later = graph.timer("later", after=timedelta(days=3))
    one, two = think.named("one"), think.named("two")
    graph.chain(START, graph.first("decided", {approve: ship, paid: one, later: remind}))
    flow = graph.chain(one, two).build()
    worst = worst_case(flow.plan)
    assert worst.calls == 4  # two agents, each with a repair
    assert worst.activations == 1 + 3 + 2
    expected = flow.estimate().expected
    assert round(expected.activations, 3) == round(1 + 3 + (1 + 2 + 1) / 3, 3)


def test_worst_case_of_first_is_a_bound() -> None:
    """No run of a first has more activations than its worst case."""

    async def check() -> None:
        flow = first_flow()
        waiting = await flow.run(Order())
        done = await flow.send(waiting.run_id, "paid", Payment(amount=3))
        assert len(done.steps) == worst_case(flow.plan).activations == 5

    asyncio.run(check())


def test_timer_adds_its_seconds() -> None:
    """A timer takes its time; a signal, a date and a computed time count as nothing."""
    assert timer_flow(90.0).estimate().worst.seconds == 90.0
    assert timer_flow(90.0).estimate().expected.seconds == 90.0
    assert map_flow().estimate().worst.seconds == 0.0
    graph = Graph("at", State, input=Order, output=Done)
    first = graph.timer("first", at=datetime(2030, 1, 1, tzinfo=UTC))
    second = graph.timer("second", after=lambda order: timedelta(hours=1))
    flow = graph.chain(START, first, second, remind).build()
    assert flow.estimate().worst.seconds == 0.0
    assert flow.estimate().is_bounded


def test_timer_bounds_its_rivals() -> None:
    """Of several events none is waited for after the shortest timer."""
    graph = Graph("short", State, input=Order, output=Done)
    paid = graph.signal("paid", Payment)
    soon = graph.timer("soon", after=timedelta(days=1))
    late = graph.timer("late", after=timedelta(days=9))
    pause = graph.timer("pause", after=timedelta(days=2))
    events = {paid: [pause], soon: remind, late: ship_paid}
    graph.chain(START, graph.first("decided", events))
    flow = graph.chain(pause, ship).build()
    assert flow.estimate().worst.seconds == 3 * DAY


def test_events_in_loops_count_each_round() -> None:
    """A signal in a loop is an activation in each round, and costs nothing."""
    worst = loop_flow(3).estimate().worst
    assert (worst.activations, worst.calls, worst.usd) == (6, 0, 0)

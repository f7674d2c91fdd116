"""Exclusive regions where they meet events, reviewed maps and compensation, in the core."""

from __future__ import annotations

import random
from typing import Any

import pytest

from graphorch.core.events import NodeSucceeded, SignalReceived, WaitBegan
from graphorch.core.tree import EventWait
from graphorch.flow.graph import Graph
from graphorch.graph.node import END, START
from graphorch.graph.plan import Plan
from graphorch.statuses import FINAL_STATUSES
from tests.core.drill import (
    Drill,
    Log,
    State,
    acting,
    graph,
    map_over,
    plan_of,
    step,
    sub,
)
from tests.core.test_exclusive import held, worker


def booking() -> Plan:
    """Return a flow of two nodes that act, the second of which is in a region."""
    made, pay = graph(), acting("pay")
    made.chain(acting("book"), pay, step("ship")).exclusive("till", [pay])
    return plan_of(made)


def trips() -> Plan:
    """Return a flow whose branches share regions, also while some of them are undone."""
    made = graph()
    trip = sub(made, "trip", booking(), compensate=True)
    each = map_over(made, "each", 3, flow=booking(), need=2, compensate=True)
    fast, merge, instead = acting("fast"), acting("merge"), acting("instead")
    made.chain(acting("fork"), [trip, each, fast], merge, step("last"))
    made.join(merge, need=2).on_error(trip, instead).chain(instead, merge)
    return plan_of(made.exclusive("road", [trip, fast, instead]))


TRIPS = trips()


# ---- events --------------------------------------------------------------------------------------
def test_wait_for_signal_holds() -> None:
    """What waits for a signal holds its region, and the run waits with what is held."""
    made = Graph("waits", State)
    paid, a = made.signal("paid", Log), step("a")
    made.chain(START, [paid, a], END).exclusive("db", [paid, a])  # pyright: ignore[reportArgumentType]
    drill = Drill(made.build().plan)
    waiting = drill.activation("paid")
    drill.jobs.remove(waiting)
    drill.tell(WaitBegan(waiting, EventWait("paid")))
    assert (drill.ends, held(drill)) == (["waiting"], ["a"])
    drill.tell(SignalReceived("paid", "", Log(log=["paid"])))
    drill.jobs.remove(waiting)
    drill.tell(NodeSucceeded(waiting, {}))
    assert drill.running == ["a"]
    assert drill.finish("a").ends == ["waiting", "succeeded"]


# ---- maps that decide after each item ------------------------------------------------------------
def test_agreement_cancels_what_is_held() -> None:
    """A map that agrees early cancels items that are held, and their region is free."""

    def is_enough(results: list[Any]) -> bool:
        return len(results) == 1

    made, b, pause = graph(), step("b"), step("pause")
    each = map_over(made, "each", 3, flow=worker(), until=is_enough)
    made.chain(step("fork"), [each, pause], END).chain(pause, b).exclusive("db", [b])
    drill = Drill(plan_of(made)).finish("fork", "pause")
    assert held(drill) == ["b", "each[1]/write", "each[2]/write"]
    drill.finish("each[0]/write")
    assert (drill.running, held(drill)) == (["b"], [])
    assert drill.finish("b").ends == ["succeeded"]


def test_grown_items_take_turns() -> None:
    """Items that a map grows wait for their region like those that it began with."""

    def grow(result: Any) -> list[Any]:
        return [State(number=9)] if result.number == 0 else []

    made = graph()
    drill = Drill(plan_of(made.chain(map_over(made, "each", 2, flow=worker(), grow=grow))))
    assert drill.running == ["each[0]/write"]
    drill.finish("each[0]/write")
    assert (drill.running, held(drill)) == (["each[1]/write"], ["each[0.0]/write"])
    drill.finish("each[1]/write")
    assert drill.running == ["each[0.0]/write"]
    assert drill.finish_all().ends == ["succeeded"]


# ---- compensation --------------------------------------------------------------------------------
def test_sub_flow_holds_while_it_is_undone() -> None:
    """A sub-flow in a region that failed holds it until all inside of it is undone."""
    made = graph()
    trip, a = sub(made, "trip", booking(), compensate=True), step("a")
    made.chain(step("fork"), [trip, a], END).on_error(trip, step("instead"))
    drill = Drill(plan_of(made.exclusive("road", [trip, a]))).finish("fork")
    drill.finish("trip/book", "trip/pay").fail("trip/ship")
    assert (drill.running, held(drill)) == (["trip/pay/undo"], ["a"])
    drill.finish("trip/pay/undo", "trip/book/undo")
    assert drill.running == ["a", "instead"]
    assert drill.finish_all().ends == ["succeeded"]


def test_undone_run_gives_no_turn() -> None:
    """What is held in a run that is undone is cancelled."""
    made = graph()
    a, b = acting("a"), acting("b")
    made.chain(acting("fork"), [a, b], END).exclusive("db", [a, b])
    drill = Drill(plan_of(made)).finish("fork").undo()
    assert (drill.running, held(drill)) == (["fork/undo"], [])
    assert drill.finish_all().ends == ["cancelled: undo it"]


@pytest.mark.parametrize("part", range(4))
def test_random_undos_never_overlap(part: int) -> None:
    """Runs that fail, stop, resume and are undone at random break no invariant, and end."""
    for seed in range(part * 25, part * 25 + 25):
        chance = random.Random(seed)
        drill = Drill(TRIPS, on_failure=chance.choice(["drain", "cancel", "isolate"]))
        for _ in range(300):
            if drill.run.status in FINAL_STATUSES:
                break
            if drill.run.status != "running":
                drill.undo() if chance.random() < 0.3 else drill.resume()
            elif chance.random() < 0.05:
                drill.stop(now=chance.random() < 0.5)
            elif chance.random() < 0.02:
                drill.undo()
            else:
                path = chance.choice(drill.running)
                drill.fail(path) if chance.random() < 0.2 else drill.finish(path)
        assert drill.run.status in FINAL_STATUSES

"""Random runs in which regions, items and whole runs are undone, stopped and resumed."""

from __future__ import annotations

import random

from graphorch.graph.plan import Plan
from graphorch.statuses import FINAL_STATUSES
from tests.core.drill import Drill, acting, graph, map_over, plan_of, step, sub


def booking(undone: list[str] | None = None) -> Plan:
    """Return a flow of two nodes that act, and one after them."""
    return plan_of(graph().chain(acting("book", undone), acting("pay", undone), step("ship")))


def mixed() -> Plan:
    made = graph()
    trip = sub(made, "trip", booking(), compensate=True)
    each = map_over(made, "each", 3, flow=booking(), need=2, compensate=True)
    merge, instead = acting("merge"), acting("instead")
    made.chain(acting("fork"), [trip, each, acting("fast")], merge, step("last"))
    made.join(merge, need=2).on_error(trip, instead).chain(instead, merge)
    return plan_of(made)


def drive_undos(seed: int) -> Drill:
    """Drive a run at random, with failures, stops and cancellations."""
    chance = random.Random(seed)
    drill = Drill(PLAN, on_failure=chance.choice(["drain", "cancel", "isolate"]))
    for _ in range(200):
        if drill.run.status in FINAL_STATUSES:
            return drill
        if drill.run.status != "running":
            drill.undo() if chance.random() < 0.5 else drill.resume()
        elif chance.random() < 0.05:
            drill.stop(now=chance.random() < 0.5)
        elif chance.random() < 0.03:
            drill.undo()
        elif drill.running:
            path = chance.choice(drill.running)
            drill.fail(path) if chance.random() < 0.2 else drill.finish(path)
    return drill


PLAN = mixed()

"""What undoing a run takes at worst: each commit once, one undo after the other in the whole run.

The undos of tools are left out, as calls of tools are: the rounds of their agent bound them.
"""

from __future__ import annotations

from graphorch.graph.estimate.amounts import Amounts, Assumed
from graphorch.graph.estimate.demand import compute_demand, no_tariff
from graphorch.graph.estimate.totals import count_rounds
from graphorch.graph.plan import Plan, Step


def compute_undo(step: Step) -> Amounts:
    """Return the most that the undo of one commit of a node needs; nothing without an undo."""
    if step.undo is None:
        return Amounts()
    return compute_demand(step.undo.steps[0].node, no_tariff, Assumed()).worst


def sum_undo_seconds(plan: Plan) -> float:
    """Return the most seconds that all undos of a run take, one after the other."""
    return _sum_seconds(plan, {})


def _sum_seconds(plan: Plan, known: dict[int, float]) -> float:
    if not plan.has_undos:
        return 0.0
    if id(plan) in known:
        return known[id(plan)]
    seconds = 0.0
    for step, most in zip(plan.steps[:-1], count_rounds(plan), strict=False):
        inside = 0.0
        if step.inner_plan is not None:
            items = step.map.max_items if step.map is not None else 1
            inside = items * _sum_seconds(step.inner_plan, known)
        seconds += most * (compute_undo(step).seconds + inside)
    known[id(plan)] = seconds
    return seconds

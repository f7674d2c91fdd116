"""Totals: amounts of a whole graph, computed from those of its nodes.

A node runs at most once per iteration of each loop around it; loops that share a header count their
iterations together, and loops inside each other multiply. Of branches of which one commit takes
only one, the most expensive counts, if it leads nowhere else: what lies below a node of the
dominator tree is only entered through that node.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from graphorch.graph.analysis import Analysis
from graphorch.graph.edges import EXCLUSIVE_KINDS, START_INDEX, Edge, Loop
from graphorch.graph.estimate.amounts import Amounts
from graphorch.graph.options import NodeBudget
from graphorch.graph.plan import Plan


def count_rounds(plan: Plan, share: float = 1.0) -> list[float]:
    """Return how often each node runs if its loops take this share of their further iterations.

    By default: how often it can run.
    """
    counts: list[float] = []
    for step in plan.steps:
        around: dict[int, list[Loop]] = defaultdict(list)
        for loop in step.inside:
            around[plan.topology.loops[loop].header].append(plan.topology.loops[loop])
        counts.append(math.prod(rounds_at(loops, share) for loops in around.values()))
    return counts


def rounds_at(loops: Iterable[Loop], share: float = 1.0) -> float:
    """Return how often the header of these loops runs per entry.

    Nested loops begin anew with each iteration of the others, which count together.
    """
    together = nested = 1.0
    for loop in loops:
        further = share * (loop.bound - 1)
        if loop.nested:
            nested *= 1 + further
        else:
            together += further
    return together * nested


def compute_chances(plan: Plan, analysis: Analysis) -> list[float]:
    """Return how likely each node is reached if all labels are equally likely and nothing fails.

    Where branches meet, their chances add up, to no more than that of the last node which all of
    them passed. Exact for branches of one route and of one fork, otherwise an upper bound. All
    events of a first are reached, and what follows each of them is equally likely.
    """
    chances = [0.0] * (len(plan.steps) + 1)  # START is the last entry
    chances[START_INDEX] = 1.0
    for node in analysis.order:  # sources come before their targets
        if node != START_INDEX:
            chances[node] = min(chances[node], chances[analysis.dominator[node]])
        choices = usual_choices(analysis, node)
        ways = 1 if _is_first(plan, node) else len(choices) * _count_rivals(plan, node)
        for choice in choices:
            for edge in choice:
                chances[edge.target] += chances[node] / ways
    return chances


def _is_first(plan: Plan, node: int) -> bool:
    return 0 <= node < plan.end and plan.steps[node].node.kind == "first"


def _count_rivals(plan: Plan, node: int) -> int:
    """Return of how many events the first counts, this node included; 1 for any other node."""
    return 1 + len(plan.steps[node].rivals) if 0 <= node < plan.end else 1


def usual_choices(analysis: Analysis, node: int) -> list[tuple[Edge, ...]]:
    """Return the choices of a node without failures and ways back."""
    return [choice for choice in analysis.choices[node] if choice[0].kind not in EXCLUSIVE_KINDS]


def compute_total(plan: Plan, analysis: Analysis, costs: Mapping[int, Amounts]) -> Amounts:
    """Return the cost of everything below START in the dominator tree, from the leaves up."""
    below: dict[int, list[int]] = defaultdict(list)
    for node in analysis.order:
        if node in costs:
            below[_holder(plan, analysis, node)].append(node)
    totals: dict[int, Amounts] = {}
    for node in reversed(analysis.order):
        branches = _sum_branches(plan, analysis, node, below[node], totals)
        totals[node] = _cost_at(plan, node, costs) + branches
    return totals[START_INDEX]


def _cost_at(plan: Plan, node: int, costs: Mapping[int, Amounts]) -> Amounts:
    """Return what a node costs; that of events of which the first counts is part of the first.

    All of them begin, but only what follows one of them runs.
    """
    if _count_rivals(plan, node) > 1:
        return Amounts()
    cost = costs.get(node, Amounts())
    if _is_first(plan, node):
        for edge in plan.topology.leaving[node]:
            cost += costs.get(edge.target, Amounts())
    return cost


def _holder(plan: Plan, analysis: Analysis, node: int) -> int:
    """Return the nearest dominator that is not in a loop that the node is not in.

    A node after a loop runs in addition to the branches that the iterations chose, so no branch
    inside the loop may count it as its own.
    """
    holder = analysis.dominator[node]
    while holder >= 0 and not plan.steps[holder].inside <= plan.steps[node].inside:
        holder = analysis.dominator[holder]
    return holder


def _sum_branches(
    plan: Plan,
    analysis: Analysis,
    node: int,
    children: Sequence[int],
    totals: Mapping[int, Amounts],
) -> Amounts:
    """Return the cost of a node's branches: of exclusive ones only the most expensive."""
    # A child that other nodes lead to as well counts in any case, since a run may go both ways.
    always = Amounts()
    choosing: dict[int, Amounts] = {}
    for child in children:
        if all(edge.source == node for edge in analysis.before(child)):
            choosing[child] = totals[child]
        else:
            always += totals[child]
    dearest = Amounts()
    for choice in _full_choices(plan, analysis, node):
        dearest = dearest.or_more(_sum(choice, choosing))
    return always + dearest


def _full_choices(plan: Plan, analysis: Analysis, node: int) -> list[tuple[Edge, ...]]:
    """Return the choices of a node; a route that returns several labels may take all its edges."""
    choices = analysis.choices[node]
    if node not in plan.topology.multi_routes:
        return choices
    alone = [choice for choice in choices if len(choice) == 1]
    return [tuple(plan.topology.forward_edges(node)), *alone]


def _sum(choice: Sequence[Edge], choosing: Mapping[int, Amounts]) -> Amounts:
    total = Amounts()
    for target in {edge.target for edge in choice}:
        total += choosing.get(target, Amounts())
    return total


# ---- budgets -------------------------------------------------------------------------------------
def cap_amounts(budget: NodeBudget | None, amounts: Amounts) -> Amounts:
    """Limit amounts to a budget: under a cap in dollars, no call is made that might exceed it."""
    if budget is None or budget.usd is None:
        return amounts
    return replace(amounts, usd=min(amounts.usd, budget.usd))


def cap_total(plan: Plan, total: Amounts, costs: Mapping[int, Amounts]) -> Amounts:
    """Return the total, with nodes that share a budget counted no higher than that budget."""
    pools: dict[str, Amounts] = defaultdict(Amounts)
    caps: dict[str, NodeBudget] = {}
    free = 0.0
    for index, cost in costs.items():
        budget = plan.steps[index].node.options.budget
        if budget is None or budget.usd is None:
            free += cost.usd
        else:
            pools[budget.name] += cost
            caps[budget.name] = budget
    usd = free + sum(cap_amounts(caps[name], pool).usd for name, pool in pools.items())
    return replace(total, usd=min(total.usd, usd))

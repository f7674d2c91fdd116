"""The worst case of a flow before it runs: how many activations and model calls its structure allows.

A sound upper bound, not a prediction. A node runs at most once per iteration of each loop around it; loops that share a header count
their rounds together, and loops inside each other multiply. Of branches of which one commit takes only one, the dearest counts, if it
leads nowhere else: what a node of the dominator tree holds is only entered through that node.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from graphorch.graph.analysis import Analysis
from graphorch.graph.node import Node
from graphorch.graph.plan import Plan, Step
from graphorch.graph.shape import START_INDEX, Edge


@dataclass(frozen=True, slots=True)
class Worst:
    """The most that one run can do. `calls` is None if some node talks to models itself, so that nobody can say how often.

    `by_node` gives the activations of every node by path, those inside maps and sub-flows included; nodes of exclusive branches are all
    listed, so it may add up to more than `activations`.
    """

    activations: int
    calls: int | None
    by_node: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True)
class _Cost:
    activations: int = 0
    calls: float = 0  # infinity: unknown

    def __add__(self, other: _Cost) -> _Cost:
        return _Cost(self.activations + other.activations, self.calls + other.calls)

    def times(self, count: int) -> _Cost:
        return _Cost(self.activations * count, self.calls * count if self.calls else 0)


UNKNOWN = float("inf")


def worst_case(plan: Plan) -> Worst:
    """The worst case of a whole flow, retries, hedges, maps and sub-flows included."""
    analysis = Analysis(plan.shape)
    visits = _visits(plan)
    by_node: dict[str, int] = {}
    costs: dict[int, _Cost] = {}
    for step in plan.steps[:-1]:
        times = visits[step.index]
        by_node[step.name] = times
        inner, paths = _inside(step)
        by_node |= {f"{step.name}/{path}": count * times for path, count in paths.items()}
        costs[step.index] = (_Cost(1, 0 if step.inner_plan is not None else _calls(step.node)) + inner).times(times)
    total = _total(plan, analysis, costs)
    return Worst(total.activations, None if total.calls == UNKNOWN else int(total.calls), by_node)


def _visits(plan: Plan) -> list[int]:
    """How often each node can run: the rounds of the loops around it, multiplied."""
    found: list[int] = []
    for step in plan.steps:
        rounds: dict[int, int] = defaultdict(lambda: 1)
        for loop in step.inside:
            rounds[plan.shape.loops[loop].header] += plan.shape.loops[loop].bound - 1
        times = 1
        for count in rounds.values():
            times *= count
        found.append(times)
    return found


def _calls(node: Node[Any]) -> float:
    """The calls of one activation: an agent asks once per attempt, and a function with a context as often as it likes."""
    if node.kind != "agent":
        return UNKNOWN if node.signature.has_context else 0
    attempts = node.options.retry.attempts if node.options.retry is not None else 1
    return attempts * (2 if node.options.hedge_after is not None else 1)


def _inside(step: Step) -> tuple[_Cost, Mapping[str, int]]:
    """What one activation of a map or sub-flow does inside."""
    if step.inner_plan is None:
        return _Cost(), {}
    worst = worst_case(step.inner_plan)
    times = step.map.max_items if step.map is not None else 1
    cost = _Cost(worst.activations, UNKNOWN if worst.calls is None else worst.calls).times(times)
    return cost, {path: count * times for path, count in worst.by_node.items()}


def _total(plan: Plan, analysis: Analysis, costs: Mapping[int, _Cost]) -> _Cost:
    """The cost of everything below START in the dominator tree, from the leaves up."""
    below: dict[int, list[int]] = defaultdict(list)
    for node in analysis.order:
        if node in costs:
            below[_holder(plan, analysis, node)].append(node)
    totals: dict[int, _Cost] = {}
    for node in reversed(analysis.order):
        totals[node] = costs.get(node, _Cost()) + _branches(plan, analysis, node, below[node], totals)
    return totals[START_INDEX]


def _holder(plan: Plan, analysis: Analysis, node: int) -> int:
    """The nearest dominator that is in no loop that the node is not in.

    A node after a loop runs beside what was chosen in the rounds of the loop, so no branch inside may count it as its own.
    """
    holder = analysis.dominator[node]
    while holder >= 0 and not plan.steps[holder].inside <= plan.steps[node].inside:
        holder = analysis.dominator[holder]
    return holder


def _branches(plan: Plan, analysis: Analysis, node: int, children: Sequence[int], totals: Mapping[int, _Cost]) -> _Cost:
    """What a node's branches cost: of those that exclude each other the dearest, of everything else the sum."""
    always = _Cost()
    choosing: dict[int, _Cost] = {}
    for child in children:
        if all(edge.source == node for edge in analysis.before(child)):
            choosing[child] = totals[child]
        else:
            always += totals[child]
    options = [_sum(choice, choosing) for choice in _full_choices(plan, analysis, node)] or [_Cost()]
    return always + _Cost(max(one.activations for one in options), max(one.calls for one in options))


def _full_choices(plan: Plan, analysis: Analysis, node: int) -> list[tuple[Edge, ...]]:
    """The choices of a node; a multi-choice route may take all its edges."""
    route = plan.shape.routes.get(node)
    alone = [choice for choice in analysis.choices[node] if len(choice) == 1]
    return [tuple(plan.shape.forward(node)), *alone] if route is not None and route.many else analysis.choices[node]


def _sum(choice: Sequence[Edge], choosing: Mapping[int, _Cost]) -> _Cost:
    total = _Cost()
    for target in {edge.target for edge in choice}:
        total += choosing.get(target, _Cost())
    return total

"""Estimate of a flow before it runs: the most that one run can do, and what a usual one does.

The worst case is a sound upper bound: no run does more, whatever models answer. It is the sum over
the graph, with the most expensive of branches that exclude each other, the bounds of loops and the
sizes of maps multiplied, and every retry, hedge, repair and round of tools counted. Where nothing
bounds a figure it is `inf`, and a `Gap` says why. The expected case is not a bound but a guess by
the rules of `Assumed`.

    demand.py    one activation of one node
    totals.py    the whole graph
    duration.py  the seconds on the longest path
    limits.py    the seconds that limits of nodes, runs and endpoints add
    undos.py     the undos that follow at worst
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from graphorch.errors import InputError
from graphorch.graph.analysis import Analysis
from graphorch.graph.estimate.amounts import Amounts, Assumed, Gap, Tariff
from graphorch.graph.estimate.demand import Demand, compute_demand, no_tariff
from graphorch.graph.estimate.duration import compute_expected_seconds, worst_seconds
from graphorch.graph.estimate.limits import Pace, Row, limit_expected, limit_worst, no_pace
from graphorch.graph.estimate.totals import (
    cap_amounts,
    cap_total,
    compute_chances,
    compute_total,
    count_rounds,
)
from graphorch.graph.estimate.undos import compute_undo, sum_undo_seconds
from graphorch.graph.plan import Plan, Step


@dataclass(frozen=True, slots=True)
class NodeEstimate:
    """All activations of one node together, with what runs inside it.

    Nodes in maps and sub-flows have paths. Seconds are those of all activations one after another.
    """

    path: str
    kind: str
    model: str
    worst: Amounts
    expected: Amounts


@dataclass(frozen=True, slots=True)
class Estimate:
    """Amounts of one run at most (`worst`) and usually (`expected`); `nodes` are all nodes by path.

    Seconds are those of the critical path, longer where limits of concurrency let less run at once:
    model calls, timeouts and pauses. At worst all undos follow, one after the other. A function
    without a timeout counts as instantaneous, and the time of people, as for a run's deadline, does
    not count. `gaps` lists what is unbounded or unknown, and why.
    """

    flow: str
    worst: Amounts
    expected: Amounts
    nodes: tuple[NodeEstimate, ...]
    gaps: tuple[Gap, ...]
    assumed: Assumed

    @property
    def is_bounded(self) -> bool:
        """Return whether every figure of the worst case is known."""
        return all(math.isfinite(value) for value in self.worst.values())


@dataclass(frozen=True, slots=True)
class Worst:
    """Most activations and model calls of one run.

    `calls` is None if some node calls models itself, without a known bound. `by_node` gives the
    activations of every node by path, those inside maps and sub-flows included; nodes of exclusive
    branches are all listed, so it may add up to more than `activations`.
    """

    activations: int
    calls: int | None
    by_node: Mapping[str, int] = field(default_factory=dict[str, int])


def worst_case(plan: Plan) -> Worst:
    """Return the part of the estimate that needs neither prices nor assumptions."""
    whole = estimate(plan)
    calls = None if math.isinf(whole.worst.calls) else int(whole.worst.calls)
    by_node = {node.path: int(node.worst.activations) for node in whole.nodes}
    return Worst(int(whole.worst.activations), calls, by_node)


def estimate(
    plan: Plan,
    *,
    tariff: Tariff = no_tariff,
    assumed: Assumed | None = None,
    model: str = "",
    concurrency: int | None = None,
    pace: Pace = no_pace,
) -> Estimate:
    """Return the estimate of a whole flow.

    `tariff` prices the calls of a model, and `pace` limits them; `model` replaces the model of
    every agent. `concurrency` is how many nodes of the run may run at once.
    """
    if assumed is not None and not isinstance(assumed, Assumed):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InputError(
            f"assumed={assumed!r:.80} is not possible. Write assumed=Assumed(share=0.5)."
        )
    whole = _Estimator(tariff, assumed or Assumed(), model).estimate(plan)
    most = [Row(row.path, row.kind, row.model, row.worst) for row in whole.nodes]
    most = [row for row in most if row.kind != "undo"]
    usual = [Row(row.path, row.kind, row.model, row.expected) for row in whole.nodes]
    longest, usually = whole.worst.seconds, whole.expected.seconds
    return replace(
        whole,
        worst=replace(
            whole.worst,
            seconds=limit_worst(plan, most, longest, concurrency) + sum_undo_seconds(plan),
        ),
        expected=replace(
            whole.expected, seconds=limit_expected(plan, usual, usually, concurrency, pace)
        ),
    )


@dataclass(frozen=True, slots=True)
class _Estimator:
    tariff: Tariff
    assumed: Assumed
    model: str

    def estimate(self, plan: Plan) -> Estimate:
        """Return the estimate of a plan, and of those inside it."""
        analysis = Analysis(plan.topology)
        share = self.assumed.share
        # 1. How often each node runs, at most and usually.
        rounds, usual_rounds = count_rounds(plan), count_rounds(plan, share)
        chances = compute_chances(plan, analysis)
        # 2. Multiply it by what one activation needs.
        worst: dict[int, Amounts] = {}
        worst_waits: dict[int, float] = {}
        expected = Amounts()
        waits: dict[int, float] = {}
        nodes: list[NodeEstimate] = []
        gaps: list[Gap] = []
        for step in plan.steps[:-1]:
            at, budget = step.index, step.node.options.budget
            item = self._estimate_step(step)
            most, usual = rounds[at], chances[at] * usual_rounds[at]
            worst[at] = cap_amounts(budget, item.whole.worst.times(most))
            worst_waits[at] = item.whole.worst.seconds
            expected += item.whole.expected.times(usual)
            waits[at] = item.whole.expected.seconds
            for node in item.nodes:
                row = _multiply(node, most, usual)
                nodes.append(replace(row, worst=cap_amounts(budget, row.worst)))
            gaps += item.gaps
        # 3. Add up amounts over the graph; nodes that run at once share their seconds.
        total = cap_total(plan, compute_total(plan, analysis, worst), worst)
        worst_time = worst_seconds(plan, worst_waits)
        expected_time = compute_expected_seconds(plan, analysis, waits, share)
        return Estimate(
            flow=plan.name,
            worst=replace(total, seconds=worst_time),
            expected=replace(expected, seconds=expected_time),
            nodes=tuple(nodes),
            gaps=tuple(gaps),
            assumed=self.assumed,
        )

    def _estimate_step(self, step: Step) -> _StepEstimate:
        """Return what one activation of a node does, all that runs inside it included."""
        own = compute_demand(step.node, self.tariff, self.assumed, self.model)
        gaps = tuple(replace(gap, path=step.name) for gap in own.gaps)
        row = NodeEstimate(step.name, step.node.kind, own.model, own.worst, own.expected)
        if step.undo is not None:
            undo = NodeEstimate(f"{step.name}/undo", "undo", "", compute_undo(step), Amounts())
            own = replace(own, worst=own.worst + Amounts(activations=1))
            return self._add_flow_tools(step, _StepEstimate(own, (row, undo), gaps))
        if step.inner_plan is None:
            return self._add_flow_tools(step, _StepEstimate(own, (row,), gaps))
        inner = self.estimate(step.inner_plan)
        most, usual, most_waits, usual_waits = self._count_items(step)
        # A retry goes on inside, with what failed there.
        retry = step.node.options.retry
        if retry is not None:
            most, most_waits = most * retry.attempts, most_waits * retry.attempts
        worst = own.worst + inner.worst.times(most)
        worst_wait = Amounts(seconds=inner.worst.seconds).times(most_waits).seconds
        expected = own.expected + inner.expected.times(usual)
        expected_wait = inner.expected.seconds * usual_waits
        whole = Demand(
            # The pauses between attempts of the map or sub-flow itself count as well.
            worst=replace(worst, seconds=worst_wait + own.worst.seconds),
            expected=replace(expected, seconds=expected_wait),
        )
        rows = [row]
        for node in inner.nodes:
            multiple = _multiply(node, most, usual)
            rows.append(replace(multiple, path=f"{step.name}/{node.path}"))
        inner_gaps = (replace(gap, path=f"{step.name}/{gap.path}") for gap in inner.gaps)
        return _StepEstimate(whole, tuple(rows), (*gaps, *inner_gaps))

    def _add_flow_tools(self, step: Step, agent: _StepEstimate) -> _StepEstimate:
        """Add to an agent what flows do that its model may call, one after the other at worst."""
        for tool in getattr(step.node.fn, "tools", ()):
            if getattr(tool, "sub", None) is None:
                continue
            most, path = tool.max_calls, f"{step.name}/{tool.name}"
            usual = math.ceil(self.assumed.share * most)
            inner = self.estimate(tool.sub.flow)
            whole = Demand(
                worst=agent.whole.worst + inner.worst.times(most),
                expected=agent.whole.expected + inner.expected.times(usual),
            )
            nodes = [
                replace(_multiply(node, most, usual), path=f"{path}/{node.path}")
                for node in inner.nodes
            ]
            gaps = [replace(gap, path=f"{path}/{gap.path}") for gap in inner.gaps]
            agent = _StepEstimate(whole, (*agent.nodes, *nodes), (*agent.gaps, *gaps))
        return agent

    def _count_items(self, step: Step) -> tuple[int, int, int, int]:
        """Return how often the inner flow runs, at most and usually; and how often in sequence."""
        if step.map is None:
            return 1, 1, 1, 1
        most = step.map.max_items
        usual = math.ceil(self.assumed.share * most)
        at_once = step.map.concurrency
        worker = step.map.worker
        if worker is not None and worker.options.concurrency is not None:
            at_once = min(at_once, worker.options.concurrency)
        return most, usual, math.ceil(most / at_once), math.ceil(usual / at_once)


@dataclass(frozen=True, slots=True)
class _StepEstimate:
    """One activation of a node, with all that runs inside it."""

    whole: Demand
    nodes: tuple[NodeEstimate, ...]
    gaps: tuple[Gap, ...]


def _multiply(node: NodeEstimate, most: float, usual: float) -> NodeEstimate:
    return replace(node, worst=node.worst.times(most), expected=node.expected.times(usual))

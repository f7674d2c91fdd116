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
from typing import TypeAlias

from graphorch.errors import InputError
from graphorch.graph.analysis import Analysis
from graphorch.graph.estimate.amounts import Amounts, Assumed, Gap, Tariff
from graphorch.graph.estimate.demand import compute_demand, no_tariff
from graphorch.graph.estimate.duration import (
    compute_expected_seconds,
    compute_longest_wait,
    compute_wait,
    worst_seconds,
)
from graphorch.graph.estimate.limits import Pace, Row, limit_expected, limit_worst, no_pace
from graphorch.graph.estimate.totals import (
    cap_amounts,
    cap_total,
    compute_chances,
    compute_total,
    count_rounds,
)
from graphorch.graph.estimate.undos import compute_tool_undos, compute_undo, sum_undo_seconds
from graphorch.graph.plan import Plan, Step

_MANY = 1_000  # nodes, those of sub-flows as often as they occur


@dataclass(frozen=True, slots=True)
class NodeEstimate:
    """All activations of one node together, with what runs inside it.

    Nodes in maps and sub-flows have paths. Seconds are those of all activations one after another.
    A node of a flow that runs itself stands for all levels. In a flow of more than 1,000 nodes, a
    node of a sub-flow that is used in several places stands for all of them, by its first path.
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
    model calls, timeouts, pauses, and timers with a fixed duration. At worst all undos follow, one
    after the other. A function without a timeout counts as instantaneous. The time until a person
    answers or a signal comes is not known and does not count, nor that of a timer whose time is
    computed. `gaps` lists what is unbounded or unknown, and why.
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
    assumed = assumed or Assumed()
    whole = _Estimator(tariff, assumed, model, plan.size > _MANY).estimate(plan)
    rows = list(whole.rows.values())
    working = [row for row in rows if row.kind != "undo"]
    longest, usually = whole.worst.seconds, whole.expected.seconds
    most = limit_worst(working, longest, concurrency) + sum_undo_seconds(plan)
    usual = limit_expected(rows, usually, concurrency, pace)
    return Estimate(
        flow=plan.name,
        worst=replace(whole.worst, seconds=most),
        expected=replace(whole.expected, seconds=usual),
        nodes=tuple(
            NodeEstimate(row.path, row.kind, row.model, row.worst, row.expected) for row in rows
        ),
        gaps=tuple(whole.gaps.values()),
        assumed=assumed,
    )


# ---- flows, each once ----------------------------------------------------------------------------
_Key: TypeAlias = tuple[object, ...]
"""A node: its number in its graph, after those of the nodes around it where these have own rows."""


@dataclass(frozen=True, slots=True)
class _Inside:
    """All that one activation of a node does, or one run of a flow: in all, and by node."""

    worst: Amounts
    expected: Amounts
    rows: Mapping[_Key, Row]
    gaps: Mapping[_Key, Gap]


@dataclass(frozen=True, slots=True)
class _Estimator:
    tariff: Tariff
    assumed: Assumed
    model: str
    shares_rows: bool  # a flow that is used in several places has one row for each of its nodes
    known: dict[int, _Inside] = field(default_factory=dict[int, _Inside])

    def estimate(self, plan: Plan) -> _Inside:
        """Return the estimate of a plan, and of those inside it."""
        if id(plan) not in self.known:
            self.known[id(plan)] = self._estimate(plan)
        return self.known[id(plan)]

    def _estimate(self, plan: Plan) -> _Inside:
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
        rows: dict[_Key, Row] = {}
        gaps: dict[_Key, Gap] = {}
        # What a flow does inside of itself is added to the rows that it has.
        for step in sorted(plan.steps[:-1], key=lambda step: step.max_depth > 0):
            at, budget = step.index, step.node.options.budget
            item = self._estimate_step(plan, step)
            most, usual = rounds[at], chances[at] * usual_rounds[at]
            worst[at] = cap_amounts(budget, item.worst.times(most))
            worst_waits[at] = item.worst.seconds + compute_longest_wait(plan, step)
            expected += item.expected.times(usual)
            waits[at] = item.expected.seconds + compute_wait(step)
            for key, each in item.rows.items():
                row = each.times(most, usual)
                row = replace(row, worst=cap_amounts(budget, row.worst))
                rows[key] = rows[key] + row if key in rows else row
            for key, gap in item.gaps.items():
                gaps.setdefault(key, gap)
        # 3. Add up amounts over the graph; nodes that run at once share their seconds.
        total = cap_total(plan, compute_total(plan, analysis, worst), worst)
        worst_time = worst_seconds(plan, worst_waits)
        expected_time = compute_expected_seconds(plan, analysis, waits, share)
        return _Inside(
            worst=replace(total, seconds=worst_time),
            expected=replace(expected, seconds=expected_time),
            rows=rows,
            gaps=gaps,
        )

    def _estimate_step(self, plan: Plan, step: Step) -> _Inside:
        """Return what one activation of a node does, all that runs inside it included."""
        own = compute_demand(step.node, self.tariff, self.assumed, self.model)
        deadline = step.node.options.deadline if step.inner_plan is not None else None
        if deadline is not None:
            own = replace(own, worst=replace(own.worst, seconds=0.0))  # those are inside
        key: _Key = (id(plan.topology), step.index)
        options = step.node.options
        rows: dict[_Key, Row] = {
            key: Row(
                step.name,
                step.node.kind,
                own.model,
                own.worst,
                own.expected,
                options.concurrency,
                regions=frozenset(step.exclusive),
                held=frozenset(step.exclusive),
            )
        }
        gaps: dict[_Key, Gap] = {
            (*key, gap.figure): replace(gap, path=step.name) for gap in own.gaps
        }
        if step.undo is not None:
            rows[*key, "undo"] = Row(f"{step.name}/undo", "undo", "", compute_undo(step), Amounts())
            own = replace(own, worst=own.worst + Amounts(activations=1))
        for tool, undos in compute_tool_undos(step).items():
            name = f"{step.name}/{tool}/undo"
            rows[*key, tool, "undo"] = Row(name, "undo", "", undos, Amounts())
            own = replace(own, worst=own.worst + Amounts(activations=undos.activations))
        if step.inner_plan is None:
            return self._add_flow_tools(key, step, _Inside(own.worst, own.expected, rows, gaps))
        inner = self.estimate(step.inner_plan)
        most, usual, most_waits, usual_waits = self._count_items(step)
        # A retry goes on inside, with what failed there.
        retry = options.retry
        if retry is not None:
            most, most_waits = most * retry.attempts, most_waits * retry.attempts
        worst = own.worst + inner.worst.times(most)
        # The pauses between attempts of the map or sub-flow itself count as well.
        worst_wait = Amounts(seconds=inner.worst.seconds).times(most_waits).seconds
        worst_wait += own.worst.seconds
        expected = own.expected + inner.expected.times(usual)
        expected_wait = inner.expected.seconds * usual_waits
        width = _count_flows_at_once(step)
        # The nodes of a flow inside itself are those around it, at every level.
        around = () if self.shares_rows or step.max_depth else key
        for inner_key, row in inner.rows.items():
            at: _Key = (*around, *inner_key)
            inside = row.times(most, usual).under(step.name, width, step.exclusive)
            rows[at] = rows[at] + inside if at in rows else inside
        if deadline is not None:
            # What is not done by then is stopped.
            worst_wait, expected_wait = min(worst_wait, deadline), min(expected_wait, deadline)
        for inner_key, gap in inner.gaps.items():
            if deadline is not None and gap.figure == "seconds":
                continue
            gaps[*around, *inner_key] = replace(gap, path=f"{step.name}/{gap.path}")
        return _Inside(
            worst=replace(worst, seconds=worst_wait),
            expected=replace(expected, seconds=expected_wait),
            rows=rows,
            gaps=gaps,
        )

    def _add_flow_tools(self, key: _Key, step: Step, agent: _Inside) -> _Inside:
        """Add to an agent what flows do that its model may call, one after the other at worst."""
        for tool in getattr(step.node.fn, "tools", ()):
            if getattr(tool, "sub", None) is None:
                continue
            most, path = tool.max_calls, f"{step.name}/{tool.name}"
            usual = math.ceil(self.assumed.share * most)
            inner = self.estimate(tool.sub.flow)
            rows = {
                # The limits of its nodes are not counted.
                (*key, tool.name, *inner_key): replace(
                    row.times(most, usual).under(path, held=step.exclusive),
                    limit=None,
                    regions=frozenset[str](),
                )
                for inner_key, row in inner.rows.items()
            }
            gaps = {
                (*key, tool.name, *inner_key): replace(gap, path=f"{path}/{gap.path}")
                for inner_key, gap in inner.gaps.items()
            }
            agent = _Inside(
                worst=agent.worst + inner.worst.times(most),
                expected=agent.expected + inner.expected.times(usual),
                rows={**agent.rows, **rows},
                gaps={**agent.gaps, **gaps},
            )
        return agent

    def _count_items(self, step: Step) -> tuple[int, int, int, int]:
        """Return how often the inner flow runs, at most and usually; and how often in sequence."""
        if step.map is None:
            return 1, 1, 1, 1
        most = step.map.max_items
        usual = math.ceil(self.assumed.share * most)
        at_once = step.map.usual_concurrency
        worker = step.map.worker
        if worker is not None and worker.options.concurrency is not None:
            at_once = min(at_once, worker.options.concurrency)
        # At worst each item is grown by the one before it, and waits for that.
        in_sequence = most if step.map.grow is not None else math.ceil(most / at_once)
        return most, usual, in_sequence, math.ceil(usual / at_once)


def _count_flows_at_once(step: Step) -> int:
    """Return how many flows run at once inside of a node.

    A map of one worker counts with the limit of its own worker; several such maps share it.
    """
    if step.map is None or step.map.worker is not None:
        return 1
    return min(step.map.usual_concurrency, step.map.max_items)

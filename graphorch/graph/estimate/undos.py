"""What undoing a run takes at worst: each commit once, one undo after the other in the whole run.

A call of a tool is a commit as well: an agent makes as many as its rounds and `max_calls` allow.
"""

from __future__ import annotations

from typing import Any

from graphorch.graph.estimate.amounts import Amounts, Assumed
from graphorch.graph.estimate.demand import compute_demand, no_tariff
from graphorch.graph.estimate.totals import count_rounds
from graphorch.graph.node import Node
from graphorch.graph.plan import Plan, Step


def compute_undo(step: Step) -> Amounts:
    """Return the most that the undo of one commit of a node needs; nothing without an undo."""
    if step.undo is None:
        return Amounts()
    return compute_demand(step.undo.steps[0].node, no_tariff, Assumed()).worst


def compute_tool_undos(step: Step) -> dict[str, Amounts]:
    """Return the most that undoing the calls of each tool needs after one activation of an agent.

    Tools without an undo, and those that are flows, are left out.
    """
    undos: dict[str, Amounts] = {}
    for tool in _list_tools(step.node):
        undo: Node[Any] | None = tool.node.options.undo
        if undo is not None:
            demand = compute_demand(undo, no_tariff, Assumed()).worst
            undos[tool.name] = demand.times(_count_calls(step.node, tool))
    return undos


def _list_tools(node: Node[Any]) -> list[Any]:
    """Return the tools of an agent whose functions are known: not those of servers."""
    tools = getattr(node.fn, "tools", ()) if node.kind == "agent" else ()
    return [tool for tool in tools if isinstance(getattr(tool, "node", None), Node)]


def _count_calls(node: Node[Any], tool: Any) -> int:
    """Return how often an activation of an agent calls a tool, at most."""
    most: int = getattr(node.fn, "most_tool_calls", 1)
    return most if tool.settings.max_calls is None else min(most, tool.settings.max_calls)


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
        own = compute_undo(step).seconds
        own += sum(undos.seconds for undos in compute_tool_undos(step).values())
        own += _sum_in_flow_tools(step, known)
        seconds += most * (own + inside)
    known[id(plan)] = seconds
    return seconds


def _sum_in_flow_tools(step: Step, known: dict[int, float]) -> float:
    """Return the seconds that undoing the flows takes which an agent may call as tools."""
    flows = [tool for tool in _list_tools(step.node) if getattr(tool, "sub", None) is not None]
    return sum(_count_calls(step.node, tool) * _sum_seconds(tool.sub.flow, known) for tool in flows)

"""Where a node is in a graph, in numbers that mean the same on every machine with that graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from graphorch.core.tree import Activation, ToolScope
from graphorch.engine.tool_calls.call_plans import find_tool_of
from graphorch.graph.plan import Plan, Step

Place: TypeAlias = list[int | str]
"""Numbers of the nodes on the way inside; a call of a tool is its name and number, `search#0`."""


def find_place(activation: Activation) -> Place:
    """Return the place of the node of an activation."""
    place: Place = []
    inner: Activation | None = activation
    while inner is not None:
        is_call = isinstance(inner.scope, ToolScope)
        place.append(inner.step.name if is_call else inner.step.index)
        inner = inner.scope.parent
    place.reverse()
    return place


def find_step(plan: Plan, place: Sequence[int | str]) -> Step | None:
    """Return the node at a place of a graph; None if there is none."""
    step: Step | None = None
    inside: Plan | None = plan
    for part in place:
        if isinstance(part, str):
            step = None if step is None else _find_call(step, part)
        else:
            step = _find_numbered(inside, part)
        if step is None:
            return None
        inside = step.inner_plan
    return step


def _find_numbered(plan: Plan | None, index: int) -> Step | None:
    return plan.steps[index] if plan is not None and 0 <= index < plan.end else None


def _find_call(agent: Step, call: str) -> Step | None:
    """Return the step of a call such as `search#0`; None if the agent has no such tool."""
    name, mark, index = call.rpartition("#")
    tool = find_tool_of(agent, name)
    if tool is None or not mark or not index.isdecimal():
        return None
    return tool.compile(int(index)).steps[0]

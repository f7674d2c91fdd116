"""Where what stands in for an activation is kept: by path; for a tool call, by what is called.

A node that runs again visits its path again. A model that is asked again may call other tools, or
the same ones in another order: an equal call is one of the same agent, tool and arguments.
"""

from __future__ import annotations

from graphorch.agents.tool_arguments import write_canonical
from graphorch.core.tree import Activation, ToolScope
from graphorch.engine.tool_calls.call_plans import build_plan, read_arguments
from graphorch.graph.plan import Plan


def find_place(activation: Activation) -> str:
    """Return where what is pinned for an activation is kept: `pay`, or `write/send({"to":"b"})`."""
    scope = activation.scope
    if not isinstance(scope, ToolScope):
        return activation.path
    version = activation.version or scope.output
    agent = scope.parent
    assert agent is not None
    arguments = write_canonical(read_arguments(scope, version))
    return f"{agent.path}/{scope.call.tool}({arguments})"


def find_pinned_plan(place: str) -> Plan | None:
    """Return the plan that what is pinned for a tool call belongs to; None for any other place."""
    path, mark, _ = place.partition("(")
    return build_plan(path.rpartition("/")[2], 0, "pure") if mark else None

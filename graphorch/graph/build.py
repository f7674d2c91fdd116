"""Build a graph: number it, check it, compile it."""

from __future__ import annotations

from dataclasses import replace

from graphorch.errors import GraphError
from graphorch.graph.checks import check
from graphorch.graph.compiler import compile_plan
from graphorch.graph.plan import Plan
from graphorch.graph.spec import GraphSpec
from graphorch.graph.topology import build_topology


def build_plan(spec: GraphSpec) -> Plan:
    """Return the plan of a graph; its `problems` are the warnings of the checks.

    Raises one `GraphError` with all problems of a graph that does not build.
    """
    topology = build_topology(spec)
    checked = check(spec, topology)
    if checked.problems:
        raise GraphError(spec.name, checked.problems)
    plan = compile_plan(spec, topology, checked.regions)
    return replace(plan, problems=checked.warnings)

"""Build a graph: number it, check it, compile it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from graphorch.errors import GraphError, Problem
from graphorch.graph.checks import check
from graphorch.graph.compiler import compile_plan
from graphorch.graph.plan import Plan
from graphorch.graph.spec import FallbackSpec, GraphSpec
from graphorch.graph.topology import build_topology


def build_plan(spec: GraphSpec) -> Plan:
    """Return the plan of a graph; its `problems` are the warnings of the checks.

    Raises one `GraphError` with all problems of a graph that does not build.
    """
    topology = build_topology(spec)
    checked = check(spec, topology)
    if checked.problems and spec.fallbacks:
        spec = _keep_fitting_fallbacks(spec)
        topology = build_topology(spec)
        checked = check(spec, topology)
    if checked.problems:
        raise GraphError(spec.name, checked.problems)
    plan = compile_plan(spec, topology, checked.regions)
    return replace(plan, problems=checked.warnings, marked=checked.marked)


def _keep_fitting_fallbacks(spec: GraphSpec) -> GraphSpec:
    """Return the graph with those fallbacks that bring no problem, and a warning for the others.

    If the graph has problems without any of them, they are not the cause, and all of them stay.
    """
    kept = _without_fallbacks(spec, spec.fallbacks)
    if check(kept, build_topology(kept)).problems:
        return spec
    left_out, causes = list(spec.fallbacks), list[Problem]()
    for fallback in spec.fallbacks:
        fewer = [other for other in left_out if other is not fallback]
        candidate = _without_fallbacks(spec, fewer)
        problems = check(candidate, build_topology(candidate)).problems
        if problems:
            causes.append(_explain(fallback.warning, problems[0]))
        else:
            kept, left_out = candidate, fewer
    return replace(kept, problems=[*spec.problems, *causes])


def _explain(warning: Problem, cause: Problem) -> Problem:
    """Return the warning of a fallback that was left out, with the problem that it would bring."""
    what = f"{warning.what}: at {cause.where}, {cause.what}"
    return replace(warning, what=what, fix=cause.fix)


def _without_fallbacks(spec: GraphSpec, left_out: Sequence[FallbackSpec]) -> GraphSpec:
    names = {name for fallback in left_out for name in fallback.nodes}
    return replace(
        spec,
        nodes={name: node for name, node in spec.nodes.items() if name not in names},
        fallbacks=[fallback for fallback in spec.fallbacks if fallback not in left_out],
    )

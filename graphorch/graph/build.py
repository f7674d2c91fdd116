"""Build a graph: number it, check it, compile it.

A graph that runs itself is compiled once and then nested: each level is a copy of the plan whose
recursive nodes have the level below inside; the lowest has a plan without nodes there. All nodes of
a level share the one below, so there are as many plans as levels, and a run needs to know nothing
of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from graphorch.errors import GraphError, Problem
from graphorch.graph.checks import check
from graphorch.graph.compiler import compile_plan
from graphorch.graph.plan import Plan, Step
from graphorch.graph.spec import FallbackSpec, GraphSpec
from graphorch.graph.topology import build_topology

_MANY_ACTIVATIONS = 1_000_000
_MOST_ACTIVATIONS = 10**15  # a run has not the time for them


def build_plan(spec: GraphSpec) -> Plan:
    """Return the plan of a graph; its `problems` are the warnings of the checks.

    Raises one `GraphError` with all problems of a graph that does not build.
    """
    spec = _without_declarations(spec)
    topology = build_topology(spec)
    checked = check(spec, topology)
    if checked.problems and spec.fallbacks:
        spec = _keep_fitting_fallbacks(spec)
        topology = build_topology(spec)
        checked = check(spec, topology)
    if checked.problems:
        raise GraphError(spec.name, checked.problems)
    plan = compile_plan(spec, topology, checked.regions)
    return _nest(replace(plan, problems=checked.warnings, marked=checked.marked))


def _nest(plan: Plan) -> Plan:
    """Return a plan with itself inside of its recursive nodes, as often as they allow."""
    deepest = max(step.max_depth for step in plan.steps)
    floor = next((step.inner_plan for step in plan.steps if step.max_depth), None)
    if floor is None:
        return plan
    level = floor
    for depth in range(deepest, -1, -1):
        steps = [
            _put_inside(step, level if depth < step.max_depth else floor)
            if step.max_depth
            else step
            for step in plan.steps
        ]
        level = replace(plan, steps=tuple(steps))
    return replace(level, problems=(*plan.problems, *_find_excess(level)))


def _find_excess(plan: Plan) -> Iterator[Problem]:
    """Yield a warning for a recursion whose bound bounds nothing.

    Raises `GraphError` for one that nobody could count to the end of.
    """
    # Most graphs run nothing of themselves, and need no estimate to be built.
    from graphorch.graph.estimate.estimator import estimate

    activations = estimate(plan).worst.activations
    if activations <= _MANY_ACTIVATIONS:
        return
    where = ", ".join(f"{s.node.kind} '{s.name}'" for s in plan.steps if s.max_depth)
    count = f"{activations:,.0f}" if activations <= _MOST_ACTIVATIONS else "more than 10^15"
    problem = Problem(
        "RECURSION_COST",
        where,
        f"at worst, {count} activations run within its bounds",
        "lower max_depth, max_items of maps or bounds of loops, so that they say what may happen",
        "warning" if activations <= _MOST_ACTIVATIONS else "error",
    )
    if problem.severity == "error":
        raise GraphError(plan.name, [problem])
    yield problem


def _put_inside(step: Step, inner: Plan) -> Step:
    map_ = replace(step.map, flow=inner) if step.map is not None else None
    sub = replace(step.sub, flow=inner) if step.sub is not None else None
    return replace(step, map=map_, sub=sub, inner_plan=inner)


def _without_declarations(spec: GraphSpec) -> GraphSpec:
    """Return the graph without the signals that only end maps and sub-flows: they are no nodes."""
    declared = {*spec.cancelling.values()} - spec.connected
    if not declared:
        return spec
    nodes = {name: node for name, node in spec.nodes.items() if name not in declared}
    return replace(spec, nodes=nodes)


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

"""Export of a graph to networkx, for further analyses: centrality, cuts, other layouts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graphorch.graph.plan import Plan

if TYPE_CHECKING:
    import networkx


def to_networkx(plan: Plan) -> networkx.MultiDiGraph[str]:
    """Return a directed multigraph over the names of nodes, START and END included.

    A node has its `kind` and, for a map or sub-flow, `inner`: the graph inside it, one for all
    places where a flow is used. Where that is the graph itself, it has `max_depth` instead. An edge
    has its `kind` (`always`, `routed`, `loop`, `exhausted`, `error`) and the `labels` that take it.
    """
    return _export(plan, {})


def _export(plan: Plan, known: dict[int, Any]) -> networkx.MultiDiGraph[str]:
    import networkx

    graph: networkx.MultiDiGraph[str] = networkx.MultiDiGraph(name=plan.name)
    graph.add_node("START", kind="start")
    for step in plan.steps:
        inner: dict[str, Any] = {}
        if step.max_depth:
            inner["max_depth"] = step.max_depth
        elif step.inner_plan is not None:
            key = id(step.inner_plan)
            if key not in known:
                known[key] = _export(step.inner_plan, known)
            inner["inner"] = known[key]
        graph.add_node(step.name, kind=step.node.kind, **inner)
    for edge in plan.topology.edges:
        graph.add_edge(
            plan.topology.name(edge.source),
            plan.topology.name(edge.target),
            kind=edge.kind,
            labels=edge.labels,
        )
    return graph

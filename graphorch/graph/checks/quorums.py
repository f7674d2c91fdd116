"""A `need=k` join has a region of its own: what it cancels is cut off from everything else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from graphorch.errors import Problem
from graphorch.graph.checks.subject import CheckedGraph
from graphorch.graph.node import Node
from graphorch.graph.plan import Plan

ADVICE = "put the branches into a sub-flow, which has no other way in or out"


def check(subject: CheckedGraph) -> Iterator[Problem]:
    """`QUORUM_REGION`."""
    for node in subject.quorums:
        if node in subject.analysis.reached:
            for what in _wrong(subject, node, region(subject, node)):
                yield Problem(
                    "QUORUM_REGION", f"join of '{subject.shape.name(node)}'", what, ADVICE
                )


def regions(subject: CheckedGraph) -> Mapping[int, frozenset[int]]:
    """The region of each `need=k` join."""
    return {
        node: region(subject, node) for node in subject.quorums if node in subject.analysis.reached
    }


def region(subject: CheckedGraph, node: int) -> frozenset[int]:
    """The nodes between a join's immediate dominator and it: those on a path from the one to the other that uses no way back."""
    analysis, start = subject.analysis, subject.analysis.dominator[node]
    found: set[int] = set()
    pending = [node]
    while pending:
        for edge in analysis.before(pending.pop()):
            if (
                edge.source >= 0
                and edge.source not in (start, node)
                and edge.source not in found
                and edge.source in analysis.reached
            ):
                found.add(edge.source)
                pending.append(edge.source)
    return frozenset(found)


def _wrong(subject: CheckedGraph, node: int, inside: frozenset[int]) -> Iterator[str]:
    shape, start, name = subject.shape, subject.analysis.dominator[node], subject.shape.name(node)
    for loop in shape.loops:
        source = next((source for source in loop.sources if source in inside), None)
        if node in loop.body and source is not None:
            yield f"the way back of a loop around '{name}' starts at '{shape.name(source)}', which need={subject.quorums[node]} may cancel"
        elif loop.header == node and subject.quorums[node] > 1:
            yield f"a loop goes back to '{name}', and brings it one token where need={subject.quorums[node]} waits for more"
    for number in sorted(inside):
        for edge in shape.entering[number]:
            if edge.source != start and edge.source not in inside:
                yield f"{subject.edge_name(edge)} leads into what need={subject.quorums[node]} may cancel"
        for edge in shape.leaving[number]:
            around = edge.kind == "loop" and node in shape.loops[edge.loop].body
            if edge.target != node and edge.target not in inside and not around:
                yield f"{subject.edge_name(edge)} leads out of what need={subject.quorums[node]} may cancel"
        for path in _once(subject, number):
            yield f"'{path}' has effect=\"once\", so it must not be cancelled"


def _once(subject: CheckedGraph, index: int) -> Iterator[str]:
    """The paths of the `once` nodes that a node is or holds."""
    node, blueprint = subject.nodes[index], subject.blueprint
    if node.options.effect == "once":
        yield node.name
    spec, sub = blueprint.maps.get(node.name), blueprint.subs.get(node.name)
    if spec is not None and spec.worker is not None and spec.worker.options.effect == "once":
        yield f"{node.name}/{spec.worker.name}"
    for flow in (spec.flow if spec is not None else None, sub.flow if sub is not None else None):
        if flow is not None:
            yield from (f"{node.name}/{path}" for path in once_inside(flow))


def once_inside(plan: Plan) -> Iterator[str]:
    """The paths of all `once` nodes of a flow, those of its own sub-flows included."""
    for step in plan.steps:
        node: Node[object] = step.node
        if node.options.effect == "once":
            yield step.name
        worker = step.map.worker if step.map is not None else None
        if worker is not None and worker.options.effect == "once":
            yield f"{step.name}/{worker.name}"
        for flow in (
            step.map.flow if step.map is not None else None,
            step.sub.flow if step.sub is not None else None,
        ):
            if flow is not None:
                yield from (f"{step.name}/{path}" for path in once_inside(flow))

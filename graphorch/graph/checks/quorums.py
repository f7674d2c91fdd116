"""A `need=k` join has a region of its own, cut off from the rest of the graph.

It cancels what is unfinished there, or lets it finish. Effects that must not be repeated can be
cancelled nowhere, so they are only in regions that finish.
"""

from __future__ import annotations

from collections.abc import Iterator

from graphorch.errors import Problem
from graphorch.graph.checks.checked_graph import CheckedGraph
from graphorch.graph.node import Node
from graphorch.graph.plan import MapSpec, Plan, SubSpec
from graphorch.text import plural

ADVICE = "put the branches into a sub-flow, which has no other way in or out"
MANY = 10  # faults of one join that are named


def check(graph: CheckedGraph) -> Iterator[Problem]:
    """`QUORUM_REGION`."""
    for node, region in graph.regions.items():
        where = f"join of '{graph.topology.name(node)}'"
        faults = list(_find_faults(graph, node, region))
        if len(faults) > MANY:
            more = f"{plural(len(faults) - MANY, 'more fault')} of this kind"
            faults[MANY:] = [more]
        yield from (Problem("QUORUM_REGION", where, what, ADVICE) for what in faults)


def _find_faults(graph: CheckedGraph, node: int, inside: frozenset[int]) -> Iterator[str]:
    """Yield why the region of a join cannot be left on its own."""
    topology = graph.topology
    start, name = graph.analysis.dominator[node], topology.name(node)
    finishes = graph.finishing[node]
    leaves = f"need={graph.quorums[node]} may {'leave behind' if finishes else 'cancel'}"
    # 1. Loops that go around the join.
    for loop in topology.loops:
        source = next((source for source in loop.sources if source in inside), None)
        if node in loop.body and source is not None:
            yield (
                f"the way back of a loop around '{name}' starts at '{topology.name(source)}', "
                f"which {leaves}"
            )
        elif loop.header == node and graph.quorums[node] > 1:
            yield (
                f"a loop goes back to '{name}', and brings it one token where "
                f"need={graph.quorums[node]} waits for more"
            )
    # 2. Edges into and out of the region, and effects in it that must not be repeated.
    for number in sorted(inside):
        for edge in topology.entering[number]:
            if edge.source != start and edge.source not in inside:
                yield f"{graph.edge_name(edge)} leads into what {leaves}"
        for edge in topology.leaving[number]:
            around = edge.kind == "loop" and node in topology.loops[edge.loop].body
            if edge.target != node and edge.target not in inside and not around:
                yield f"{graph.edge_name(edge)} leads out of what {leaves}"
        for path in () if finishes else find_once(graph, number):
            yield f"'{path}' has effect=\"once\", so it must not be cancelled"


def find_once(graph: CheckedGraph, index: int) -> Iterator[str]:
    """Yield the paths of the `once` nodes that a node is or holds."""
    node = graph.nodes[index]
    if node.options.effect == "once":
        yield node.name
    map_, sub = graph.spec.maps.get(node.name), graph.spec.subs.get(node.name)
    yield from (f"{node.name}/{path}" for path in list_once(graph, map_, sub))


def list_once(graph: CheckedGraph, map_: MapSpec | None, sub: SubSpec | None) -> Iterator[str]:
    """Yield the paths of the `once` nodes inside of a map or sub-flow; those of one flow once."""
    seen: set[int] = set()
    flows = _list_flows(map_, sub)
    yield from _list_once_workers(map_)
    if any(flow.is_floor for flow in flows):
        # It runs the graph itself, whose other nodes are all that there are at any depth.
        spec = graph.spec
        yield from (node.name for node in graph.nodes if node.options.effect == "once")
        inner = [
            *((name, item, None) for name, item in spec.maps.items()),
            *((name, None, item) for name, item in spec.subs.items()),
        ]
        for name, inner_map, inner_sub in inner:
            yield from (f"{name}/{path}" for path in _list_once_workers(inner_map))
            for flow in _list_flows(inner_map, inner_sub):
                yield from (f"{name}/{path}" for path in _once_inside(flow, seen))
    for flow in flows:
        yield from _once_inside(flow, seen)


def _once_inside(plan: Plan, seen: set[int]) -> Iterator[str]:
    """Yield the paths of the `once` nodes of a flow, those of its own sub-flows included."""
    if id(plan) in seen:
        return
    seen.add(id(plan))
    for step in plan.steps:
        node: Node[object] = step.node
        if node.options.effect == "once":
            yield step.name
        yield from (f"{step.name}/{path}" for path in _list_once_workers(step.map))
        for flow in _list_flows(step.map, step.sub):
            if not step.max_depth:
                yield from (f"{step.name}/{path}" for path in _once_inside(flow, seen))


def _list_once_workers(map_: MapSpec | None) -> Iterator[str]:
    worker = map_.worker if map_ is not None else None
    if worker is not None and worker.options.effect == "once":
        yield worker.name


def _list_flows(map_: MapSpec | None, sub: SubSpec | None) -> list[Plan]:
    """Return the flows that a node runs inside."""
    flows = [sub.flow] if sub is not None else []
    if map_ is not None and map_.flow is not None:
        flows.append(map_.flow)
    return flows

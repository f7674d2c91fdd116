"""Build the topology of a graph: number its nodes, add implicit edges, find the bodies of loops."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from graphorch.graph.edges import START_INDEX, Label, Loop, OnExhausted, Topology
from graphorch.graph.spec import GraphSpec, LoopSpec, RouteSpec

_BORDER = frozenset({"START", "END"})


def build_topology(spec: GraphSpec) -> Topology:
    """Return the topology of a declared graph, even one with mistakes.

    Declarations that make no edge, such as a route out of END, are left out; a check reports them.
    """
    names = tuple(name for name, node in spec.nodes.items() if node.kind not in ("start", "end"))
    topology = Topology(names)
    numbers = {name: index for index, name in enumerate(names)}
    numbers |= {"START": START_INDEX, "END": len(names)}

    # The order of the edges is part of a graph's fingerprint: do not change it.
    for source, target in dict.fromkeys(spec.edges):
        if source != "END" and target != "START":
            topology.add_edge(numbers[source], numbers[target], "always")
    _add_routes(topology, spec, numbers)
    for loop_spec in spec.loops:
        if loop_spec.sources and not {*loop_spec.sources, loop_spec.header} & _BORDER:
            _add_loop(topology, loop_spec, numbers)
    for error in spec.errors:
        if error.source not in _BORDER and error.handler != "START":
            source, target = numbers[error.source], numbers[error.handler]
            topology.add_edge(source, target, "error", error.when)
    _add_exhausted(topology)
    recent = {numbers[name] for fallback in spec.fallbacks for name in fallback.nodes}
    numbered = range(len(names))
    _add_implicit(topology, [node for node in numbered if node not in recent])
    # After everything else: runs that began before there were fallbacks know edges by number.
    _add_fallbacks(topology, spec, numbers)
    _add_implicit(topology, [node for node in numbered if node in recent])

    bodies = _find_bodies(topology)
    topology.loops = [replace(loop, body=bodies[loop.header]) for loop in topology.loops]
    return topology


def _add_routes(topology: Topology, spec: GraphSpec, numbers: Mapping[str, int]) -> None:
    """Add the first route of each node; a check refuses a second one."""
    routes: dict[str, RouteSpec] = {}
    for route in spec.routes:
        if route.source in numbers and route.source not in _BORDER:
            routes.setdefault(route.source, route)
    for route in routes.values():
        _add_route(topology, route, numbers)
    multi = (numbers[route.source] for route in routes.values() if route.is_multi)
    topology.multi_routes = frozenset(multi)


def _add_route(topology: Topology, route: RouteSpec, numbers: Mapping[str, int]) -> None:
    """Add one edge for each target, with all the labels that lead there."""
    otherwise = route.otherwise or ()
    cases = [*route.cases, *((label, otherwise) for label in route.open_labels)]
    labels_by_target: dict[str, list[Label]] = {}
    for label, targets in cases:
        for target in targets:
            if target == "START":
                continue
            labels = labels_by_target.setdefault(target, [])
            if label not in labels:
                labels.append(label)
    for target, labels in labels_by_target.items():
        topology.add_edge(numbers[route.source], numbers[target], "routed", tuple(labels))


def _add_loop(topology: Topology, spec: LoopSpec, numbers: Mapping[str, int]) -> None:
    index = len(topology.loops)
    sources = tuple(dict.fromkeys(numbers[name] for name in spec.sources))
    header = numbers[spec.header]
    for source in sources:
        topology.add_edge(source, header, "loop", loop=index)
    exhausted: OnExhausted = "continue"
    if spec.exhausted_is_node:
        exhausted = "node"
    elif spec.exhausted == "fail":
        exhausted = "fail"
    loop = Loop(
        index=index,
        header=header,
        sources=sources,
        body=frozenset(),  # found once all edges are there
        bound=spec.max_iterations,
        condition=spec.condition,
        exhausted=exhausted,
        exhausted_target=numbers[spec.exhausted] if spec.exhausted_is_node else None,
        nested=spec.nested,
    )
    topology.loops.append(loop)


def _add_exhausted(topology: Topology) -> None:
    """Add the edges that an exhausted loop takes; none into its own body, which a check refuses."""
    leaving = [loop for loop in topology.loops if loop.exhausted_target not in (None, START_INDEX)]
    bodies = _find_bodies(topology) if leaving else {}
    for loop in leaving:
        target = loop.exhausted_target
        if target is not None and target not in bodies[loop.header]:
            for source in loop.sources:
                topology.add_edge(source, target, "exhausted", loop=loop.index)


def _add_fallbacks(topology: Topology, spec: GraphSpec, numbers: Mapping[str, int]) -> None:
    for fallback in spec.fallbacks:
        for error in fallback.errors:
            source, target = numbers[error.source], numbers[error.handler]
            topology.add_edge(source, target, "error", error.when)
        for source_name, target_name in fallback.edges:
            topology.add_edge(numbers[source_name], numbers[target_name], "always")


def _add_implicit(topology: Topology, nodes: Sequence[int]) -> None:
    """Connect START to nodes without an edge in, and nodes without an edge out to END."""
    for node in nodes:
        if all(edge.kind == "loop" for edge in topology.entering[node]):
            topology.add_edge(START_INDEX, node, "always")
    # Nodes that lead nowhere, loops and errors aside.
    bare = {
        node
        for node in nodes
        if all(edge.kind in ("loop", "error") for edge in topology.leaving[node])
    }
    for node in sorted(bare):
        # A loop may be left by another of its sources, which says what comes after it.
        own_loops = (loop for loop in topology.loops if node in loop.sources)
        if all(bare.issuperset(loop.sources) for loop in own_loops):
            topology.add_edge(node, topology.end, "always")


def _find_bodies(topology: Topology) -> dict[int, frozenset[int]]:
    """Return the body of the loops at each header; loops that share a header share their body."""
    sources: dict[int, list[int]] = {}
    for loop in topology.loops:
        sources.setdefault(loop.header, []).extend(loop.sources)
    return {header: _find_body(topology, header, from_) for header, from_ in sources.items()}


def _find_body(topology: Topology, header: int, sources: Iterable[int]) -> frozenset[int]:
    """Return the header and every node that reaches a source without passing the header.

    Linear in the edges inside it.
    """
    body = {header}
    pending = list(sources)
    while pending:
        node = pending.pop()
        if node in body or node == START_INDEX:
            continue
        body.add(node)
        pending.extend(edge.source for edge in topology.entering[node])
    return frozenset(body)

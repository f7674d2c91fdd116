"""Build the topology of a graph: number its nodes, add implicit edges, find the bodies of loops."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from graphorch.graph.analysis import sort_nodes
from graphorch.graph.edges import START_INDEX, Edge, Label, Loop, OnExhausted, Topology
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
    for name, events in spec.firsts.items():
        for event in dict.fromkeys(filter(None, events)):
            # Only one of them comes, so for every check they are like the cases of a route.
            topology.add_edge(numbers[name], numbers[event], "routed", (event,))
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


class LoopNest:
    """Which loops are inside which: bodies of a checked graph are apart, or one holds the other.

    Attributes
    ----------
    bodies : for each header the body of its loops.
    innermost : for each node in a loop the header of the innermost one.
    outer : for each header the one of the loop around it, or None. Outer loops come first.
    """

    def __init__(self, loops: Iterable[Loop]) -> None:
        self.bodies = {loop.header: loop.body for loop in loops}
        self.innermost: dict[int, int] = {}
        self.outer: dict[int, int | None] = {}
        by_size = sorted(self.bodies, key=lambda header: len(self.bodies[header]), reverse=True)
        for header in by_size:
            self.outer[header] = self.innermost.get(header)
            self.innermost.update(dict.fromkeys(self.bodies[header], header))

    def around(self, node: int) -> Iterator[int]:
        """Yield the headers of the loops around a node, itself included, from the innermost on."""
        header = self.innermost.get(node)
        while header is not None:
            yield header
            header = self.outer[header]

    def find_left(self, edge: Edge) -> int | None:
        """Return the header of the outermost loop that an edge leaves, or None."""
        left: int | None = None
        for header in self.around(edge.source):
            if edge.target in self.bodies[header]:
                break
            left = header
        return left


def _find_bodies(topology: Topology) -> dict[int, frozenset[int]]:
    """Return the body of the loops at each header; loops that share a header share their body."""
    sources: dict[int, list[int]] = {}
    for loop in topology.loops:
        sources.setdefault(loop.header, []).extend(loop.sources)
    if not sources:
        return {}
    order, cycles = sort_nodes(topology)
    search = _BodySearch(topology, takes_over=not cycles)
    # Inner loops come after the header of the outer one in the order.
    for header in reversed(order):
        if header in sources:
            search.find(header, sources[header])
    return search.bodies


class _BodySearch:
    """Finds the bodies of loops from the inside out, so that each is taken over as a whole.

    Linear in the edges and the sizes of the bodies, unless `takes_over` is false. That is for
    graphs with an undeclared cycle, in which a header need not lead to all of its body.
    """

    def __init__(self, topology: Topology, takes_over: bool) -> None:
        self.topology = topology
        self.takes_over = takes_over
        self.bodies: dict[int, frozenset[int]] = {}
        # For each node the header of the last loop around it that nothing enters elsewhere.
        self._known: dict[int, int] = {}

    def find(self, header: int, sources: Iterable[int]) -> None:
        """Find the header and every node that reaches a source without passing the header."""
        body = {header}
        pending = list(sources)
        has_one_entry = self.takes_over
        while pending:
            node = pending.pop()
            if node in body or node == START_INDEX:
                continue
            inner = self._known.get(node)
            if inner is not None and header not in self.bodies[inner]:
                # The header of an inner loop reaches whatever a node of it reaches.
                body |= self.bodies[inner]
                node = inner
            else:
                body.add(node)
            entering = self.topology.entering[node]
            pending += [edge.source for edge in entering]
            onward = [edge.source for edge in entering if edge.kind != "loop"]
            if not onward or START_INDEX in onward:
                has_one_entry = False
        self.bodies[header] = frozenset(body)
        if has_one_entry:
            self._known.update(dict.fromkeys(body, header))

"""The graph as indices: edges of every kind, implicit ones included, and the bodies of its loops.

Nodes are numbered in declaration order; END is the last number. START is no node: an edge from it has source -1.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

from graphorch.graph.spec import GraphSpec, Label, LoopSpec, RouteSpec

EdgeKind = Literal["always", "routed", "loop", "exhausted", "error"]
START_INDEX = -1
# edges that are taken instead of all others
ALONE: frozenset[EdgeKind] = frozenset({"loop", "exhausted", "error"})


@dataclass(frozen=True, slots=True)
class Edge:
    """One declared (or implicit) edge.

    `labels` are those that take a routed edge, or the exception types that take an error edge; `loop` is the number of a loop or exhausted
    edge's loop.
    """

    index: int
    source: int
    target: int
    kind: EdgeKind
    labels: tuple[Label, ...] = ()
    loop: int = -1


@dataclass(frozen=True, slots=True)
class Loop:
    """One declared loop.

    The body is the header's: it holds the header and every node that reaches a source of any loop back to it without passing the header.
    """

    index: int
    header: int
    sources: tuple[int, ...]
    body: frozenset[int]
    bound: int
    spec: LoopSpec


@dataclass(slots=True)
class Topology:
    """All edges by index, by source and by target, and the loops."""

    names: tuple[str, ...]
    edges: list[Edge] = field(default_factory=list[Edge])
    loops: list[Loop] = field(default_factory=list[Loop])
    routes: dict[int, RouteSpec] = field(default_factory=dict[int, RouteSpec])
    leaving: dict[int, list[Edge]] = field(
        default_factory=lambda: defaultdict[int, list[Edge]](list)
    )
    entering: dict[int, list[Edge]] = field(
        default_factory=lambda: defaultdict[int, list[Edge]](list)
    )

    @property
    def end(self) -> int:
        """The number of END."""
        return len(self.names)

    def name(self, node: int) -> str:
        """The name of a node, START and END included."""
        return "START" if node == START_INDEX else "END" if node == self.end else self.names[node]

    def forward(self, node: int) -> list[Edge]:
        """The edges out of a node that are no way back."""
        return [edge for edge in self.leaving[node] if edge.kind != "loop"]

    def together(self, left: Edge, right: Edge) -> bool:
        """Whether one commit of their common source can take both edges."""
        kinds = {left.kind, right.kind}
        if left is right or kinds & ALONE:
            return False
        if left.kind == "routed" and right.kind == "routed":
            return self.routes[left.source].many or bool(set(left.labels) & set(right.labels))
        return True

    def add(
        self,
        source: int,
        target: int,
        kind: EdgeKind,
        labels: tuple[Label, ...] = (),
        loop: int = -1,
    ) -> None:
        """Add an edge."""
        edge = Edge(len(self.edges), source, target, kind, labels, loop)
        self.edges.append(edge)
        self.leaving[source].append(edge)
        self.entering[target].append(edge)


def build_topology(blueprint: GraphSpec) -> Topology:
    """The shape of a blueprint, whatever is wrong with it; names that are no node's are left out (a check reports them)."""
    names = tuple(
        name for name, node in blueprint.nodes.items() if node.kind not in ("start", "end")
    )
    shape = Topology(names)
    number = {name: index for index, name in enumerate(names)} | {
        "START": START_INDEX,
        "END": len(names),
    }
    for source, target in dict.fromkeys(blueprint.edges):
        if source != "END" and target != "START":
            shape.add(number[source], number[target], "always")
    for route in blueprint.routes:
        _add_route(shape, route, number)
    for loop in blueprint.loops:
        if not {*loop.sources, loop.header} & {"START", "END"} and loop.sources:
            _add_loop(shape, len(shape.loops), loop, number)
    for error in blueprint.errors:
        if error.source not in ("START", "END") and error.handler != "START":
            shape.add(number[error.source], number[error.handler], "error", error.when)
    for loop in [loop for loop in shape.loops if loop.spec.exhausted_is_node]:
        _add_exhausted(shape, loop, number)
    _add_implicit(shape)
    shape.loops = [replace(loop, body=_body(shape, loop)) for loop in shape.loops]
    return shape


def case_labels(route: RouteSpec) -> tuple[Label, ...]:
    """The labels that `otherwise` stands for: all that have no case (or one for those that cannot be listed)."""
    taken = [label for label, _ in route.cases]
    if route.labels is None:
        return (OTHERWISE,)
    return tuple(label for label in route.labels if label not in taken)


# stands for every label that a selector without listed labels may return
OTHERWISE: Label = ("otherwise",)


def _add_route(shape: Topology, route: RouteSpec, number: dict[str, int]) -> None:
    source = number.get(route.source)
    if source is None or source in shape.routes or route.source in ("START", "END"):
        return
    shape.routes[source] = route
    labels: dict[str, list[Label]] = {}
    cases = [*route.cases, *((label, route.otherwise or ()) for label in case_labels(route))]
    for label, targets in cases:
        for target in (name for name in targets if name != "START"):
            found = labels.setdefault(target, [])
            if label not in found:
                found.append(label)
    for target, found in labels.items():
        if found:
            shape.add(source, number[target], "routed", tuple(found))


def _add_loop(shape: Topology, index: int, spec: LoopSpec, number: dict[str, int]) -> None:
    sources = tuple(dict.fromkeys(number[name] for name in spec.sources))
    header = number[spec.header]
    for source in sources:
        shape.add(source, header, "loop", (), index)
    shape.loops.append(Loop(index, header, sources, frozenset(), spec.max_iterations, spec))


def _add_exhausted(shape: Topology, loop: Loop, number: dict[str, int]) -> None:
    """The edges to where an exhausted loop leads; none into its own body, which a check refuses."""
    target = number[loop.spec.exhausted]
    if target != START_INDEX and target not in _body(shape, loop):
        for source in loop.sources:
            shape.add(source, target, "exhausted", (), loop.index)


def _add_implicit(shape: Topology) -> None:
    """Edges from START into nodes that nothing leads to, and to END out of nodes that lead nowhere."""
    for node in range(len(shape.names)):
        if all(edge.kind == "loop" for edge in shape.entering[node]):
            shape.add(START_INDEX, node, "always")
    bare = {
        node
        for node in range(len(shape.names))
        if all(edge.kind in ("loop", "error") for edge in shape.leaving[node])
    }
    for node in sorted(bare):
        if all(bare.issuperset(loop.sources) for loop in shape.loops if node in loop.sources):
            shape.add(node, shape.end, "always")


def _body(shape: Topology, loop: Loop) -> frozenset[int]:
    body = {loop.header}
    pending = [
        source
        for other in shape.loops
        if other.header == loop.header
        for source in other.sources
        if source != loop.header
    ]
    while pending:
        node = pending.pop()
        if node in body or node == START_INDEX:
            continue
        body.add(node)
        pending.extend(edge.source for edge in shape.entering[node])
    return frozenset(body)


def reachable(shape: Topology, start: Iterable[int], *, backwards: bool = False) -> set[int]:
    """Every node on a path from (or, backwards, to) one of `start`, those included."""
    found: set[int] = set()
    pending = list(start)
    while pending:
        node = pending.pop()
        if node not in found:
            found.add(node)
            edges = shape.entering[node] if backwards else shape.leaving[node]
            pending.extend(edge.source if backwards else edge.target for edge in edges)
    return found

"""Edges, loops and topology of a graph, as numbers, and the marks of values on its edges.

Nodes are numbered in the order of their declaration; END has the last number. START is not a node:
an edge from START has source -1.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from graphorch.graph.signature import StateFunction
from graphorch.state.marks import MarkName, Marks

Label = Hashable  # a string or an enum member
EdgeKind = Literal["always", "routed", "loop", "exhausted", "error"]
OnExhausted = Literal["continue", "fail", "node"]

START_INDEX = -1
NOWHERE = -2  # a number that no node has
# Edges of these kinds are taken instead of all other edges of their source.
EXCLUSIVE_KINDS: frozenset[EdgeKind] = frozenset({"loop", "exhausted", "error"})
# Stands for every label that a selector may return if its return type does not list them.
OTHERWISE: Label = ("otherwise",)


@dataclass(frozen=True, slots=True)
class Edge:
    """One declared or implicit edge.

    `labels` holds the labels that take a routed edge, or the exception types that take an error
    edge. `loop` is the number of the loop that a loop edge or an exhausted edge belongs to.
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

    `body` belongs to the header: it holds the header and every node that reaches a source of any
    loop back to it without passing the header. `bound` is the most iterations per entry. With the
    bound reached and `condition` still true, `exhausted` decides; `exhausted_target` is the number
    of the node to go to, or None. A `nested` loop counts anew whenever another way leads to its
    header.
    """

    index: int
    header: int
    sources: tuple[int, ...]
    body: frozenset[int]
    bound: int
    condition: StateFunction
    exhausted: OnExhausted
    exhausted_target: int | None
    nested: bool


class Topology:
    """All edges of a graph by index, source and target, and its loops.

    `multi_routes` holds the nodes whose selector may return several labels at once.
    """

    # A plain class: every program imports this module, and a dataclass takes a millisecond to make.
    __slots__ = ("edges", "entering", "leaving", "loops", "multi_routes", "names")

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self.edges: list[Edge] = []
        self.loops: list[Loop] = []
        self.multi_routes: frozenset[int] = frozenset()
        self.leaving: dict[int, list[Edge]] = defaultdict(list)
        self.entering: dict[int, list[Edge]] = defaultdict(list)

    @property
    def end(self) -> int:
        """Number of END."""
        return len(self.names)

    def name(self, node: int) -> str:
        """Return the name of a node, START and END included."""
        if node == START_INDEX:
            return "START"
        return "END" if node == self.end else self.names[node]

    def forward_edges(self, node: int) -> list[Edge]:
        """Return the edges out of a node without its loop edges."""
        return [edge for edge in self.leaving[node] if edge.kind != "loop"]

    def can_coincide(self, left: Edge, right: Edge) -> bool:
        """Return whether one commit of their common source can take both edges."""
        kinds = {left.kind, right.kind}
        if left is right or kinds & EXCLUSIVE_KINDS:
            return False
        if kinds == {"routed"}:
            share_label = bool(set(left.labels) & set(right.labels))
            return left.source in self.multi_routes or share_label
        return True

    def add_edge(
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

    def find_reachable(
        self, start: Iterable[int], *, backwards: bool = False, without: int = NOWHERE
    ) -> set[int]:
        """Return every node on a path from one of `start`, those included.

        With `backwards`, paths lead to `start` instead. A path may not enter `without`.
        """
        reachable = set(start)
        pending = list(reachable)
        edges = self.entering if backwards else self.leaving
        while pending:
            for edge in edges[pending.pop()]:
                neighbor = edge.source if backwards else edge.target
                if neighbor not in reachable and neighbor != without:
                    reachable.add(neighbor)
                    pending.append(neighbor)
        return reachable


class MarkedFlow:
    """Where marked values are in a graph, as it is used where it is.

    `edges` gives by the number of an edge the marked fields on it that something after it still
    reads, and `nodes` by the number of a node the marks of what it gets. `inside` has the same for
    the flows of maps and sub-flows, by the number of their node. `secrets` are the fields of the
    state that may hold a secret, or what was made of one, anywhere in the graph.
    """

    __slots__ = ("edges", "inside", "nodes", "secrets")

    def __init__(
        self,
        edges: Mapping[int, Mapping[MarkName, tuple[str, ...]]],
        nodes: Mapping[int, Marks],
        inside: Mapping[int, MarkedFlow],
        secrets: frozenset[str],
    ) -> None:
        self.edges = edges
        self.nodes = nodes
        self.inside = inside
        self.secrets = secrets

    def list_all_secrets(self) -> frozenset[str]:
        """Return the fields that may hold a secret, those of flows inside too."""
        names: set[str] = set()
        pending: list[MarkedFlow] = [self]
        seen: set[int] = set()  # a flow that is used twice is one object
        while pending:
            flow = pending.pop()
            if id(flow) not in seen:
                seen.add(id(flow))
                names |= flow.secrets
                pending += flow.inside.values()
        return frozenset(names)

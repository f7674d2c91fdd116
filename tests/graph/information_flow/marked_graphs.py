"""Random graphs with marked fields, and an oracle that walks all of their ways one by one."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from pydantic import BaseModel, create_model

from graphorch.graph.analysis import Analysis
from graphorch.graph.edges import START_INDEX, Edge, Topology
from graphorch.graph.node import Node
from graphorch.graph.options import NodeSettings
from graphorch.graph.signature import Read, Signature, StateFunction
from graphorch.graph.spec import ErrorSpec, GraphSpec, LoopSpec, RouteSpec
from graphorch.graph.topology import build_topology
from graphorch.state.marks import Untrusted

FIELDS = "abcde"


@dataclass
class Drawing:
    """A graph before it is built: nodes are numbers, fields letters."""

    count: int
    marked: set[str]  # fields that declare the mark
    given: str  # the field of the input
    required: set[str]  # fields without a default
    reads: list[set[str]]
    writes: list[set[str]]
    kinds: list[str]  # plain, ask, check, gate, effect
    edges: set[tuple[int, int]]
    routes: dict[int, tuple[str, list[int]]] = field(default_factory=dict[int, Any])
    loops: list[tuple[int, int, str]] = field(default_factory=list[Any])
    errors: set[tuple[int, int]] = field(default_factory=set[Any])

    def build(self) -> tuple[GraphSpec, Topology, Analysis]:
        """Return the graph as declared, its topology and its analysis."""
        slices = {name: self._slice(name) for name in FIELDS}
        state = create_model("State", __base__=tuple(slices.values()))
        spec = GraphSpec("drawn", state, slices[self.given], slices["a"])
        for number in range(self.count):
            reads = tuple(Read(slices[name]) for name in sorted(self.reads[number]))
            writes = tuple(slices[name] for name in sorted(self.writes[number]))
            kind = self.kinds[number]
            options = NodeSettings(
                effect="once" if kind == "effect" else "pure",
                declassify="looked at" if kind == "check" else None,
                gate="after" if kind == "gate" else None,
            )
            node = Node[Any](
                _nothing,
                Signature(reads, writes, False, None, not writes, False),
                name=f"n{number}",
                kind="ask" if kind == "ask" else "node",
                options=options,
            )
            spec.nodes[node.name] = node
            spec.connected.add(node.name)
        spec.edges += [(f"n{source}", f"n{target}") for source, target in sorted(self.edges)]
        for source, (name, targets) in self.routes.items():
            cases = [(str(target), (f"n{target}",)) for target in targets]
            labels = tuple(label for label, _ in cases)
            by = StateFunction(_nothing, (Read(slices[name]),))
            spec.routes.append(RouteSpec(f"n{source}", by, labels, False, list(cases), None, True))
        for source, header, name in self.loops:
            condition = StateFunction(_nothing, (Read(slices[name]),))
            loop = LoopSpec((f"n{source}",), f"n{header}", condition, 3, "continue", False)
            spec.loops.append(loop)
        for source, target in sorted(self.errors):
            spec.errors.append(ErrorSpec(f"n{source}", f"n{target}", (Exception,)))
        topology = build_topology(spec)
        return spec, topology, Analysis(topology)

    def _slice(self, name: str) -> type[BaseModel]:
        kind: Any = Untrusted[str] if name in self.marked else str
        make: Any = create_model
        model: type[BaseModel] = make(
            f"Slice{name.upper()}", **{name: (kind, ... if name in self.required else "")}
        )
        return model


def _nothing(*_: object) -> None: ...


KINDS = ("plain", "plain", "plain", "effect", "ask", "check", "gate")


@st.composite
def drawings(draw: st.DrawFn, *, kinds: tuple[str, ...] = KINDS, ways_back: bool = True) -> Drawing:
    """Return graphs of up to seven nodes; without `ways_back` also without error edges."""
    count = draw(st.integers(2, 7))
    some = st.sets(st.sampled_from(FIELDS), min_size=1, max_size=2)
    drawing = Drawing(
        count=count,
        marked=draw(st.sets(st.sampled_from(FIELDS), min_size=1, max_size=2)),
        given=draw(st.sampled_from(FIELDS)),
        required=draw(st.sets(st.sampled_from(FIELDS))),
        reads=[draw(some) for _ in range(count)],
        writes=[draw(some) for _ in range(count)],
        kinds=[draw(st.sampled_from(kinds)) for _ in range(count)],
        edges=set(),
    )
    for source in range(count - 1):
        later = st.integers(source + 1, count - 1)
        targets = draw(st.sets(later, max_size=2))
        if targets and draw(st.booleans()) and len(targets) > 1:
            drawing.routes[source] = (draw(st.sampled_from(FIELDS)), sorted(targets))
        else:
            drawing.edges |= {(source, target) for target in targets}
        if ways_back and draw(st.integers(0, 4)) == 0:
            drawing.errors.add((source, draw(later)))
    if ways_back and draw(st.booleans()):
        source = draw(st.integers(0, count - 1))
        header = draw(st.integers(0, source))
        drawing.loops.append((source, header, draw(st.sampled_from(FIELDS))))
    return drawing


# ---- the oracle ----------------------------------------------------------------------------------
def walk_fields(
    drawing: Drawing, topology: Topology, decided: frozenset[int] = frozenset()
) -> dict[int, set[str]]:
    """Return for each node the marked fields that arrive there, END included.

    One value is followed at a time, along one edge after the other.
    """
    arrived: set[tuple[int, str]] = set()
    pending: list[tuple[Edge, str]] = []
    for edge in topology.edges:
        if edge.source == START_INDEX and drawing.given in drawing.marked:
            pending.append((edge, drawing.given))
        elif edge.source != START_INDEX and edge.kind != "error":
            written = drawing.writes[edge.source]
            own = written & drawing.marked
            if edge.source in decided and drawing.kinds[edge.source] in ("plain", "effect"):
                own = written
            pending += [(edge, name) for name in own]
    while pending:
        edge, name = pending.pop()
        node = edge.target
        if (node, name) in arrived:
            continue
        arrived.add((node, name))
        if node != topology.end:
            pending += _continue(drawing, topology, node, name)
    return {node: {name for at, name in arrived if at == node} for node in range(topology.end + 1)}


def _continue(
    drawing: Drawing, topology: Topology, node: int, name: str
) -> Iterator[tuple[Edge, str]]:
    """Yield where one marked value that arrives at a node goes on, and what it infects."""
    kind = drawing.kinds[node]
    for edge in topology.leaving[node]:
        if edge.kind == "error":
            yield edge, name
            continue
        if kind == "ask":
            continue
        is_replaced = name in drawing.writes[node] and name in drawing.required
        is_checked = kind == "check" and name in drawing.reads[node]
        if not is_replaced and not is_checked:
            yield edge, name
        if name in drawing.reads[node] and kind in ("plain", "effect"):
            for written in drawing.writes[node]:
                yield edge, written


def run_all(drawing: Drawing, topology: Topology) -> list[tuple[dict[int, int], set[int]]]:
    """Return for each choice of labels by all routes the nodes that run."""
    routers = sorted(drawing.routes)
    runs: list[tuple[dict[int, int], set[int]]] = []
    for labels in itertools.product(*(drawing.routes[node][1] for node in routers)):
        chosen = dict(zip(routers, labels, strict=True))
        running: set[int] = set()
        for node in range(topology.end):  # edges lead to later nodes
            if any(_is_taken(edge, chosen, running) for edge in topology.entering[node]):
                running.add(node)
        runs.append((chosen, running))
    return runs


def _is_taken(edge: Edge, chosen: dict[int, int], running: set[int]) -> bool:
    if edge.source == START_INDEX:
        return True
    if edge.source not in running:
        return False
    return edge.kind != "routed" or str(chosen[edge.source]) in edge.labels


def find_toggled(drawing: Drawing, topology: Topology, router: int) -> set[int]:
    """Return the nodes that run or not by the label of one route alone, all others being equal."""
    toggled: set[int] = set()
    runs = run_all(drawing, topology)
    for (left, ran), (right, also) in itertools.combinations(runs, 2):
        if all(left[node] == right[node] for node in left if node != router):
            toggled |= ran ^ also
    return toggled


def walk_decisions(drawing: Drawing, topology: Topology) -> tuple[dict[int, set[str]], set[int]]:
    """Return the marked fields that arrive at each node, and the nodes that are decided."""
    decided: set[int] = set()
    while True:
        arrived = walk_fields(drawing, topology, frozenset(decided))
        more: set[int] = set()
        for router, (name, _) in drawing.routes.items():
            leaving = {
                field for edge, field in _list_leaving(drawing, topology, router, arrived, decided)
            }
            if name in leaving:
                more |= find_toggled(drawing, topology, router)
        if more <= decided:
            return arrived, decided
        decided |= more


def _list_leaving(
    drawing: Drawing,
    topology: Topology,
    node: int,
    arrived: dict[int, set[str]],
    decided: set[int],
) -> Iterator[tuple[Edge, str]]:
    edge = next(edge for edge in topology.leaving[node] if edge.kind != "error")
    own = drawing.writes[node] & drawing.marked
    if node in decided and drawing.kinds[node] in ("plain", "effect"):
        own = drawing.writes[node]
    yield from ((edge, name) for name in own)
    for name in arrived[node]:
        yield from (
            (other, field)
            for other, field in _continue(drawing, topology, node, name)
            if other.kind != "error"
        )

"""Naive simulator of tokens on a topology, written from the rules of the join alone.

It is slow, and shares no code with what it checks. It knows nothing of values. A token carries the
activations in its history and, for each field, the last write.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import cached_property

from graphorch.graph.edges import START_INDEX, Edge, Topology
from graphorch.graph.spec import GraphSpec

Position = tuple[str, int]  # ("at", node) or ("latch", header)


@dataclass(frozen=True)
class Token:
    """Delivery along an edge: the activations in its history, and the last write of each field."""

    past: frozenset[int]
    last: tuple[tuple[str, int], ...]


@dataclass
class Seen:
    """Observations of a run.

    `conflicts` are pairs of nodes whose writes of a field met unordered; `unassigned` are nodes
    that ran without a field that they read.
    """

    conflicts: set[tuple[str, str, str]] = field(default_factory=set[tuple[str, str, str]])
    unassigned: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    ran: list[str] = field(default_factory=list[str])
    stuck: bool = False


class Simulator:
    """Runs of a topology under random schedules and choices."""

    def __init__(self, shape: Topology, writes: dict[int, str], reads: dict[int, str]) -> None:
        self.shape, self.writes, self.reads = shape, writes, reads

    @classmethod
    def of(cls, blueprint: GraphSpec, shape: Topology) -> Simulator:
        """Return a simulator of a drawing whose nodes read and write at most one field."""
        nodes = [blueprint.nodes[name].signature for name in shape.names]
        writes = {
            index: next(iter(signature.writes[0].model_fields))
            for index, signature in enumerate(nodes)
            if signature.writes
        }
        reads = {
            index: next(iter(model.model_fields))
            for index, signature in enumerate(nodes)
            if signature.reads and (model := signature.reads[0].model)
        }
        return cls(shape, writes, reads)

    @cached_property
    def blocking(self) -> dict[tuple[Position, int], bool]:
        """Return which position blocks which node, by a search of paths."""
        nodes = range(self.shape.end + 1)
        headers = {loop.header for loop in self.shape.loops}
        blocking = {(("at", x), v): x != v and self.leads(x, v) for x in nodes for v in nodes}
        for header in headers:
            body = {
                node for loop in self.shape.loops if loop.header == header for node in loop.body
            }
            blocking.update(
                {(("latch", header), v): v not in body and self.leads(header, v) for v in nodes}
            )
        return blocking

    def leads(self, x: int, v: int) -> bool:
        """Return whether a path from x to v stays within one iteration of the loops around v.

        Such a path uses no loop edge into a header, other than v, whose body holds v.
        """
        closed = {loop.header for loop in self.shape.loops if v in loop.body and loop.header != v}
        pending, seen = [x], set[int]()
        while pending:
            for edge in self.shape.leaving[pending.pop()]:
                if edge.kind == "loop" and edge.target in closed:
                    continue
                if edge.target == v:
                    return True
                if edge.target not in seen:
                    seen.add(edge.target)
                    pending.append(edge.target)
        return False

    def run(self, rng: random.Random) -> Seen:
        """Run to the end with random choices."""
        seen, waiting = Seen(), dict[int, list[tuple[bool, Token]]]()
        active: dict[int, list[Token]] = {}
        rounds: dict[int, int] = {}
        made: list[tuple[int, frozenset[int]]] = []
        for edge in self.shape.leaving[START_INDEX]:
            waiting.setdefault(edge.target, []).append((False, Token(frozenset(), ())))
        for _ in range(400):
            live = {("at", node) for node in active} | {
                ("latch" if loop else "at", node)
                for node, held in waiting.items()
                for loop, _ in held
            }
            ready = [
                v
                for v in waiting
                if v not in active and not any(self.blocking[item, v] for item in live)
            ]
            if not ready and not active:
                seen.stuck = bool(waiting)
                return seen
            if ready and (not active or rng.random() < 0.6):
                node = rng.choice(ready)
                held = waiting.pop(node)
                active[node] = [token for _, token in held]
                if not all(loop for loop, _ in held):  # a forward entry: its loops count anew
                    rounds.update(
                        {loop.index: 0 for loop in self.shape.loops if loop.header == node}
                    )
                continue
            node = rng.choice(sorted(active))
            self._commit(node, active.pop(node), rng, seen, waiting, rounds, made)
        raise AssertionError("a run without an end")

    def _commit(
        self,
        node: int,
        tokens: list[Token],
        rng: random.Random,
        seen: Seen,
        waiting: dict[int, list[tuple[bool, Token]]],
        rounds: dict[int, int],
        made: list[tuple[int, frozenset[int]]],
    ) -> None:
        name = self.shape.name(node)
        past = frozenset().union(*(token.past for token in tokens))
        last: dict[str, int] = {}
        for token in tokens:
            for text, write in token.last:
                before = last.get(text, write)
                if (
                    before != write
                    and before not in made[write][1]
                    and write not in made[before][1]
                ):
                    pair = sorted(
                        (self.shape.name(made[before][0]), self.shape.name(made[write][0]))
                    )
                    seen.conflicts.add((text, pair[0], pair[1]))
                last[text] = write if before in made[write][1] else before
        if node in self.reads and self.reads[node] not in last:
            seen.unassigned.add((name, self.reads[node]))
        seen.ran.append(name)
        activation = len(made)
        edges = self._choose_edges(node, rng, rounds)
        failed = bool(edges) and edges[0].kind == "error"
        made.append((node, past))
        if node in self.writes and not failed:
            last[self.writes[node]] = activation
        token = Token(past | {activation}, tuple(sorted(last.items())))
        for edge in edges:
            waiting.setdefault(edge.target, []).append((edge.kind == "loop", token))

    def _choose_edges(self, node: int, rng: random.Random, rounds: dict[int, int]) -> list[Edge]:
        edges = self.shape.leaving[node]
        alone = [
            edge
            for edge in edges
            if edge.kind in ("loop", "error", "exhausted") and self._has_room(edge, rounds)
        ]
        if alone and rng.random() < 0.5:
            edge = rng.choice(alone)
            if edge.kind == "loop":
                rounds[edge.loop] = rounds.get(edge.loop, 0) + 1
            return [edge]
        plain = [edge for edge in edges if edge.kind == "always"]
        routed = [edge for edge in edges if edge.kind == "routed"]
        if not routed:
            return plain
        labels = sorted({str(label) for edge in routed for label in edge.labels})
        count = rng.randint(1, len(labels)) if node in self.shape.multi_routes else 1
        chosen = set(rng.sample(labels, count))
        return plain + [edge for edge in routed if chosen & set(map(str, edge.labels))]

    def _has_room(self, edge: Edge, rounds: dict[int, int]) -> bool:
        return (
            edge.kind != "loop" or rounds.get(edge.loop, 0) < self.shape.loops[edge.loop].bound - 1
        )

"""Marks of the values at each node: a fixed point over the edges of a graph.

Theory of operation. For each mark and node there is a mask of the fields that may hold a marked
value when the node starts, and one for when it has written. A value keeps its mark along an edge. A
node that reads a marked field marks all that it writes; a write that certainly replaces the value
of a field takes the old mark away. Sets only grow, so a few passes over the edges settle them.

Rules of this file:
1. A field that declares a mark has it after every write, whoever wrote it.
2. A node whose failure an error edge hands on marks the `Failure`, which may quote what it read.
3. What an `ask` lets through is no longer marked: a person decided that the run goes on.
4. A declared check ends marks of what it writes. What it has read is not untrusted any more, but
   still secret. A person who approved the result of a node ends the marks of what it wrote.
5. A map or sub-flow marks what it writes if what it gives back is marked inside. What a sub-flow
   keeps when a signal ends it is given back from anywhere inside.
6. A node is *decided* by untrusted values if a route, a loop or an error edge that depends on them
   chooses whether it runs, and no person or check is on the way. It marks what it writes, too.

Rule 6 is control dependence: a choice decides about the nodes that a token reaches in any case once
the choice was made, but not in any case before. Whether a secret is 0 or 1 may show in a route;
only values are followed for secrets.

Reference: J. Ferrante, K. Ottenstein, J. Warren, "The program dependence graph and its use in
optimization" (1987).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from graphorch.graph.edges import START_INDEX, Edge
from graphorch.graph.information_flow.inspected_graph import (
    InspectedGraph,
    InspectedNode,
    split_mask,
)
from graphorch.state.marks import MarkName


class Inside(Protocol):
    """What happens inside of maps and sub-flows."""

    def gives(
        self, inspected: InspectedNode, mark: MarkName, *, is_given: bool, is_decided: bool
    ) -> bool:
        """Return whether a node gives back marked values, if it is given some or is decided."""
        ...

    def asks(self, inspected: InspectedNode) -> bool:
        """Return whether a person decides inside of a node, whatever way is taken."""
        ...


@dataclass(slots=True)
class Spread:
    """How far one mark gets in a graph.

    `arriving` and `leaving` are fields by node, END included: before it runs, and after. `touched`
    nodes read a marked value, or get one in another way. `decided` gives for each decided node the
    nodes that decide about it; START among them stands for what is around the graph.
    """

    mark: MarkName
    start: int
    arriving: list[int]
    leaving: list[int]
    touched: list[bool]
    decided: dict[int, set[int]] = field(default_factory=dict[int, set[int]])

    def along(self, edge: Edge) -> int:
        """Return the marked fields of the state that an edge carries."""
        if edge.source == START_INDEX:
            return self.start
        # A node that failed has written nothing.
        return self.arriving[edge.source] if edge.kind == "error" else self.leaving[edge.source]


class Propagation:
    """Spreads one mark over a graph; `start` are the marked fields at START.

    With `is_decided`, untrusted values around the graph decide whether it runs. With
    `sees_all` false, an `ask` vouches only for the fields that its question reads.
    """

    def __init__(
        self,
        graph: InspectedGraph,
        mark: MarkName,
        start: int,
        inside: Inside,
        *,
        is_decided: bool = False,
        sees_all: bool = True,
    ) -> None:
        self._graph = graph
        self._inside = inside
        self._sees_all = sees_all
        count = graph.topology.end + 1
        self.spread = Spread(mark, start, [0] * count, [0] * count, [False] * count)
        self.decisions = Decisions(graph, inside)
        if is_decided:
            first = [edge.target for edge in graph.topology.leaving[START_INDEX]]
            around = self.decisions.reach(first)
            self.spread.decided = {node: {START_INDEX} for node in around}

    def run(self) -> Spread:
        """Return the fixed point. Quadratic in the nodes at most; mostly linear in the edges."""
        spread, graph = self.spread, self._graph
        order = [node for node in graph.analysis.order if node != START_INDEX]
        has_changed = True
        while has_changed:
            has_changed = False
            for node in order:
                has_changed |= self._visit(node)
            # The next turn begins with what this one leaves.
            left = spread.arriving[graph.topology.end] & graph.remembered & ~spread.start
            if left:
                spread.start |= left
                has_changed = True
            if spread.mark == "untrusted":
                has_changed |= self._decide()
        return spread

    def _visit(self, index: int) -> bool:
        """Compute the marks at one node anew; return whether they have changed."""
        spread = self.spread
        arriving = 0
        for edge in self._graph.topology.entering[index]:
            arriving |= spread.along(edge)
        leaving = arriving
        is_touched = False
        if index != self._graph.topology.end:
            inspected = self._graph.nodes[index]
            is_touched = self._is_touched(index, inspected, arriving)
            leaving = self._pass(index, inspected, arriving, is_touched)
        before = spread.arriving[index], spread.leaving[index], spread.touched[index]
        spread.arriving[index], spread.leaving[index] = arriving, leaving
        spread.touched[index] = is_touched
        return before != (arriving, leaving, is_touched)

    def _is_touched(self, index: int, inspected: InspectedNode, arriving: int) -> bool:
        if inspected.reads & arriving:
            return True
        if self.spread.mark == "untrusted" and inspected.untrusted_tools:
            return True
        return inspected.takes_failure and any(
            edge.kind == "error" and self.spread.touched[edge.source]
            for edge in self._graph.topology.entering[index]
        )

    def _pass(self, index: int, inspected: InspectedNode, arriving: int, is_touched: bool) -> int:
        """Return the marked fields after a node."""
        mark = self.spread.mark
        declared = inspected.writes & self._graph.declared[mark]
        if inspected.is_ask or self._inside.asks(inspected):
            kept = 0 if self._sees_all else arriving & ~inspected.reads
            return kept & ~inspected.replaces | declared
        kept = arriving & ~inspected.replaces
        if inspected.check and mark == "untrusted":
            kept &= ~inspected.reads
        return kept | declared | (inspected.writes if self._marks(index, is_touched) else 0)

    def is_marking(self, index: int) -> bool:
        """Return whether a node marks what it writes, beside the fields that declare the mark."""
        return self._marks(index, self.spread.touched[index])

    def _marks(self, index: int, is_touched: bool) -> bool:
        inspected = self._graph.nodes[index]
        if inspected.is_ask or inspected.check or inspected.node.options.gate == "after":
            return False
        if index in self.spread.decided or not inspected.has_inside:
            return is_touched or index in self.spread.decided
        return self._inside.gives(
            inspected, self.spread.mark, is_given=is_touched, is_decided=False
        )

    def _decide(self) -> bool:
        """Find the nodes about which untrusted values decide; return whether there are new ones."""
        spread, decisions = self.spread, self.decisions
        has_changed = False
        for source, inspected in enumerate(self._graph.nodes):
            reached: set[int] = set()
            if inspected.decides & spread.leaving[source]:
                reached |= decisions.by_choice(source)
            if source in spread.decided:
                reached |= decisions.by_running(source)
            if spread.touched[source] and not inspected.is_ask:
                reached |= decisions.by_failing(source)
            for node in reached:
                sources = spread.decided.setdefault(node, set())
                if source not in sources:
                    sources.add(source)
                    has_changed = True
        return has_changed


class Decisions:
    """Nodes about which a node decides: by its route and loops, by running, or by failing.

    Ways that pass a person or a check do not count.
    """

    def __init__(self, graph: InspectedGraph, inside: Inside) -> None:
        self._graph = graph
        self._analysis = graph.analysis
        self.guards = {
            index
            for index, inspected in enumerate(graph.nodes)
            if inspected.lets_person_decide or inspected.check or inside.asks(inspected)
        }
        self._known: dict[tuple[str, int], set[int]] = {}

    def by_choice(self, node: int) -> set[int]:
        """Return what its route or a loop decides about."""
        return self._find("choice", node)

    def by_running(self, node: int) -> set[int]:
        """Return what depends on that it runs, beside what runs in any case."""
        return self._find("running", node)

    def by_failing(self, node: int) -> set[int]:
        """Return what only its failure leads to."""
        return self._find("failing", node)

    def _find(self, how: str, node: int) -> set[int]:
        if (how, node) not in self._known:
            self._known[how, node] = set(self._compute(how, node))
        return self._known[how, node]

    def _compute(self, how: str, node: int) -> Iterator[int]:
        choices = self._analysis.choices[node]
        if how == "failing":
            choices = [choice for choice in choices if choice[0].kind == "error"]
        elif how == "choice":
            choices = [choice for choice in choices if choice[0].kind != "error"]
        # A single way that is not taken for a failure decides about nothing.
        if not choices or (len(choices) == 1 and how != "failing"):
            return
        settled = self._analysis.after_commit(node)
        if how == "running":
            settled = self._analysis.unavoidable[node]
        settled |= self._find_certain(node)
        for choice in choices:
            certain = 0
            for edge in choice:
                certain |= self._analysis.unavoidable[edge.target]
            decided = set(split_mask(certain & ~settled))
            if decided:
                yield from decided & self.reach([edge.target for edge in choice])

    def _find_certain(self, node: int) -> int:
        """Return what runs in any case where a node can run, by what was before both.

        What is in a loop around the node may have run before it, and run again in another round.
        """
        certain = self._analysis.after_commit(START_INDEX)
        for before in self._analysis.dominators(node):
            certain |= self._analysis.after_commit(before)
        for loop in self._graph.topology.loops:
            if node in loop.body:
                certain &= ~sum(1 << inside for inside in loop.body)
        return certain

    def reach(self, targets: list[int]) -> set[int]:
        """Return the nodes that ways without a person or a check lead to."""
        reached = set(targets)
        pending = list(reached)
        while pending:
            node = pending.pop()
            if node in self.guards:
                continue
            for edge in self._graph.topology.leaving[node]:
                if edge.target not in reached:
                    reached.add(edge.target)
                    pending.append(edge.target)
        return reached - self.guards - {self._graph.topology.end}

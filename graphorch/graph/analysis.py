"""What follows from a shape alone: an order, dominators, and what a token that is somewhere can no longer avoid.

Rules of this file. Lists are as long as the nodes, END and START together, so that START (-1) is simply the last entry. A *way back*
is a loop edge or an edge that closes an undeclared cycle (an error of its own; everything else is analysed as if it were declared).
A *choice* of a node is a set of edges that one commit takes together: all its plain edges with those of one label, or one edge that
is taken instead of all others (loop, exhausted, error). Node sets are bitmasks, END included, START not.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from functools import cached_property

from graphorch.graph.edges import EXCLUSIVE_KINDS, NOWHERE, START_INDEX, Edge, Topology

Choice = tuple[Edge, ...]


class Analysis:
    """Answers about one shape, each computed when it is first asked for."""

    def __init__(self, shape: Topology) -> None:
        self.shape = shape
        self.count = shape.end + 1
        self.order, self.cycles = _ordered(shape)
        self.closing = {edge.index for edge, _ in self.cycles}
        self.position = [0] * (self.count + 1)
        for position, node in enumerate(self.order):
            self.position[node] = position
        self.choices = [group_choices(shape, node) for node in [*range(self.count), START_INDEX]]

    def goes_back(self, edge: Edge) -> bool:
        """Whether an edge is a way back."""
        return edge.kind == "loop" or edge.index in self.closing

    def before(self, node: int) -> list[Edge]:
        """The edges into a node that are no way back."""
        return [edge for edge in self.shape.entering[node] if not self.goes_back(edge)]

    @cached_property
    def reached(self) -> set[int]:
        """Every node that START leads to, END and START included."""
        return self.shape.find_reachable([START_INDEX])

    # ---- dominators ------------------------------------------------------------------------
    @cached_property
    def dominator(self) -> list[int]:
        """For each node its immediate dominator: the last node, itself excepted, that every path from START to it passes."""
        found = [NOWHERE] * (self.count + 1)
        for node in self.order:
            sources = [edge.source for edge in self.before(node) if edge.source in self.reached]
            # from below, so that a climb is short
            sources.sort(key=self.position.__getitem__, reverse=True)
            for source in sources:
                found[node] = (
                    source if found[node] == NOWHERE else self._common(found, source, found[node])
                )
        return found

    def _common(self, dominator: Sequence[int], left: int, right: int) -> int:
        position = self.position
        while left != right:
            if position[left] > position[right]:
                left = dominator[left]
            else:
                right = dominator[right]
        return left

    def dominators(self, node: int) -> Iterable[int]:
        """The dominators of a node from the nearest on, itself and START excluded."""
        node = self.dominator[node]
        while node >= 0:
            yield node
            node = self.dominator[node]

    def dominates(self, node: int, other: int) -> bool:
        """Whether every path from START to `other` passes `node`."""
        return node == other or node in self.dominators(other)

    # ---- what a token cannot avoid -----------------------------------------------------------
    @cached_property
    def unavoidable(self) -> list[int]:
        """For each node, what a token that is there will come to whatever is chosen, itself included.

        At a fork one branch that comes there is enough, of several choices each must; a way back counts as a choice, but nothing
        goes round forever. This is the greatest fixed point, found in about as many passes as loops are nested.
        """
        everything = (1 << self.count) - 1
        found = [everything] * (self.count + 1)
        changed = True
        while changed:
            changed = False
            for node in reversed(self.order):
                own = 1 << node if node >= 0 else 0
                new = own | self._ahead(found, self.choices[node])
                if new != found[node]:
                    found[node], changed = new, True
        return found

    def after_commit(self, node: int) -> int:
        """What the tokens of a node that did not fail will come to whatever is chosen."""
        return self._ahead(
            self.unavoidable, [choice for choice in self.choices[node] if choice[0].kind != "error"]
        )

    def _ahead(self, found: Sequence[int], choices: Sequence[Choice]) -> int:
        ahead = (1 << self.count) - 1 if choices else 0
        for choice in choices:
            mask = 0
            for edge in choice:
                mask |= found[edge.target]
            ahead &= mask
        return ahead

    # ---- forks -------------------------------------------------------------------------------
    @cached_property
    def forks(self) -> list[tuple[int, Choice]]:
        """Each node with each set of its edges, of two or more, of which any two can be taken together; in order from START on."""
        return [(node, edges) for node in self.order for edges in together(self.shape, node)]

    def region(self, fork: int, edges: Choice) -> tuple[list[int], bool]:
        """The nodes from these edges of a fork on, in order, up to the one where all their branches have met (that one included).

        The second value says whether an edge goes back to the fork or before it; then the region is all that the edges lead to.
        """
        position = self.position
        waiting = list({position[edge.target] for edge in edges})
        heapq.heapify(waiting)
        seen = set(waiting)
        found: list[int] = []
        while waiting:
            node = self.order[heapq.heappop(waiting)]
            found.append(node)
            if not waiting:
                return found, False
            for edge in self.shape.leaving[node]:
                place = position[edge.target]
                if place in seen:
                    continue
                if self.goes_back(edge):
                    return self._all_from(fork, edges), True
                seen.add(place)
                heapq.heappush(waiting, place)
        return found, False

    def _all_from(self, fork: int, edges: Choice) -> list[int]:
        found = self.shape.find_reachable(
            [edge.target for edge in edges if edge.target != fork], without=fork
        )
        return sorted(found, key=self.position.__getitem__)

    def dominators_within(
        self, fork: int, edges: Iterable[Edge], region: Sequence[int]
    ) -> dict[int, int]:
        """For each node of a region, given in order, the nodes there that every path to it from these edges of a fork passes, itself included.

        So vertex-disjoint paths lead from the fork to two nodes if and only if their sets have nothing in common (Menger's theorem for
        two paths: otherwise one node cuts both off). Only paths inside the region count. The second pass changes nothing unless an edge
        inside goes back.
        """
        inside = set(region)
        first = {edge.target for edge in edges}
        found: dict[int, int] = {}
        changed = True
        while changed:
            changed = False
            for node in region:
                mask = 0 if node in first else -1
                for edge in self.shape.entering[node]:
                    if edge.source in inside and edge.source != fork:
                        mask &= found.get(edge.source, -1)
                if mask == -1:
                    continue  # not reached yet, or not at all
                mask |= 1 << node
                if found.get(node) != mask:
                    found[node] = mask
                    changed = True
        return found


def group_choices(shape: Topology, node: int) -> list[Choice]:
    """The choices of a node; of a multi-choice route those with one label, since more labels only add edges."""
    plain = tuple(edge for edge in shape.leaving[node] if edge.kind == "always")
    routed = [edge for edge in shape.leaving[node] if edge.kind == "routed"]
    labels = dict.fromkeys(label for edge in routed for label in edge.labels)
    found = [plain + tuple(edge for edge in routed if label in edge.labels) for label in labels]
    if not routed and plain:
        found.append(plain)
    return found + [(edge,) for edge in shape.leaving[node] if edge.kind in EXCLUSIVE_KINDS]


def together(shape: Topology, node: int) -> list[Choice]:
    """The sets of two or more edges out of a node of which any two can be taken by one commit; no set twice."""
    if node in shape.multi_routes:
        found = [tuple(edge for edge in shape.leaving[node] if edge.kind not in EXCLUSIVE_KINDS)]
    else:
        found = [
            choice for choice in group_choices(shape, node) if choice[0].kind not in EXCLUSIVE_KINDS
        ]
    return list(dict.fromkeys(choice for choice in found if len(choice) > 1))


def _ordered(shape: Topology) -> tuple[list[int], list[tuple[Edge, tuple[int, ...]]]]:
    """All nodes so that each comes after those that lead to it, loop edges aside, and each edge that closes a cycle with the nodes on it."""
    done: list[int] = []
    cycles: list[tuple[Edge, tuple[int, ...]]] = []
    seen: set[int] = set()
    for root in [START_INDEX, *range(shape.end + 1)]:
        if root in seen:
            continue
        seen.add(root)
        path = {root: None}  # an ordered set
        work = [(root, iter(_onwards(shape, root)))]
        while work:
            node, edges = work[-1]
            for edge in edges:
                if edge.target in path:
                    nodes = list(path)
                    cycles.append((edge, tuple(nodes[nodes.index(edge.target) :])))
                elif edge.target not in seen:
                    seen.add(edge.target)
                    path[edge.target] = None
                    work.append((edge.target, iter(_onwards(shape, edge.target))))
                    break
            else:
                work.pop()
                del path[node]
                done.append(node)
    return done[::-1], cycles


def _onwards(shape: Topology, node: int) -> list[Edge]:
    # reversed, so that branches keep the order of declaration
    return [edge for edge in reversed(shape.leaving[node]) if edge.kind != "loop"]

"""Analyses of a topology: an order, dominators, and the nodes that a token can no longer avoid.

Rules of this file:

1. Lists have an entry for every node, then END, then START, so that START (-1) is the last entry.
2. A *way back* is a loop edge, or an edge that closes an undeclared cycle. Such a cycle is an error
   of its own; everything else is analysed as if it were declared.
3. A *choice* of a node is a set of edges that one commit takes together: all its plain edges with
   those of one label, or one edge that is taken instead of all others (loop, exhausted, error).
4. Node sets are bitmasks, END included, START not.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

from graphorch.graph.edges import EXCLUSIVE_KINDS, NOWHERE, START_INDEX, Edge, Topology

Choice = tuple[Edge, ...]


class Analysis:
    """Analyses of one topology, each computed when it is first needed.

    Attributes
    ----------
    order : all nodes so that each comes after the nodes that lead to it, ways back aside.
    position : for each node its place in `order`.
    cycles : each edge that closes an undeclared cycle, with the nodes on that cycle.
    choices : for each node its choices.
    """

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self.count = topology.end + 1
        self.order, self.cycles = sort_nodes(topology)
        self.closing = {edge.index for edge, _ in self.cycles}
        self.position = [0] * (self.count + 1)
        for position, node in enumerate(self.order):
            self.position[node] = position
        self._after: dict[int, int] = {}  # by node, see `after_commit`
        self.choices = [group_choices(topology, node) for node in [*range(self.count), START_INDEX]]

    def goes_back(self, edge: Edge) -> bool:
        """Return whether an edge is a way back."""
        return edge.kind == "loop" or edge.index in self.closing

    def before(self, node: int) -> list[Edge]:
        """Return the edges into a node without the ways back."""
        return [edge for edge in self.topology.entering[node] if not self.goes_back(edge)]

    @cached_property
    def reached(self) -> set[int]:
        """Every node that START leads to, END and START included."""
        return self.topology.find_reachable([START_INDEX])

    # ---- dominators ------------------------------------------------------------------------
    @cached_property
    def dominator(self) -> list[int]:
        """For each node its immediate dominator.

        That is the last node, itself excepted, that every path from START to it passes; `NOWHERE`
        for START and for a node that START does not lead to.

        Notes
        -----
        All edges count, ways back included, so the result holds for graphs with mistakes too: in
        those, START may lead to a node over a loop edge alone. Without mistakes the second pass
        changes nothing.

        References
        ----------
        K. Cooper, T. Harvey, K. Kennedy, "A simple, fast dominance algorithm" (2001).
        """
        order = _sort_reached(self.topology)
        place = {node: number for number, node in enumerate(order)}
        dominator = [NOWHERE] * (self.count + 1)
        # From the last source in the order on, so that each climb is short.
        sources = {
            node: sorted(
                {edge.source for edge in self.topology.entering[node] if edge.source in place},
                key=place.__getitem__,
                reverse=True,
            )
            for node in order[1:]
        }
        changed = True
        while changed:
            changed = False
            for node in order[1:]:
                # The immediate dominator is the nearest one that all sources have in common.
                nearest = NOWHERE
                for source in sources[node]:
                    # A source that comes later has no dominator in the first pass.
                    if source == START_INDEX or dominator[source] != NOWHERE:
                        nearest = (
                            source
                            if nearest == NOWHERE
                            else _climb(dominator, place, source, nearest)
                        )
                if dominator[node] != nearest:
                    dominator[node], changed = nearest, True
        return dominator

    def dominators(self, node: int) -> Iterable[int]:
        """Yield the dominators of a node from the nearest on, itself and START excluded."""
        node = self.dominator[node]
        while node >= 0:
            yield node
            node = self.dominator[node]

    def dominates(self, node: int, other: int) -> bool:
        """Return whether every path from START to `other` passes `node`."""
        first, last = self._dominated
        return node == other or first[node] < first[other] <= last[node]

    def pass_one_node(self, fork: int, nodes: Sequence[int]) -> bool:
        """Return whether some node past a fork lies on every path from it to each of the nodes.

        Such a node dominates them and does not dominate the fork: START leads to the fork without
        it.
        """
        first, last = self._dominated
        if NOWHERE in (first[fork], *(first[node] for node in nodes)):
            return False  # START does not lead there, so nothing is known
        lowest = min(first[node] for node in nodes)
        highest = max(first[node] for node in nodes)
        node = nodes[0]
        while not first[node] <= first[fork] <= last[node]:
            if first[node] <= lowest and highest <= last[node]:
                return True
            node = self.dominator[node]
        return False

    @cached_property
    def _dominated(self) -> tuple[list[int], list[int]]:
        """For each node its number, and the last number among the nodes that it dominates.

        Nodes are numbered so that the dominated ones follow their dominator without a gap.
        `NOWHERE` for a node that START does not lead to.
        """
        children: dict[int, list[int]] = {}
        for node, dominator in enumerate(self.dominator[:-1]):
            children.setdefault(dominator, []).append(node)
        first = [NOWHERE] * (self.count + 1)
        last = [NOWHERE] * (self.count + 1)
        number = 0
        work = [(START_INDEX, iter(children.get(START_INDEX, ())))]
        first[START_INDEX] = 0
        while work:
            node, below = work[-1]
            child = next(below, None)
            if child is None:
                last[node] = number
                work.pop()
            else:
                number += 1
                first[child] = number
                work.append((child, iter(children.get(child, ()))))
        return first, last

    # ---- what a token cannot avoid -----------------------------------------------------------
    @cached_property
    def unavoidable(self) -> list[int]:
        """For each node the nodes that a token there reaches in any case, itself included.

        At a fork it is enough that one branch reaches a node; of several choices each one must. A
        way back counts as a choice, but no token goes around forever.

        Notes
        -----
        This is the greatest fixed point, found in about as many passes as loops are nested; each
        pass is linear in the edges, times the words of a bitmask.
        """
        # Start from "everything" and take away what some choice avoids, until nothing changes.
        everything = (1 << self.count) - 1
        unavoidable = [everything] * (self.count + 1)
        changed = True
        while changed:
            changed = False
            # Targets first, so that one pass settles everything but ways back.
            for node in reversed(self.order):
                own = 1 << node if node >= 0 else 0
                new = own | self._ahead(unavoidable, self.choices[node])
                if new != unavoidable[node]:
                    unavoidable[node], changed = new, True
        return unavoidable

    def after_commit(self, node: int) -> int:
        """Return the nodes that the tokens of a node reach in any case, unless it fails."""
        if node not in self._after:
            choices = [choice for choice in self.choices[node] if choice[0].kind != "error"]
            self._after[node] = self._ahead(self.unavoidable, choices)
        return self._after[node]

    def _ahead(self, unavoidable: Sequence[int], choices: Sequence[Choice]) -> int:
        """Return what every choice reaches: the union over its edges, intersected over choices."""
        ahead = (1 << self.count) - 1 if choices else 0
        for choice in choices:
            mask = 0
            for edge in choice:
                mask |= unavoidable[edge.target]
            ahead &= mask
        return ahead

    # ---- forks -------------------------------------------------------------------------------
    @cached_property
    def forks(self) -> list[tuple[int, Choice]]:
        """Each node with each set of two or more of its edges that can all be taken together.

        In order from START on.
        """
        forks: list[tuple[int, Choice]] = []
        for node in self.order:
            forks += [(node, edges) for edges in group_coinciding(self.topology, node)]
        return forks

    def region(self, fork: int, edges: Choice) -> tuple[list[int], bool]:
        """Return the nodes between a fork and the node where its branches have met.

        Parameters
        ----------
        fork : a node.
        edges : edges out of it that can be taken together.

        Returns
        -------
        The nodes from these edges on, in order, up to and including the one where all branches have
        met; and whether an edge goes back to the fork or before it. In that case the nodes are all
        that the edges lead to.

        Notes
        -----
        Linear in the edges of the region, times the logarithm of its width: nodes are visited in
        order, and the branches have met when no other node waits.
        """
        # A heap of positions: the earliest node first, so that all that leads to it was visited.
        position = self.position
        waiting = list({position[edge.target] for edge in edges})
        heapq.heapify(waiting)
        seen = set(waiting)
        region: list[int] = []
        while waiting:
            node = self.order[heapq.heappop(waiting)]
            region.append(node)
            # No other branch is under way: they have met here.
            if not waiting:
                return region, False
            for edge in self.topology.leaving[node]:
                place = position[edge.target]
                if place in seen:
                    continue
                # Ways back to a node of the region were skipped above: this one leaves it.
                if self.goes_back(edge):
                    return self._list_reachable(fork, edges), True
                seen.add(place)
                heapq.heappush(waiting, place)
        return region, False

    def _list_reachable(self, fork: int, edges: Choice) -> list[int]:
        """Return the nodes that edges lead to past their fork, in order."""
        targets = [edge.target for edge in edges if edge.target != fork]
        nodes = self.topology.find_reachable(targets, without=fork)
        return sorted(nodes, key=self.position.__getitem__)

    def dominators_within(
        self, fork: int, edges: Iterable[Edge], region: Sequence[int]
    ) -> dict[int, int]:
        """Return for each node of a region the nodes that every path to it from a fork passes.

        Parameters
        ----------
        fork : a node.
        edges : edges out of it; only paths that begin with one of them count.
        region : nodes in order; only paths inside of it count.

        Returns
        -------
        A mask for each node that some path reaches; a node is in its own mask. Vertex-disjoint
        paths lead from the fork to two nodes if and only if their masks have nothing in common
        (Menger's theorem for two paths: otherwise one node cuts both off).

        Notes
        -----
        Linear in the edges per pass, times the words of a bitmask. The second pass changes nothing
        unless an edge inside goes back.
        """
        # -1 is the mask with all bits: nothing is known yet of a source that comes later.
        inside = set(region)
        first = {edge.target for edge in edges}
        dominators: dict[int, int] = {}
        changed = True
        while changed:
            changed = False
            for node in region:
                # Paths that begin at the node itself pass nothing before it.
                mask = 0 if node in first else -1
                for edge in self.topology.entering[node]:
                    if edge.source in inside and edge.source != fork:
                        mask &= dominators.get(edge.source, -1)
                if mask == -1:
                    continue  # not reached yet, or not at all
                mask |= 1 << node
                if dominators.get(node) != mask:
                    dominators[node] = mask
                    changed = True
        return dominators


def group_choices(topology: Topology, node: int) -> list[Choice]:
    """Return the choices of a node.

    Of a route that may return several labels these are the choices of one label each, since more
    labels only add edges.
    """
    plain = tuple(edge for edge in topology.leaving[node] if edge.kind == "always")
    routed = [edge for edge in topology.leaving[node] if edge.kind == "routed"]
    # Plain edges are taken with each label; without a route they are a choice of their own.
    labels = dict.fromkeys(label for edge in routed for label in edge.labels)
    choices = [plain + tuple(edge for edge in routed if label in edge.labels) for label in labels]
    if not routed and plain:
        choices.append(plain)
    exclusive = [edge for edge in topology.leaving[node] if edge.kind in EXCLUSIVE_KINDS]
    return choices + [(edge,) for edge in exclusive]


def group_coinciding(topology: Topology, node: int) -> list[Choice]:
    """Return the sets of two or more edges out of a node that one commit can take, each once."""
    if node in topology.multi_routes:
        # A selector that returns several labels may take all edges at once.
        edges = topology.leaving[node]
        sets = [tuple(edge for edge in edges if edge.kind not in EXCLUSIVE_KINDS)]
    else:
        choices = group_choices(topology, node)
        sets = [choice for choice in choices if choice[0].kind not in EXCLUSIVE_KINDS]
    return list(dict.fromkeys(choice for choice in sets if len(choice) > 1))


def sort_nodes(topology: Topology) -> tuple[list[int], list[tuple[Edge, tuple[int, ...]]]]:
    """Return all nodes in topological order, and each edge that closes a cycle with its nodes.

    Loop edges do not count. Depth-first search without recursion, linear in the edges: a node is
    done after all that it leads to, so the order is that of completion, reversed.
    """
    done: list[int] = []
    cycles: list[tuple[Edge, tuple[int, ...]]] = []
    seen: set[int] = set()
    for root in [START_INDEX, *range(topology.end + 1)]:
        if root in seen:
            continue
        seen.add(root)
        # An ordered set: the nodes of the search from the root to here.
        path = {root: None}
        work = [(root, iter(_list_onward_edges(topology, root)))]
        while work:
            node, edges = work[-1]
            for edge in edges:
                # An edge to a node of the path closes a cycle; one to a new node is followed.
                if edge.target in path:
                    nodes = list(path)
                    cycles.append((edge, tuple(nodes[nodes.index(edge.target) :])))
                elif edge.target not in seen:
                    seen.add(edge.target)
                    path[edge.target] = None
                    work.append((edge.target, iter(_list_onward_edges(topology, edge.target))))
                    break
            else:
                # All edges are seen, and so is everything that this node leads to.
                work.pop()
                del path[node]
                done.append(node)
    return done[::-1], cycles


def _climb(dominator: Sequence[int], place: Mapping[int, int], left: int, right: int) -> int:
    """Return the nearest common dominator: climb from the later node until both meet."""
    while left != right:
        if place[left] > place[right]:
            left = dominator[left]
        else:
            right = dominator[right]
    return left


def _sort_reached(topology: Topology) -> list[int]:
    """Return the nodes that START leads to, START first, each after a node that leads to it.

    All edges count. This is the order of completion of a depth-first search, reversed.
    """
    done: list[int] = []
    seen = {START_INDEX}
    work = [(START_INDEX, iter(topology.leaving[START_INDEX]))]
    while work:
        node, edges = work[-1]
        for edge in edges:
            if edge.target not in seen:
                seen.add(edge.target)
                work.append((edge.target, iter(topology.leaving[edge.target])))
                break
        else:
            work.pop()
            done.append(node)
    return done[::-1]


def _list_onward_edges(topology: Topology, node: int) -> list[Edge]:
    # Reversed, so that branches keep the order of declaration
    return [edge for edge in reversed(topology.leaving[node]) if edge.kind != "loop"]

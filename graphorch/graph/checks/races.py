"""Two writes of one field are causally ordered, or a reducer folds them.

Two nodes are unordered if from a fork, by edges that can be taken together, vertex-disjoint paths
lead to both of them. That includes a node that reaches the other one, since a node waits for a
token without having to descend from it. They are ordered nevertheless if the tokens of one cannot
avoid some node that every path from the fork to the other passes (or the other itself): that node
waits for them, and the other one descends from it. Branches that race for a `need=1` join never
meet, unless they meet before it.

Only fields with two or more writers are looked at, and of each fork only its region: a node after
the one where all branches have met descends from every one of them.
"""

from __future__ import annotations

from collections.abc import Iterator

from graphorch.errors import Problem
from graphorch.graph.checks import quorums
from graphorch.graph.checks.checked_graph import CheckedGraph, join_names


def check(graph: CheckedGraph) -> Iterator[Problem]:
    """`UNORDERED_WRITES`, once for each fork and set of nodes, with all raced fields."""
    contested = _find_contested(graph)
    if not contested:
        return
    first_wins = _FirstWins(graph)
    seen: set[tuple[str, ...]] = set()
    for fork, edges in graph.analysis.forks:
        # Cheap first: most forks have no two writers of one field before their branches meet.
        region, _ = graph.analysis.region(fork, edges)
        shared = _find_shared(contested, fork, region)
        if not shared:
            continue
        dominators = graph.analysis.dominators_within(fork, edges, region)
        # Nodes that race for several fields are one problem.
        races: dict[tuple[int, ...], int] = {}
        for bit, nodes in shared.items():
            reached = [node for node in nodes if node in dominators]
            racing = _find_racing(graph, dominators, reached, first_wins)
            if racing:
                races[racing] = races.get(racing, 0) | bit
        # Forks above each other see the same race.
        for nodes, mask in races.items():
            key = (*(graph.topology.name(node) for node in nodes), *graph.field_names(mask))
            if key not in seen:
                seen.add(key)
                yield _describe(graph, fork, nodes, mask)


def _find_contested(graph: CheckedGraph) -> dict[int, list[int]]:
    """Return for each node the fields without a reducer that it and another node may write."""
    once = twice = 0
    for mask in graph.may_write:
        twice |= once & mask
        once |= mask
    twice &= ~graph.reduced
    contested: dict[int, list[int]] = {}
    for node, mask in enumerate(graph.may_write):
        if mask & twice:
            contested[node] = list(_split_bits(mask & twice))
    return contested


def _find_shared(
    contested: dict[int, list[int]], fork: int, region: list[int]
) -> dict[int, list[int]]:
    """Return the fields that two or more nodes of a region may write, with those nodes."""
    writers: dict[int, list[int]] = {}
    for node in region:
        if node >= 0 and node != fork:
            for bit in contested.get(node, ()):
                writers.setdefault(bit, []).append(node)
    return {bit: nodes for bit, nodes in sorted(writers.items()) if len(nodes) > 1}


def _split_bits(mask: int) -> Iterator[int]:
    """Yield each bit of a mask, the lowest first."""
    while mask:
        yield mask & -mask
        mask &= mask - 1


def _find_racing(
    graph: CheckedGraph, dominators: dict[int, int], nodes: list[int], first_wins: _FirstWins
) -> tuple[int, ...]:
    """Return the writers of one field that are unordered with another one."""
    racing: set[int] = set()
    for number, node in enumerate(nodes):
        for other in nodes[number + 1 :]:
            if node in racing and other in racing:
                continue
            # A common dominator means that no two disjoint paths lead to them.
            if dominators[node] & dominators[other]:
                continue
            if _are_ordered(graph, dominators, node, other) or first_wins.separates(node, other):
                continue
            racing |= {node, other}
    return tuple(node for node in nodes if node in racing)


def _are_ordered(graph: CheckedGraph, dominators: dict[int, int], node: int, other: int) -> bool:
    """Return whether the tokens of one node cannot avoid a dominator of the other."""
    after = graph.analysis.after_commit
    return bool(after(node) & dominators[other] or after(other) & dominators[node])


class _FirstWins:
    """Pairs of nodes in different branches of a `need=1` join that meet nowhere before it."""

    def __init__(self, graph: CheckedGraph) -> None:
        self._topology = graph.topology
        self._regions: list[tuple[int, frozenset[int]]] = []
        for join, region in quorums.regions(graph).items():
            if graph.quorums[join] == 1:
                self._regions.append((join, region))

    def separates(self, node: int, other: int) -> bool:
        """Return whether at most one of two nodes can be in the history of what comes after."""
        for join, region in self._regions:
            if node in region and other in region:
                return not self._ahead(node, join) & self._ahead(other, join)
        return False

    def _ahead(self, node: int, join: int) -> set[int]:
        """Return where a node's writes may get to before the join.

        Its own error edges do not count: a node that failed has written nothing.
        """
        following = [
            edge.target
            for edge in self._topology.leaving[node]
            if edge.kind != "error" and edge.target != join
        ]
        return {node} | self._topology.find_reachable(following, without=join)


def _describe(graph: CheckedGraph, fork: int, nodes: tuple[int, ...], mask: int) -> Problem:
    names = graph.field_names(mask)
    pronoun, noun = "it", "field"
    if len(names) > 1:
        pronoun, noun = "them", "fields"
    count = "both" if len(nodes) == 2 else "all"
    what = (
        f"{graph.named(nodes)} may {count} write {pronoun} without seeing each other's "
        f"write: they branch at '{graph.topology.name(fork)}'"
    )
    fix = (
        f"fold the writes ({names[0]}: Annotated[…, a reducer]), write different fields, or "
        "let one follow the other"
    )
    vague = [node for node in nodes if graph.writes_anything(node)]
    if vague:
        fix = (
            f"annotate what the function of {graph.named(vague)} returns: without that, as in "
            "a lambda, it may write any field"
        )
    return Problem("UNORDERED_WRITES", f"{noun} {join_names(names)}", what, fix)

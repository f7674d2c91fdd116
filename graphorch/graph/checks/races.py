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
    contested = _contested(graph)
    if not contested:
        return
    first_wins = _FirstWins(graph)
    seen: set[tuple[str, ...]] = set()
    for fork, edges in graph.analysis.forks:
        region, _ = graph.analysis.region(fork, edges)
        shared = _shared(contested, fork, region)
        if not shared:
            continue
        dominators = graph.analysis.dominators_within(fork, edges, region)
        races: dict[tuple[int, ...], int] = {}
        for bit, nodes in shared.items():
            racing = _racing(
                graph, dominators, [node for node in nodes if node in dominators], first_wins
            )
            if racing:
                races[racing] = races.get(racing, 0) | bit
        for nodes, mask in races.items():
            key = (*(graph.topology.name(node) for node in nodes), *graph.field_names(mask))
            if key not in seen:
                seen.add(key)
                yield _problem(graph, fork, nodes, mask)


def _contested(graph: CheckedGraph) -> dict[int, list[int]]:
    """Return for each node the fields without a reducer that it and another node may write."""
    once = twice = 0
    for mask in graph.may_write:
        twice |= once & mask
        once |= mask
    twice &= ~graph.reduced
    return {
        node: list(_bits(mask & twice)) for node, mask in enumerate(graph.may_write) if mask & twice
    }


def _shared(contested: dict[int, list[int]], fork: int, region: list[int]) -> dict[int, list[int]]:
    """Return the fields that two or more nodes of a region may write, with those nodes."""
    writers: dict[int, list[int]] = {}
    for node in region:
        if node >= 0 and node != fork:
            for bit in contested.get(node, ()):
                writers.setdefault(bit, []).append(node)
    return {bit: nodes for bit, nodes in sorted(writers.items()) if len(nodes) > 1}


def _bits(mask: int) -> Iterator[int]:
    while mask:
        yield mask & -mask
        mask &= mask - 1


def _racing(
    graph: CheckedGraph, dominators: dict[int, int], nodes: list[int], first_wins: _FirstWins
) -> tuple[int, ...]:
    """Return the writers of one field that are unordered with another one."""
    racing: set[int] = set()
    for number, node in enumerate(nodes):
        for other in nodes[number + 1 :]:
            if node in racing and other in racing:
                continue
            if (
                not dominators[node] & dominators[other]
                and not _ordered(graph, dominators, node, other)
                and not first_wins.apart(node, other)
            ):
                racing |= {node, other}
    return tuple(node for node in nodes if node in racing)


def _ordered(graph: CheckedGraph, dominators: dict[int, int], node: int, other: int) -> bool:
    after = graph.analysis.after_commit
    return bool(after(node) & dominators[other] or after(other) & dominators[node])


class _FirstWins:
    """Pairs of nodes in different branches of a `need=1` join that meet nowhere before it."""

    def __init__(self, graph: CheckedGraph) -> None:
        self._topology = graph.topology
        regions = quorums.regions(graph)
        self._regions = [
            (join, region) for join, region in regions.items() if graph.quorums[join] == 1
        ]

    def apart(self, node: int, other: int) -> bool:
        """Whether at most one of the two can be in the history of anything outside the region."""
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


def _problem(graph: CheckedGraph, fork: int, nodes: tuple[int, ...], mask: int) -> Problem:
    names = graph.field_names(mask)
    several = len(names) > 1
    pronoun, number = ("them", "fields") if several else ("it", "field")
    literal = "both" if len(nodes) == 2 else "all"
    branch = f"they branch at '{graph.topology.name(fork)}'"
    what = (
        f"{graph.named(nodes)} may {literal} write {pronoun} without seeing each other's "
        f"write: {branch}"
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
    return Problem("UNORDERED_WRITES", f"{number} {join_names(names)}", what, fix)

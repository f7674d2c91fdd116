"""Two writes of one field are causally ordered, or a reducer folds them.

Two nodes are unordered if from a fork, by edges that can be taken together, vertex-disjoint paths
lead to both of them. That includes a node that reaches the other one, since a node waits for a
token without having to descend from it. They are ordered nevertheless if the tokens of one cannot
avoid some node that every path from the fork to the other passes (or the other itself): that node
waits for them, and the other one descends from it. Branches that race for a `need=1` join never
meet, unless they meet before it.

Most of the work is left out by what is cheap to see:

1. Only writers of one field count of which neither is certain to run after the other (rivals).
2. Of each fork only its region counts: a node after the one where all branches have met descends
   from every one of them.
3. A node past the fork that dominates all rivals there lies on every path to each of them.
"""

from __future__ import annotations

from collections.abc import Iterator

from graphorch.errors import Problem
from graphorch.graph.analysis import Choice
from graphorch.graph.checks.checked_graph import CheckedGraph, join_names

MANY = 10  # so many races over one field; a further one is named if it involves other nodes


def check(graph: CheckedGraph) -> Iterator[Problem]:
    """`UNORDERED_WRITES`, once for each fork and set of nodes, with all raced fields."""
    rivals = _find_rivals(graph)
    if not rivals:
        return
    search = _Search(graph, rivals)
    seen: set[tuple[str, ...]] = set()
    for fork, edges in graph.analysis.forks:
        # Nodes that race for several fields are one problem.
        races: dict[tuple[int, ...], int] = {}
        for bit, nodes in search.find_races(fork, edges):
            races[nodes] = races.get(nodes, 0) | bit
        # Forks above each other see the same race.
        for nodes, mask in races.items():
            key = (*(graph.topology.name(node) for node in nodes), *graph.field_names(mask))
            if key not in seen:
                seen.add(key)
                yield _describe(graph, fork, nodes, mask)


def _find_rivals(graph: CheckedGraph) -> dict[int, dict[int, int]]:
    """Return for each field without a reducer its writers, with their later rivals as a mask.

    A rival is a writer of the same field that comes later in the order, and that is not certain to
    run after this one. Most graphs have none.
    """
    once = twice = 0
    for mask in graph.may_write:
        twice |= once & mask
        once |= mask
    twice &= ~graph.reduced
    writers: dict[int, list[int]] = {}
    for node in graph.analysis.order:
        for bit in _split_bits(graph.may_write[node] & twice):
            writers.setdefault(bit, []).append(node)
    found = {bit: _list_rivals(graph, nodes) for bit, nodes in sorted(writers.items())}
    return {bit: rivals for bit, rivals in found.items() if rivals}


def _list_rivals(graph: CheckedGraph, writers: list[int]) -> dict[int, int]:
    later = sum(1 << node for node in writers)
    found: dict[int, int] = {}
    everyone = 0
    for node in writers:
        later &= ~(1 << node)
        found[node] = later & ~graph.analysis.after_commit(node)
        if found[node]:
            everyone |= found[node] | 1 << node
    return {node: rivals for node, rivals in found.items() if everyone >> node & 1}


def _split_bits(mask: int) -> Iterator[int]:
    """Yield each bit of a mask, the lowest first."""
    while mask:
        yield mask & -mask
        mask &= mask - 1


class _Search:
    """Search for races behind forks."""

    def __init__(self, graph: CheckedGraph, rivals: dict[int, dict[int, int]]) -> None:
        self._graph = graph
        self._rivals = rivals
        self._contested: dict[int, list[int]] = {}
        for bit, nodes in rivals.items():
            for node in nodes:
                self._contested.setdefault(node, []).append(bit)
        # For each field how many races were found, and between which nodes.
        self._count = dict.fromkeys(rivals, 0)
        self._found: dict[int, set[int]] = {bit: set() for bit in rivals}
        self._first_wins = _FirstWins(graph)

    def find_races(self, fork: int, edges: Choice) -> Iterator[tuple[int, tuple[int, ...]]]:
        """Yield each field that nodes behind a fork race for, with these nodes."""
        analysis = self._graph.analysis
        region, _ = analysis.region(fork, edges)
        shared = self._find_shared(fork, region)
        if not shared:
            return
        dominators = analysis.dominators_within(fork, edges, region)
        for bit, nodes in shared.items():
            reached = [node for node in nodes if node in dominators]
            racing = self._find_racing(bit, dominators, reached)
            if racing:
                self._count[bit] += 1
                self._found[bit].update(racing)
                yield bit, racing

    def _find_shared(self, fork: int, region: list[int]) -> dict[int, list[int]]:
        """Return the fields that rivals in a region may write, with these nodes."""
        shared: dict[int, list[int]] = {}
        for node in region:
            if node != fork:
                for bit in self._contested.get(node, ()):
                    shared.setdefault(bit, []).append(node)
        return {
            bit: nodes
            for bit, nodes in sorted(shared.items())
            if len(nodes) > 1
            and not (self._count[bit] >= MANY and self._found[bit].issuperset(nodes))
            and not self._graph.analysis.pass_one_node(fork, nodes)
        }

    def _find_racing(
        self, bit: int, dominators: dict[int, int], nodes: list[int]
    ) -> tuple[int, ...]:
        """Return the writers of one field that are unordered with another one."""
        rivals = self._rivals[bit]
        others = sum(1 << node for node in nodes)
        racing = 0
        for node in nodes:
            # Each pair once, and none of which both nodes are known to race.
            others &= ~(1 << node)
            pending = rivals[node] & others
            while pending:
                if racing >> node & 1:
                    pending &= ~racing
                other = pending.bit_length() - 1
                if pending and self._are_racing(dominators, node, other):
                    racing |= 1 << node | 1 << other
                pending &= ~(1 << max(other, 0))
        return tuple(node for node in nodes if racing >> node & 1)

    def _are_racing(self, dominators: dict[int, int], node: int, other: int) -> bool:
        # A common dominator means that no two disjoint paths lead to them.
        if dominators[node] & dominators[other]:
            return False
        # Tokens of one that cannot avoid a dominator of the other order them.
        after = self._graph.analysis.after_commit
        if after(node) & dominators[other] or after(other) & dominators[node]:
            return False
        return not self._first_wins.separates(node, other)


class _FirstWins:
    """Pairs of nodes in different branches of a `need=1` join that meet nowhere before it."""

    def __init__(self, graph: CheckedGraph) -> None:
        self._topology = graph.topology
        self._regions: list[tuple[int, frozenset[int]]] = []
        for join, region in graph.regions.items():
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
    fix = graph.ask_for_annotations(nodes) or fix
    return Problem("UNORDERED_WRITES", f"{noun} {join_names(names)}", what, fix)

"""Two writes of one field are causally ordered, or a reducer folds them.

Two nodes are unordered if from a fork, by edges that can be taken together, vertex-disjoint paths lead to one and to the other: also
where one reaches the other, since a node waits for a token without having to descend from it. They are ordered nevertheless if the
tokens of the one cannot avoid some node that every path from the fork to the other passes (or the other itself): that node waits for
them, and the other one descends from it. Branches that race for a `need=1` join never meet, unless they meet before it.

Only fields with two writers or more are looked at, and of each fork only its region: whoever comes after the node where all branches
have met descends from every one of them.
"""

from __future__ import annotations

from collections.abc import Iterator

from graphorch.errors import Problem
from graphorch.graph.checks import quorums
from graphorch.graph.checks.subject import CheckedGraph, join_names


def check(subject: CheckedGraph) -> Iterator[Problem]:
    """`UNORDERED_WRITES`, once for each fork and set of nodes, with all the fields that they race for."""
    contested = _contested(subject)
    if not contested:
        return
    first_wins = _FirstWins(subject)
    seen: set[tuple[str, ...]] = set()
    for fork, edges in subject.analysis.forks:
        region, _ = subject.analysis.region(fork, edges)
        shared = _shared(contested, fork, region)
        if not shared:
            continue
        dominators = subject.analysis.dominators_within(fork, edges, region)
        races: dict[tuple[int, ...], int] = {}
        for bit, nodes in shared.items():
            racing = _racing(
                subject, dominators, [node for node in nodes if node in dominators], first_wins
            )
            if racing:
                races[racing] = races.get(racing, 0) | bit
        for nodes, mask in races.items():
            key = (*(subject.shape.name(node) for node in nodes), *subject.field_names(mask))
            if key not in seen:
                seen.add(key)
                yield _problem(subject, fork, nodes, mask)


def _contested(subject: CheckedGraph) -> dict[int, list[int]]:
    """For each node the fields without a reducer that it may write, and another node too."""
    once = twice = 0
    for mask in subject.may_write:
        twice |= once & mask
        once |= mask
    twice &= ~subject.reduced
    return {
        node: list(_bits(mask & twice))
        for node, mask in enumerate(subject.may_write)
        if mask & twice
    }


def _shared(contested: dict[int, list[int]], fork: int, region: list[int]) -> dict[int, list[int]]:
    """The fields that two nodes of a region or more may write, with those nodes."""
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
    subject: CheckedGraph, dominators: dict[int, int], nodes: list[int], first_wins: _FirstWins
) -> tuple[int, ...]:
    """Those of the writers of one field that are unordered with another one."""
    found: set[int] = set()
    for number, node in enumerate(nodes):
        for other in nodes[number + 1 :]:
            if node in found and other in found:
                continue
            if (
                not dominators[node] & dominators[other]
                and not _ordered(subject, dominators, node, other)
                and not first_wins.apart(node, other)
            ):
                found |= {node, other}
    return tuple(node for node in nodes if node in found)


def _ordered(subject: CheckedGraph, dominators: dict[int, int], node: int, other: int) -> bool:
    after = subject.analysis.after_commit
    return bool(after(node) & dominators[other] or after(other) & dominators[node])


class _FirstWins:
    """Which nodes are in different branches of a `need=1` join, and meet nowhere before it."""

    def __init__(self, subject: CheckedGraph) -> None:
        self._shape = subject.shape
        found = quorums.regions(subject)
        self._regions = [
            (join, region) for join, region in found.items() if subject.quorums[join] == 1
        ]

    def apart(self, node: int, other: int) -> bool:
        """Whether at most one of the two can be in the history of anything outside the region."""
        for join, region in self._regions:
            if node in region and other in region:
                return not self._ahead(node, join) & self._ahead(other, join)
        return False

    def _ahead(self, node: int, join: int) -> set[int]:
        """Where what a node wrote may get to before the join: not over its own error edges."""
        following = [
            edge.target
            for edge in self._shape.leaving[node]
            if edge.kind != "error" and edge.target != join
        ]
        return {node} | self._shape.find_reachable(following, without=join)


def _problem(subject: CheckedGraph, fork: int, nodes: tuple[int, ...], mask: int) -> Problem:
    names = subject.field_names(mask)
    several = len(names) > 1
    pronoun, number = ("them", "fields") if several else ("it", "field")
    literal = "both" if len(nodes) == 2 else "all"
    branch = f"they branch at '{subject.shape.name(fork)}'"
    what = f"{subject.named(nodes)} may {literal} write {pronoun} without seeing each other's write: {branch}"
    fix = f"fold the writes ({names[0]}: Annotated[…, a reducer]), write different fields, or let one follow the other"
    vague = [node for node in nodes if subject.writes_anything(node)]
    if vague:
        fix = f"annotate what the function of {subject.named(vague)} returns: without that, as in a lambda, it may write any field"
    return Problem("UNORDERED_WRITES", f"{number} {join_names(names)}", what, fix)

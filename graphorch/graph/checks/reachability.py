"""Every node can be reached and can come to an end, and the only ways back are declared ones."""

from __future__ import annotations

from collections.abc import Iterator

from graphorch.errors import Problem
from graphorch.graph.checks.subject import CheckedGraph
from graphorch.graph.edges import START_INDEX


def check(subject: CheckedGraph) -> Iterator[Problem]:
    """`UNDECLARED_CYCLE`, `UNREACHABLE` and `NO_WAY_TO_END`; the last two once for all the nodes that share the fate."""
    shape = subject.shape
    for edge, nodes in subject.analysis.cycles:
        first, last = shape.name(edge.target), shape.name(edge.source)
        path = " → ".join([*(shape.name(node) for node in nodes), first])
        fix = f"declare the way back with its bound: g.loop({last}, back_to={first}, while_=…, max_iterations=…)"
        yield Problem(
            "UNDECLARED_CYCLE",
            f"edge {subject.edge_name(edge)}",
            f"it closes the cycle {path}, which nothing bounds",
            fix,
        )
    everything = range(len(shape.names))
    lost = [node for node in everything if node not in subject.analysis.reached]
    if lost:
        what = f"no path leads from START to {subject.named(lost)}"
        yield Problem(
            "UNREACHABLE",
            subject.where(lost[0]),
            what,
            "connect a node that runs to it, or g.chain(START, …)",
        )
    ending = shape.find_reachable([shape.end], backwards=True)
    stuck = [node for node in everything if node not in ending]
    if stuck:
        what = f"no path leads from {subject.named(stuck)} to END"
        yield Problem(
            "NO_WAY_TO_END",
            subject.where(stuck[0]),
            what,
            "connect it to what comes next, or to END",
        )
    elif shape.end not in shape.find_reachable([START_INDEX]) and subject.nodes:
        yield Problem(
            "NO_WAY_TO_END",
            "START",
            "no path leads from START to END",
            "connect a node that runs to END",
        )

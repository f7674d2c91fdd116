"""Every node can be reached and leads to END, and every cycle is a declared loop."""

from __future__ import annotations

from collections.abc import Iterator

from graphorch.errors import Problem
from graphorch.graph.checks.checked_graph import CheckedGraph, name_path
from graphorch.graph.edges import START_INDEX


def check(graph: CheckedGraph) -> Iterator[Problem]:
    """`UNDECLARED_CYCLE`; `UNREACHABLE` and `NO_WAY_TO_END`, once for all such nodes."""
    topology = graph.topology
    for edge, nodes in graph.analysis.cycles:
        first, last = topology.name(edge.target), topology.name(edge.source)
        path = name_path(topology, [*nodes, nodes[0]])
        fix = (
            f"declare the way back with its bound: g.loop({last}, back_to={first}, while_=…, "
            "max_iterations=…)"
        )
        yield Problem(
            "UNDECLARED_CYCLE",
            f"edge {graph.edge_name(edge)}",
            f"it closes the cycle {path}, which nothing bounds",
            fix,
        )
    everything = range(len(topology.names))
    lost = [node for node in everything if node not in graph.analysis.reached]
    if lost:
        what = f"no path leads from START to {graph.named(lost)}"
        yield Problem(
            "UNREACHABLE",
            graph.where(lost[0]),
            what,
            "connect a node that runs to it, or g.chain(START, …)",
        )
    ending = topology.find_reachable([topology.end], backwards=True)
    stuck = [node for node in everything if node not in ending]
    if stuck:
        what = f"no path leads from {graph.named(stuck)} to END"
        yield Problem(
            "NO_WAY_TO_END",
            graph.where(stuck[0]),
            what,
            "connect it to what comes next, or to END",
        )
    elif topology.end not in topology.find_reachable([START_INDEX]) and graph.nodes:
        yield Problem(
            "NO_WAY_TO_END",
            "START",
            "no path leads from START to END",
            "connect a node that runs to END",
        )

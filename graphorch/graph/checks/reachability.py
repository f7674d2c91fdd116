"""Every cycle is a declared loop, and every node leads to END.

A node that START does not lead to needs no check: nodes without an edge into them begin a run, so
it is on an undeclared cycle, or behind one. What follows from a cycle is not reported beside it.
"""

from __future__ import annotations

from collections.abc import Iterator

from graphorch.errors import Problem
from graphorch.graph.checks.checked_graph import CheckedGraph, name_path
from graphorch.graph.edges import Edge


def check(graph: CheckedGraph) -> Iterator[Problem]:
    """`UNDECLARED_CYCLE`, once for each node that is led back to; `NO_WAY_TO_END`, once for all."""
    topology = graph.topology
    yield from _check_cycles(graph)
    cyclic = {edge.target for edge, _ in graph.analysis.cycles}
    fine = topology.find_reachable([topology.end, *cyclic], backwards=True)
    stuck = [node for node in range(len(topology.names)) if node not in fine]
    if stuck:
        yield Problem(
            "NO_WAY_TO_END",
            graph.where(stuck[0]),
            f"no path leads from {graph.named(stuck)} to END",
            "connect it to what comes next, or to END",
        )


def _check_cycles(graph: CheckedGraph) -> Iterator[Problem]:
    """Yield each node that undeclared ways lead back to.

    Where two nodes have one name, an edge between them is none to itself: the name is the problem.
    """
    topology = graph.topology
    twice = {problem.where for problem in graph.spec.problems if problem.code == "DUPLICATE_NAME"}
    ways: dict[int, list[tuple[Edge, tuple[int, ...]]]] = {}
    for edge, nodes in graph.analysis.cycles:
        if twice.isdisjoint(map(graph.where, nodes)):
            ways.setdefault(edge.target, []).append((edge, nodes))
    for target, cycles in ways.items():
        first = topology.name(target)
        edges = [edge for edge, _ in cycles]
        nodes = cycles[0][1]
        noun, closes = (
            ("edge", "it closes the cycle")
            if len(edges) == 1
            else ("edges", "they close cycles as")
        )
        listed = ", ".join(map(graph.edge_name, edges[:3])) + (", …" if len(edges) > 3 else "")
        names = [topology.name(edge.source) for edge in edges]
        sources = names[0] if len(names) == 1 else f"[{', '.join(names[:3])}]"
        yield Problem(
            "UNDECLARED_CYCLE",
            f"{noun} {listed}",
            f"{closes} {name_path(topology, [*nodes, nodes[0]])}, which nothing bounds",
            f"to go back, declare it with its bound: g.loop({sources}, back_to={first}, while_=…, "
            f"max_iterations=…); to run it again as a step of its own: {first}.named('{first}_2')",
        )

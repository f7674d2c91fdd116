"""No token leaves a loop while another one of the same iteration starts the next one.

From two edges of a body node that are taken together there must not be vertex-disjoint paths, past
the header, of which one leads to a source of the loop and one to an edge that leaves the body. Such
paths exist if and only if the dominators of "a source", seen from the fork, have nothing in common
with those of "an edge that leaves" (Menger's theorem for two paths).
"""

from __future__ import annotations

from collections.abc import Iterator

from graphorch.errors import Problem
from graphorch.graph.analysis import Choice
from graphorch.graph.checks.checked_graph import CheckedGraph
from graphorch.graph.checks.loops import is_natural
from graphorch.graph.edges import Edge, Loop
from graphorch.graph.topology import LoopNest


def check(graph: CheckedGraph) -> Iterator[Problem]:
    """`LOOP_LEAK`."""
    # A loop with a second entry is an error of its own.
    loops = [loop for loop in graph.topology.loops if is_natural(graph, loop)]
    suspects = _find_suspects(graph, LoopNest(loops))
    for loop in loops:
        for fork, edges in suspects.get(loop.header, ()):
            leak = _find_leak(graph, loop, fork, edges)
            if leak is not None:
                yield _describe(graph, loop, fork, leak)
                break


def _find_suspects(graph: CheckedGraph, nest: LoopNest) -> dict[int, list[tuple[int, Choice]]]:
    """Return for each header the forks in its body whose branches do not simply meet there.

    Mostly all branches meet in the body before any of them can leave or go back, which is cheap to
    see; then they do so in the loops around it, too.
    """
    suspects: dict[int, list[tuple[int, Choice]]] = {}
    for fork, edges in graph.analysis.forks if nest.bodies else ():
        if fork not in nest.innermost:
            continue
        region, back = graph.analysis.region(fork, edges)
        for header in nest.around(fork):
            if not back and nest.bodies[header].issuperset(region):
                break
            suspects.setdefault(header, []).append((fork, edges))
    return suspects


def _find_leak(graph: CheckedGraph, loop: Loop, fork: int, edges: Choice) -> tuple[int, int] | None:
    """Return an edge that one token can take out of the body while another one stays, or None."""
    # 1. What every path from the fork to a source passes, within one iteration.
    inside = loop.body - {fork, loop.header}
    ordered = sorted(inside, key=graph.analysis.position.__getitem__)
    dominators = graph.analysis.dominators_within(fork, edges, ordered)
    to_source = -1
    for source in loop.sources:
        to_source &= dominators.get(source, -1)
    if to_source == -1:
        return None  # no branch goes around
    # 2. A branch that leaves at the fork itself shares nothing with that.
    for edge in edges:
        if edge.target not in loop.body:
            return edge.source, edge.target
    # 3. What every path from the fork to an edge out of the body passes.
    exits: list[tuple[int, Edge]] = []
    to_exit = -1
    for node, mask in dominators.items():
        for edge in graph.topology.leaving[node]:
            if edge.target not in loop.body:
                exits.append((mask, edge))
                to_exit &= mask
    # 4. Without a common node there are disjoint paths. Show an exit that shares none by itself.
    if not exits or to_exit & to_source:
        return None
    edge = next((edge for mask, edge in exits if not mask & to_source), exits[0][1])
    return edge.source, edge.target


def _describe(graph: CheckedGraph, loop: Loop, fork: int, leak: tuple[int, int]) -> Problem:
    name = graph.topology.name
    what = (
        f"from '{name(fork)}' one branch can leave by '{name(leak[0])}' → '{name(leak[1])}' "
        "while another one goes around again"
    )
    sources = graph.named(loop.sources)
    return Problem(
        "LOOP_LEAK",
        graph.loop_title(loop),
        what,
        f"join the side branch before {sources}, or start it after the loop",
    )

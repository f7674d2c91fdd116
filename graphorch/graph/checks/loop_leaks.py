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
from graphorch.graph.edges import Loop


def check(graph: CheckedGraph) -> Iterator[Problem]:
    """`LOOP_LEAK`."""
    for loop in graph.topology.loops:
        if is_natural(graph, loop):
            for fork, edges in graph.analysis.forks:
                if fork in loop.body and (leak := _leaks(graph, loop, fork, edges)) is not None:
                    yield _problem(graph, loop, fork, leak)
                    break


def _leaks(graph: CheckedGraph, loop: Loop, fork: int, edges: Choice) -> tuple[int, int] | None:
    """Return an edge that one token can take out of the body while another one stays, or None."""
    if _meets_inside(graph, loop, fork, edges):
        return None
    inside = [
        node
        for node in graph.analysis.order
        if node in loop.body and node not in (fork, loop.header)
    ]
    dominators = graph.analysis.dominators_within(fork, edges, inside)
    to_source = -1
    for source in loop.sources:
        to_source &= dominators.get(source, -1)
    if to_source == -1:
        return None
    for edge in edges:
        if edge.target not in loop.body:
            return edge.source, edge.target
    exits = [
        (mask, edge)
        for node, mask in dominators.items()
        for edge in graph.topology.leaving[node]
        if edge.target not in loop.body
    ]
    to_exit = -1
    for mask, _ in exits:
        to_exit &= mask
    if not exits or to_exit & to_source:
        return None
    edge = next((edge for mask, edge in exits if not mask & to_source), exits[0][1])
    return edge.source, edge.target


def _meets_inside(graph: CheckedGraph, loop: Loop, fork: int, edges: Choice) -> bool:
    """Return whether all branches meet in the body before any of them can leave or go back.

    This is the common case, and cheap to see.
    """
    region, back = graph.analysis.region(fork, edges)
    return not back and all(node in loop.body for node in region)


def _problem(graph: CheckedGraph, loop: Loop, fork: int, leak: tuple[int, int]) -> Problem:
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

"""No token leaves a loop while another one of the same iteration goes round it.

From two edges of a body node that are taken together there must not be vertex-disjoint paths, past the header, of which one leads to a
source of the loop and one to an edge that leaves the body. Such paths exist if and only if the dominators of "a source", seen from the
fork, have nothing in common with those of "an edge that leaves".
"""

from __future__ import annotations

from collections.abc import Iterator

from graphorch.errors import Problem
from graphorch.graph.analysis import Choice
from graphorch.graph.checks.loops import is_natural, title
from graphorch.graph.checks.subject import CheckedGraph
from graphorch.graph.edges import Loop


def check(subject: CheckedGraph) -> Iterator[Problem]:
    """`LOOP_LEAK`."""
    for loop in subject.shape.loops:
        if is_natural(subject, loop):
            for fork, edges in subject.analysis.forks:
                if fork in loop.body and (leak := _leaks(subject, loop, fork, edges)) is not None:
                    yield _problem(subject, loop, fork, leak)
                    break


def _leaks(subject: CheckedGraph, loop: Loop, fork: int, edges: Choice) -> tuple[int, int] | None:
    """An edge that leaves the body, as source and target, which a token can take while another one stays; or None."""
    if _meets_inside(subject, loop, fork, edges):
        return None
    inside = [
        node
        for node in subject.analysis.order
        if node in loop.body and node not in (fork, loop.header)
    ]
    dominators = subject.analysis.dominators_within(fork, edges, inside)
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
        for edge in subject.shape.leaving[node]
        if edge.target not in loop.body
    ]
    to_exit = -1
    for mask, _ in exits:
        to_exit &= mask
    if not exits or to_exit & to_source:
        return None
    edge = next((edge for mask, edge in exits if not mask & to_source), exits[0][1])
    return edge.source, edge.target


def _meets_inside(subject: CheckedGraph, loop: Loop, fork: int, edges: Choice) -> bool:
    """The common case, cheap to see: all branches meet in one node of the body before any of them can leave or go back."""
    region, back = subject.analysis.region(fork, edges)
    return not back and all(node in loop.body for node in region)


def _problem(subject: CheckedGraph, loop: Loop, fork: int, leak: tuple[int, int]) -> Problem:
    name = subject.shape.name
    what = f"from '{name(fork)}' one branch can leave by '{name(leak[0])}' → '{name(leak[1])}' while another one goes round again"
    sources = subject.named(loop.sources)
    return Problem(
        "LOOP_LEAK",
        title(subject, loop),
        what,
        f"join the side branch before {sources}, or start it after the loop",
    )

"""A loop has a bound, one entry, and a way out."""

from __future__ import annotations

from collections.abc import Iterator

from graphorch.errors import Problem
from graphorch.graph.checks.checked_graph import CheckedGraph
from graphorch.graph.edges import START_INDEX, Edge, Loop
from graphorch.graph.options import is_count


def check(graph: CheckedGraph) -> Iterator[Problem]:
    """`LOOP_BOUND`, `LOOP_NOT_BACK`, `LOOP_ENTRY`, `LOOP_EXHAUSTED_INSIDE` and `LOOP_NO_EXIT`."""
    for loop in graph.spec.loops:
        bound = loop.max_iterations
        if not is_count(bound):
            what = f"max_iterations={bound!r} is not a bound"
            yield Problem(
                "LOOP_BOUND",
                loop.title,
                what,
                "give a whole number from 1 on: how often the body runs per entry",
            )
    for loop in graph.topology.loops:
        yield from _check_entry(graph, loop)
        yield from _check_exhausted(graph, loop)
    yield from _check_exits(graph)


def is_natural(graph: CheckedGraph, loop: Loop) -> bool:
    """Return whether the header dominates every source, so that every way in passes the header."""
    analysis = graph.analysis
    return all(
        source in analysis.reached and analysis.dominates(loop.header, source)
        for source in loop.sources
    )


def _check_entry(graph: CheckedGraph, loop: Loop) -> Iterator[Problem]:
    topology, analysis = graph.topology, graph.analysis
    header = topology.name(loop.header)
    avoiding = [
        source
        for source in loop.sources
        if source in analysis.reached and not analysis.dominates(loop.header, source)
    ]
    inside = _find_between(graph, loop) if avoiding else set[int]()
    for source in avoiding:
        name = topology.name(source)
        if source not in inside:
            what = f"'{header}' does not lead to '{name}', so this is not a way back"
            yield Problem(
                "LOOP_NOT_BACK",
                graph.loop_title(loop),
                what,
                f"use g.chain({name}, {header}), or name a node that runs before '{name}'",
            )
            continue
        edge = _find_second_entry(graph, loop, inside, source)
        what = f"its body is also entered by {graph.edge_name(edge)}, past its header '{header}'"
        fix = (
            f"lead {graph.edge_name(edge)} to '{header}' instead, or loop back to a node that "
            f"every way to '{name}' passes"
        )
        yield Problem("LOOP_ENTRY", graph.loop_title(loop), what, fix)


def _find_between(graph: CheckedGraph, loop: Loop) -> set[int]:
    """Return the part of the body that the header leads to, without other entries."""
    inside = {loop.header}
    pending = [loop.header]
    while pending:
        for edge in graph.topology.leaving[pending.pop()]:
            if edge.target in loop.body and edge.target not in inside:
                inside.add(edge.target)
                pending.append(edge.target)
    return inside


def _find_second_entry(graph: CheckedGraph, loop: Loop, inside: set[int], source: int) -> Edge:
    """Return the edge by which a path from START enters the body past the header."""
    pending, seen = [source], {source}
    while True:
        for edge in graph.topology.entering[pending.pop()]:
            if edge.source == START_INDEX or (
                edge.source not in inside and edge.source in graph.analysis.reached
            ):
                return edge
            if edge.source != loop.header and edge.source not in seen:
                seen.add(edge.source)
                pending.append(edge.source)


def _check_exhausted(graph: CheckedGraph, loop: Loop) -> Iterator[Problem]:
    target = loop.exhausted_target
    if target is not None and target in loop.body:
        what = f"exhausted={graph.topology.name(target)} is inside the loop's own body"
        yield Problem(
            "LOOP_EXHAUSTED_INSIDE", graph.loop_title(loop), what, "name a node after the loop"
        )


def _check_exits(graph: CheckedGraph) -> Iterator[Problem]:
    topology = graph.topology
    stuck: dict[int, Loop] = {}
    for loop in topology.loops:
        for source in loop.sources:
            if not any(edge.kind in ("always", "routed") for edge in topology.leaving[source]):
                stuck.setdefault(source, loop)
    for source, loop in stuck.items():
        name = topology.name(source)
        what = f"when it stops at '{name}', nothing leads on from there"
        yield Problem(
            "LOOP_NO_EXIT",
            graph.loop_title(loop),
            what,
            f"connect what comes next: g.chain({name}, …), or g.chain({name}, END)",
        )

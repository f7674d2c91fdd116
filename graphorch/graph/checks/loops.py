"""A loop has a bound, one entry, and a way out."""

from __future__ import annotations

from collections.abc import Iterator

from graphorch.errors import Problem
from graphorch.graph.checks.subject import CheckedGraph
from graphorch.graph.edges import START_INDEX, Edge, Loop
from graphorch.graph.options import is_count


def check(subject: CheckedGraph) -> Iterator[Problem]:
    """`LOOP_BOUND`, `LOOP_NOT_BACK`, `LOOP_ENTRY`, `LOOP_EXHAUSTED_INSIDE` and `LOOP_NO_EXIT`."""
    for loop in subject.blueprint.loops:
        bound = loop.max_iterations
        if not is_count(bound):
            what = f"max_iterations={bound!r} is no bound"
            where = f"loop '{', '.join(loop.sources)}' → '{loop.header}'"
            yield Problem(
                "LOOP_BOUND",
                where,
                what,
                "give a whole number from 1 on: how often the body runs per entry",
            )
    for loop in subject.shape.loops:
        yield from _entry(subject, loop)
        yield from _exhausted(subject, loop)
    yield from _exits(subject)


def title(subject: CheckedGraph, loop: Loop) -> str:
    """How a problem names a loop."""
    names = ", ".join(subject.shape.name(source) for source in loop.sources)
    return f"loop '{names}' → '{subject.shape.name(loop.header)}'"


def is_natural(subject: CheckedGraph, loop: Loop) -> bool:
    """Whether the header dominates every source, so that the body is what it should be."""
    analysis = subject.analysis
    return all(
        source in analysis.reached and analysis.dominates(loop.header, source)
        for source in loop.sources
    )


def _entry(subject: CheckedGraph, loop: Loop) -> Iterator[Problem]:
    shape, analysis = subject.shape, subject.analysis
    header = shape.name(loop.header)
    inside = _between(subject, loop)
    for source in loop.sources:
        name = shape.name(source)
        if source not in analysis.reached or analysis.dominates(loop.header, source):
            continue
        if source not in inside:
            what = f"'{header}' does not lead to '{name}', so this is no way back"
            yield Problem(
                "LOOP_NOT_BACK",
                title(subject, loop),
                what,
                f"use g.chain({name}, {header}), or name a node that runs before '{name}'",
            )
            continue
        edge = _second_entry(subject, loop, inside, source)
        what = f"its body is also entered by {subject.edge_name(edge)}, past its header '{header}'"
        fix = f"lead {subject.edge_name(edge)} to '{header}' instead, or loop back to a node that every way to '{name}' passes"
        yield Problem("LOOP_ENTRY", title(subject, loop), what, fix)


def _between(subject: CheckedGraph, loop: Loop) -> set[int]:
    """The header and all that it leads to on the way to a source: the body, without what entered it from elsewhere."""
    found = {loop.header}
    pending = [loop.header]
    while pending:
        for edge in subject.shape.leaving[pending.pop()]:
            if edge.target in loop.body and edge.target not in found:
                found.add(edge.target)
                pending.append(edge.target)
    return found


def _second_entry(subject: CheckedGraph, loop: Loop, inside: set[int], source: int) -> Edge:
    """The edge by which a path from START comes into the body but not through the header."""
    pending, seen = [source], {source}
    while True:
        for edge in subject.shape.entering[pending.pop()]:
            if edge.source == START_INDEX or (
                edge.source not in inside and edge.source in subject.analysis.reached
            ):
                return edge
            if edge.source != loop.header and edge.source not in seen:
                seen.add(edge.source)
                pending.append(edge.source)


def _exhausted(subject: CheckedGraph, loop: Loop) -> Iterator[Problem]:
    target = loop.exhausted_target
    if target is not None and target in loop.body:
        what = f"exhausted={subject.shape.name(target)} is inside the loop's own body"
        yield Problem(
            "LOOP_EXHAUSTED_INSIDE", title(subject, loop), what, "name a node after the loop"
        )


def _exits(subject: CheckedGraph) -> Iterator[Problem]:
    shape = subject.shape
    stuck: dict[int, Loop] = {}
    for loop in shape.loops:
        for source in loop.sources:
            if not any(edge.kind in ("always", "routed") for edge in shape.leaving[source]):
                stuck.setdefault(source, loop)
    for source, loop in stuck.items():
        name = shape.name(source)
        what = f"when it stops at '{name}', nothing leads on from there"
        yield Problem(
            "LOOP_NO_EXIT",
            title(subject, loop),
            what,
            f"connect what comes next: g.chain({name}, …), or g.chain({name}, END)",
        )

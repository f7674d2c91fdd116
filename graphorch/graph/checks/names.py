"""Every node that was made is part of the graph, and START and END are only used as what they are."""

from __future__ import annotations

from collections.abc import Iterator

from graphorch.errors import Problem
from graphorch.graph.checks.subject import CheckedGraph


def check(subject: CheckedGraph) -> Iterator[Problem]:
    """`EMPTY_GRAPH`, `NOT_CONNECTED`, `INTO_START` and `OUT_OF_END`."""
    blueprint = subject.blueprint
    if not subject.nodes:
        yield Problem(
            "EMPTY_GRAPH",
            f"graph '{blueprint.name}'",
            "it has no node",
            "connect at least one: g.chain(first)",
        )
    for name in subject.shape.names:
        if name not in blueprint.connected:
            what = "it was created but never connected"
            yield Problem(
                "NOT_CONNECTED",
                f"node '{name}'",
                what,
                "name it in chain(), route() or loop(), or remove it",
            )
    yield from _markers(subject)


def _markers(subject: CheckedGraph) -> Iterator[Problem]:
    blueprint = subject.blueprint
    sources = [(source, f"edge '{source}' → '{target}'") for source, target in blueprint.edges]
    targets = [(target, f"edge '{source}' → '{target}'") for source, target in blueprint.edges]
    for route in blueprint.routes:
        sources.append((route.source, f"route of '{route.source}'"))
        named = [target for _, found in route.cases for target in found] + list(
            route.otherwise or ()
        )
        targets += [(target, f"route of '{route.source}'") for target in named]
    for loop in blueprint.loops:
        where = f"loop '{', '.join(loop.sources)}' → '{loop.header}'"
        sources += [(source, where) for source in (*loop.sources, loop.header)]
        targets += [
            (target, where)
            for target in (
                *loop.sources,
                loop.header,
                *([loop.exhausted] if loop.exhausted_is_node else []),
            )
        ]
    for error in blueprint.errors:
        where = f"on_error '{error.source}' → '{error.handler}'"
        sources.append((error.source, where))
        targets.append((error.handler, where))
    for name, where in sources:
        if name == "END" or (name == "START" and not where.startswith("edge")):
            what = (
                f"{name} is not a node: it neither runs nor leads anywhere"
                if name == "END"
                else "START is not a node: it runs nothing"
            )
            yield Problem(
                "OUT_OF_END" if name == "END" else "OUT_OF_START",
                where,
                what,
                "start from a node, or leave this out",
            )
    for name, where in targets:
        if name == "START":
            yield Problem(
                "INTO_START",
                where,
                "nothing can lead to START",
                "lead to the first node, by a loop if it has run before",
            )

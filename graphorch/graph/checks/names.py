"""The graph has a name, every node is connected, and START and END are what they are."""

from __future__ import annotations

from collections.abc import Iterator

from graphorch.errors import Problem
from graphorch.graph.checks.checked_graph import CheckedGraph
from graphorch.text import LONGEST_NAME, is_name


def check(graph: CheckedGraph) -> Iterator[Problem]:
    """`GRAPH_NAME`, `EMPTY_GRAPH`, `NOT_CONNECTED`, `INTO_START` and `OUT_OF_END`."""
    spec = graph.spec
    if not is_name(spec.name):
        yield Problem(
            "GRAPH_NAME",
            f"graph {spec.name!r:.80}",
            "this is not a name for a graph",
            f"use one line of 1 to {LONGEST_NAME} visible characters: Graph('team', …)",
        )
    # Where everything that was connected is no node, that problem says it all.
    if not graph.nodes and all(problem.code != "NOT_A_NODE" for problem in spec.problems):
        yield Problem(
            "EMPTY_GRAPH",
            f"graph '{spec.name}'",
            "it has no node",
            "connect at least one: g.chain(first)",
        )
    for name in graph.topology.names:
        if name not in spec.connected:
            what = "it was created but never connected"
            yield Problem(
                "NOT_CONNECTED",
                f"node '{name}'",
                what,
                "name it in chain(), route() or loop(), or remove it",
            )
    yield from _check_markers(graph)


def _check_markers(graph: CheckedGraph) -> Iterator[Problem]:
    spec = graph.spec
    sources = [(source, f"edge '{source}' → '{target}'") for source, target in spec.edges]
    targets = [(target, f"edge '{source}' → '{target}'") for source, target in spec.edges]
    for route in spec.routes:
        sources.append((route.source, f"route of '{route.source}'"))
        named = [target for _, to in route.cases for target in to] + list(route.otherwise or ())
        targets += [(target, f"route of '{route.source}'") for target in named]
    for loop in spec.loops:
        ends = [(name, loop.title) for name in (*loop.sources, loop.header)]
        sources += ends
        targets += ends
        if loop.exhausted_is_node:
            targets.append((loop.exhausted, loop.title))
    for error in spec.errors:
        where = f"on_error '{error.source}' → '{error.handler}'"
        sources.append((error.source, where))
        targets.append((error.handler, where))
    for name, where in sources:
        if name == "END" or (name == "START" and not where.startswith("edge")):
            code, what = "OUT_OF_START", "START is not a node: it runs nothing"
            if name == "END":
                code, what = "OUT_OF_END", "END is not a node: it neither runs nor leads anywhere"
            yield Problem(code, where, what, "start from a node, or leave this out")
    for name, where in targets:
        if name == "START":
            yield Problem(
                "INTO_START",
                where,
                "nothing can lead to START",
                "lead to the first node, by a loop if it has run before",
            )

"""Every `on_error` edge can be taken, and what it leads past does not read defaults unawares.

A handler that reads the `Failure` always gets one.
"""

from __future__ import annotations

from collections.abc import Iterator

from graphorch.errors import Problem
from graphorch.graph.checks.checked_graph import CheckedGraph, Use, join_names
from graphorch.graph.edges import Edge
from graphorch.graph.payloads import Failure


def check(graph: CheckedGraph) -> Iterator[Problem]:
    """`ERROR_SHADOWED`, `FAILURE_READ` and `FAILURE_UNSEEN`."""
    yield from _check_shadowed(graph)
    yield from _check_unseen(graph)
    for index, node in enumerate(graph.nodes):
        reads = [read for read in node.signature.reads if read.model is Failure]
        others = [edge for edge in graph.topology.entering[index] if edge.kind != "error"]
        if len(reads) > 1:
            yield Problem(
                "FAILURE_READ",
                graph.where(index),
                "it reads the Failure twice",
                "keep one of the parameters",
            )
        elif reads and not reads[0].optional and others:
            what = f"it reads a Failure, but {graph.edge_name(others[0])} does not bring one"
            yield Problem(
                "FAILURE_READ",
                graph.where(index),
                what,
                "lead to it by on_error() only, or read `Failure | None`",
            )


def _check_shadowed(graph: CheckedGraph) -> Iterator[Problem]:
    earlier: dict[str, list[tuple[str, type[Exception]]]] = {}
    for error in graph.spec.errors:
        before = earlier.setdefault(error.source, [])
        # The earlier declaration that takes each of these exceptions, if there is one.
        taken = [
            next((item for item in before if issubclass(kind, item[1])), None)
            for kind in error.when
        ]
        if taken and taken[0] is not None and all(taken):
            handler, kind = taken[0]
            where = f"on_error '{error.source}' → '{error.handler}'"
            what = (
                f"it is never taken: {kind.__name__}, declared before, already leads to '{handler}'"
            )
            yield Problem("ERROR_SHADOWED", where, what, "declare the narrower exceptions first")
        before += [(error.handler, kind) for kind in error.when]


# ---- joins that run without a branch that failed -------------------------------------------------
def _check_unseen(graph: CheckedGraph) -> Iterator[Problem]:
    """Yield joins that go on without a branch that failed, and read defaults in its place.

    The handler of the branch leads past the join, which then runs with the tokens of the others.
    """
    failing = [edge for edge in graph.topology.edges if edge.kind == "error"]
    if not failing:
        return
    uses: dict[int, list[Use]] = {}
    for use in graph.uses:
        # A parameter without annotation, as in a lambda, may read any field, or none of these.
        if use.model is not None and not use.optional and use.node != graph.topology.end:
            uses.setdefault(use.node, []).append(use)
    joins = {
        node: graph.topology.find_reachable([node], backwards=True)
        for node in uses
        if len(graph.analysis.before(node)) > 1 and node not in graph.quorums
    }
    for edge in failing:
        settled = graph.analysis.after_commit(edge.source)
        for node, before in joins.items():
            if settled >> node & 1 and _runs_without(graph, edge, node, before):
                yield from _find_defaults(graph, edge, node, before, uses[node])


def _runs_without(graph: CheckedGraph, error: Edge, join: int, before: set[int]) -> bool:
    """Return whether a join may run although a branch of it failed, without what handled that."""
    failed = error.source
    # Each way to the join leads through the node that failed, or its handler leads there too.
    if graph.analysis.dominates(failed, join) or error.target in before:
        return False
    others = graph.topology.find_reachable([join], backwards=True, without=failed)
    ahead = graph.topology.find_reachable([failed], backwards=True)
    # Some fork leads both to the node that failed and past it.
    return any(
        other.target in others
        for _, edges in graph.analysis.forks
        for edge in edges
        if edge.target in ahead
        for other in edges
        if other is not edge
    )


def _find_defaults(
    graph: CheckedGraph, error: Edge, join: int, before: set[int], uses: list[Use]
) -> Iterator[Problem]:
    """Yield the slices of a join of which only the branch that failed would have written fields."""
    failed, lost, rest = error.source, 0, graph.given | graph.required
    for node in before - {join}:
        # What the join leads back to may write the field in an earlier round.
        if graph.analysis.dominates(failed, node) and not graph.writes_anything(node):
            lost |= graph.may_write[node]
        else:
            rest |= graph.may_write[node]
    name = graph.topology.name
    for use in uses:
        unseen = graph.field_names(graph.mask(use.model) & lost & ~rest if use.model else 0)
        if unseen and use.model is not None:
            yield Problem(
                "FAILURE_UNSEEN",
                use.where,
                f"if '{name(failed)}' fails, '{name(error.target)}' handles that and "
                f"'{name(join)}' runs all the same, with the default of {join_names(unseen)}, "
                f"which only the branch of '{name(failed)}' writes",
                f"read `{use.model.__name__} | None`, which is None then, or lead on from "
                f"'{name(error.target)}' to '{name(join)}'",
                "warning",
            )

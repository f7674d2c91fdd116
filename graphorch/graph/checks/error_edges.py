"""Every `on_error` edge can be taken, and a handler that reads the `Failure` always gets one."""

from __future__ import annotations

from collections.abc import Iterator

from graphorch.errors import Problem
from graphorch.graph.checks.checked_graph import CheckedGraph
from graphorch.graph.payloads import Failure


def check(graph: CheckedGraph) -> Iterator[Problem]:
    """`ERROR_SHADOWED` and `FAILURE_READ`."""
    yield from _check_shadowed(graph)
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

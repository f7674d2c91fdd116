"""A declared join can be met: `need="all"` by every run, `need=k` by as many edges as there are."""

from __future__ import annotations

from collections.abc import Iterator

from graphorch.errors import Problem
from graphorch.graph.checks.checked_graph import CheckedGraph
from graphorch.graph.edges import START_INDEX, Edge
from graphorch.graph.options import is_count


def check(graph: CheckedGraph) -> Iterator[Problem]:
    """`JOIN_TWICE`, `JOIN_OPTION`, `JOIN_NEED` and `JOIN_ALL`."""
    seen: set[int] = set()
    for node, join in graph.joins:
        where = f"join of '{join.node}'"
        if node in seen:
            yield Problem(
                "JOIN_TWICE",
                where,
                "join() is called twice for this node",
                "keep one join() for each node",
            )
        seen.add(node)
        need = join.need
        edges = [edge for edge in graph.topology.entering[node] if edge.kind != "loop"]
        if join.short not in ("fail", "fire"):
            yield Problem(
                "JOIN_OPTION",
                where,
                f"short={join.short!r} is not possible",
                'give "fail" or "fire"',
            )
        if join.rest not in ("cancel", "finish"):
            yield Problem(
                "JOIN_OPTION",
                where,
                f"rest={join.rest!r} is not possible",
                'give "cancel" or "finish"',
            )
        elif join.rest == "finish" and isinstance(need, str):
            yield Problem(
                "JOIN_OPTION",
                where,
                f'rest="finish" has no meaning with need={need!r}, which leaves nothing unfinished',
                "give need a number, or leave rest out",
            )
        if isinstance(need, str) and need not in ("arriving", "all"):
            yield Problem(
                "JOIN_OPTION",
                where,
                f"need={need!r} is not possible",
                'give "arriving", "all" or a number',
            )
        elif need == "all":
            yield from _check_all(graph, node, where)
        elif not isinstance(need, str) and not (is_count(need) and need <= len(edges)):
            count = f"{len(edges)} edge{'s lead' if len(edges) != 1 else ' leads'}"
            yield Problem(
                "JOIN_NEED",
                where,
                f"need={need!r} is out of range: {count} to it",
                f"give a number from 1 to {max(len(edges), 1)}",
            )


def _check_all(graph: CheckedGraph, node: int, where: str) -> Iterator[Problem]:
    """Yield the edges that do not always deliver.

    An edge always delivers if a token at the join's dominator cannot avoid taking it.
    """
    edges = graph.topology.entering[node]
    start = graph.analysis.dominator[node]
    if node not in graph.analysis.reached:
        return
    certain = _find_certain_edges(graph, edges)[start if start >= 0 else START_INDEX]
    for number, edge in enumerate(edges):
        if not certain >> number & 1:
            what = f'need="all" waits for {graph.edge_name(edge)}, which not every run takes'
            yield Problem(
                "JOIN_ALL",
                where,
                what,
                'use the default need="arriving", which waits for what can still arrive',
            )


def _find_certain_edges(graph: CheckedGraph, edges: list[Edge]) -> list[int]:
    """Return for each node which of these edges a token there takes in any case.

    Edges are bits by their position in the list. This is a greatest fixed point, as in
    `Analysis.unavoidable`.
    """
    analysis, join = graph.analysis, edges[0].target
    bit = {edge.index: 1 << number for number, edge in enumerate(edges)}
    # Start from "all edges" and take away what some choice avoids, until nothing changes.
    everything = (1 << len(edges)) - 1
    certain = [everything] * (analysis.count + 1)
    changed = True
    while changed:
        changed = False
        for node in reversed(analysis.order):
            if node == join:
                continue
            ahead = everything if analysis.choices[node] else 0
            for choice in analysis.choices[node]:
                mask = 0
                for edge in choice:
                    mask |= bit.get(edge.index, 0)
                    # What lies behind the join belongs to its next activation.
                    if edge.target != join:
                        mask |= certain[edge.target]
                ahead &= mask
            if ahead != certain[node]:
                certain[node], changed = ahead, True
    return certain

"""Pure functions return what is expected where they were given, as far as an annotation says."""

from __future__ import annotations

from collections.abc import Iterator

from graphorch.errors import Problem
from graphorch.graph.checks.annotations import format_hint, is_clash, read_return
from graphorch.graph.checks.checked_graph import CheckedGraph


def check(graph: CheckedGraph) -> Iterator[Problem]:
    """`PURE_RETURN`: conditions of loops, gates, and what patterns ask for verdicts and scores."""
    for expected in graph.spec.returns:
        hint = read_return(expected.function.fn)
        if is_clash(hint, *expected.wanted):
            what = f"'{expected.function.name}' is annotated to return {format_hint(hint)}"
            yield Problem("PURE_RETURN", expected.where, what, expected.fix)

"""Laws: marks get exactly as far as an oracle that walks every way finds."""

from __future__ import annotations

from hypothesis import given, settings

from graphorch.graph.information_flow.inspected_graph import InspectedNode, inspect_spec
from graphorch.graph.information_flow.propagation import Propagation, Spread
from graphorch.state.marks import MarkName
from tests.graph.information_flow.marked_graphs import (
    Drawing,
    drawings,
    walk_decisions,
    walk_fields,
)


class NothingInside:
    """Maps and sub-flows of graphs that have none."""

    def gives(
        self, inspected: InspectedNode, mark: MarkName, *, is_given: bool, is_decided: bool
    ) -> bool:
        raise AssertionError("no node has an inside")

    def asks(self, inspected: InspectedNode) -> bool:
        return False


def spread(drawing: Drawing, *, decides: bool) -> tuple[Spread, dict[int, set[str]]]:
    """Return the marks of a graph, also as names by node; secrets do not decide."""
    spec, topology, analysis = drawing.build()
    graph = inspect_spec(spec, topology, analysis)
    found = Propagation(graph, "untrusted", graph.given["untrusted"], NothingInside())
    if not decides:
        found.decisions.by_choice = found.decisions.by_failing = lambda node: set()  # type: ignore[method-assign]
    result = found.run()
    names = {node: set(graph.list_fields(mask)) for node, mask in enumerate(result.arriving)}
    return result, names


@given(drawings())
@settings(max_examples=25)
def test_marks_reach_what_walks_reach(drawing: Drawing) -> None:
    """Each node gets the marked fields that walks of single values bring there, and no other."""
    _, topology, _ = drawing.build()
    _, names = spread(drawing, decides=False)
    assert names == walk_fields(drawing, topology)


@given(drawings(kinds=("plain", "effect"), ways_back=False))
@settings(max_examples=25)
def test_decided_nodes_are_those_that_labels_toggle(drawing: Drawing) -> None:
    """A node is decided if and only if a label that depends on a mark adds it to a run, or not."""
    _, topology, _ = drawing.build()
    result, names = spread(drawing, decides=True)
    arrived, decided = walk_decisions(drawing, topology)
    assert set(result.decided) == decided
    assert names == arrived

"""A plan as a networkx graph, which is also the oracle for our own analyses."""

from __future__ import annotations

import networkx

from graphorch.graph.analysis import Analysis
from graphorch.render.networkx import to_networkx
from tests.scenarios.flows import FLOWS


def test_export_keeps_nodes_and_edges() -> None:
    """Nodes and edges are exported with their kinds."""
    graph = FLOWS["routes"]().to_networkx()
    assert set(graph) == {"START", "END", "first", "second", "even", "a", "b", "c", "end"}
    assert graph.nodes["first"]["kind"] == "node"
    assert [data["labels"] for _, _, data in graph.edges("first", data=True)] == [
        ("even",),
        ("odd",),
    ]


def test_sub_flow_holds_inner_graph() -> None:
    """The node of a sub-flow holds the graph inside it."""
    graph = FLOWS["sub_flows"]().to_networkx()
    assert set(graph.nodes["team"]["inner"]) == {"START", "END", "up", "i3", "deeper"}


def test_dominators_agree_with_networkx() -> None:
    """Loops are the only cycles, and networkx finds the dominators that we find."""
    for build in FLOWS.values():
        plan = build().plan
        graph = to_networkx(plan)
        forward = networkx.MultiDiGraph(
            (u, v) for u, v, data in graph.edges(data=True) if data["kind"] != "loop"
        )
        assert networkx.is_directed_acyclic_graph(forward)
        theirs = networkx.immediate_dominators(networkx.DiGraph(forward), "START")
        analysis = Analysis(plan.topology)
        ours = {
            plan.topology.name(node): plan.topology.name(above)
            for node, above in enumerate(analysis.dominator[: len(plan.steps)])
        }
        assert ours == {node: above for node, above in theirs.items() if node != "START"}

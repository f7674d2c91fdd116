"""A plan as a networkx graph, which is also the oracle for our own analyses."""

from __future__ import annotations

import networkx

from graphorch.graph.analysis import Analysis
from graphorch.graph.networkx import to_networkx
from tests.scenarios.flows import FLOWS


def test_every_node_and_edge_is_there_with_its_kind() -> None:
    graph = FLOWS["routes"]().to_networkx()
    assert set(graph) == {"START", "END", "first", "second", "even", "a", "b", "c", "end"}
    assert graph.nodes["first"]["kind"] == "node"
    assert [data["labels"] for _, _, data in graph.edges("first", data=True)] == [
        ("even",),
        ("odd",),
    ]


def test_a_sub_flow_holds_its_own_graph() -> None:
    graph = FLOWS["sub_flows"]().to_networkx()
    assert set(graph.nodes["team"]["inner"]) == {"START", "END", "up", "i3", "deeper"}


def test_loops_are_the_only_cycles_and_dominators_agree_with_ours() -> None:
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

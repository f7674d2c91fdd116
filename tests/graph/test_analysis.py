"""Order, dominators and what cannot be avoided, against searches of paths on random graphs."""

from __future__ import annotations

import random
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from graphorch.graph.analysis import Analysis, group_coinciding
from graphorch.graph.edges import START_INDEX, Topology
from graphorch.graph.topology import build_topology
from tests.graph.drawn import Drawing, plant_mistakes, random_drawing


def analysed(seed: int) -> Analysis:
    return Analysis(build_topology(random_drawing(seed, size=9).blueprint))


@given(seed=st.integers(0, 2**32))
def test_order_follows_forward_edges(seed: int) -> None:
    """Every edge but a way back leads on in the order."""
    analysis = analysed(seed)
    assert sorted(analysis.order) == [START_INDEX, *range(analysis.topology.end + 1)]
    assert analysis.cycles == []
    for edge in analysis.topology.edges:
        assert (
            edge.kind == "loop" or analysis.position[edge.source] < analysis.position[edge.target]
        )


def find_dominated(topology: Topology, node: int, start: int) -> set[int]:
    """Return the nodes that a node leads to and that cannot be reached without another one."""
    without = topology.find_reachable([start], without=node)
    return {other for other in topology.find_reachable([start]) if other not in without}


@given(seed=st.integers(0, 2**32), mistakes=st.integers(0, 6))
def test_dominators_match_path_search(seed: int, mistakes: int) -> None:
    """A node dominates the nodes that cannot be reached without it, in broken graphs too."""
    drawing = random_drawing(seed, size=9)
    plant_mistakes(drawing, random.Random(seed), mistakes)
    topology = build_topology(drawing.blueprint)
    analysis = Analysis(topology)
    for node in range(topology.end):
        expected = find_dominated(topology, node, START_INDEX) | {node}
        dominated = {other for other in range(topology.end + 1) if analysis.dominates(node, other)}
        assert dominated == expected
        above = set(analysis.dominators(node))
        assert above == {
            other
            for other in range(topology.end + 1)
            if other != node and node in find_dominated(topology, other, START_INDEX)
        }


@given(seed=st.integers(0, 2**32), mistakes=st.integers(0, 3))
def test_one_node_is_on_every_path(seed: int, mistakes: int) -> None:
    """What is found to pass one node past a fork cannot be reached from it without some node."""
    drawing = random_drawing(seed, size=9)
    plant_mistakes(drawing, random.Random(seed), mistakes)
    topology = build_topology(drawing.blueprint)
    analysis = Analysis(topology)
    for fork, edges in analysis.forks:
        nodes = sorted(topology.find_reachable([edge.target for edge in edges]) - {fork})
        for one, two in combinations(nodes, 2):
            if analysis.pass_one_node(fork, [one, two]):
                assert any(
                    {one, two} <= find_dominated(topology, node, fork)
                    for node in range(topology.end + 1)
                    if node != fork
                )


@given(seed=st.integers(0, 2**32))
def test_disjoint_paths_match_dominators(seed: int) -> None:
    """The dominators of two nodes overlap exactly if a single node cuts both off (Menger 1927)."""
    analysis = analysed(seed)
    shape = analysis.topology
    for fork, edges in analysis.forks:
        region, back = analysis.region(fork, edges)
        dominators = analysis.dominators_within(fork, edges, region)
        assert set(dominators) == set(region) or back
        starts = [edge.target for edge in edges if edge.target != fork]
        for node, mask in dominators.items():
            for other in range(shape.end + 1):
                if other not in (node, fork) and other in dominators:
                    cut = node not in _from(analysis, starts, fork, other, set(region))
                    assert bool(mask >> other & 1) == cut, (fork, node, other)


def _from(
    analysis: Analysis, starts: list[int], fork: int, without: int, inside: set[int]
) -> set[int]:
    pending, reachable = [start for start in starts if start != without], set[int]()
    while pending:
        node = pending.pop()
        if node in inside and node not in reachable and node not in (fork, without):
            reachable.add(node)
            pending.extend(edge.target for edge in analysis.topology.leaving[node])
    return reachable


def drawn(*lines: str) -> Drawing:
    drawing = Drawing()
    drawing.nodes(
        dict.fromkeys(
            name
            for line in lines
            for step in line.split(">")
            for name in step.split(",")
            if name != "END"
        )
    )
    drawing.edges(*lines)
    return drawing


def ahead(drawing: Drawing, name: str) -> set[str]:
    shape = build_topology(drawing.blueprint)
    mask = Analysis(shape).unavoidable[shape.names.index(name)]
    return {shape.name(node) for node in range(shape.end + 1) if mask >> node & 1}


def test_unavoidable_nodes_of_fork_and_route() -> None:
    """A node is unavoidable behind any branch of a fork, or behind all branches of a route."""
    assert ahead(drawn("f>a,b", "a>c"), "f") == {"f", "a", "b", "c", "END"}
    routed = drawn("a>c", "b>c")
    routed.node("f")
    routed.route("f", {"one": "a", "two": "b"})
    assert ahead(routed, "f") == {"f", "c", "END"}


def test_loop_end_is_unavoidable() -> None:
    """The end of a loop is unavoidable, unless a node of it fails."""
    drawing = drawn("h>s>z")
    drawing.loop("s", "h")
    assert ahead(drawing, "h") == {"h", "s", "z", "END"}
    drawing.node("rescue")
    drawing.error("h", "rescue")
    assert ahead(drawing, "h") == {"h", "END"}
    assert ahead(drawing, "s") == {"s", "END"}  # it may go round once more, and fail then


def test_region_ends_where_branches_met() -> None:
    """The region of a fork ends where its branches have met."""
    shape = build_topology(drawn("f>a,b", "a>c>j", "b>j>d,e>k").blueprint)
    analysis = Analysis(shape)
    regions = {
        shape.name(fork): "".join(shape.name(node) for node in analysis.region(fork, edges)[0])
        for fork, edges in analysis.forks
    }
    assert {name: "".join(sorted(nodes)) for name, nodes in regions.items()} == {
        "f": "abcj",
        "j": "dek",
    }


def test_fork_edges_are_taken_together() -> None:
    """Only edges that a single commit takes together make a fork."""
    drawing = drawn("a>z", "b>z", "c>z")
    drawing.node("f")
    drawing.route("f", {"one": ["a", "b"], "two": "c"})
    drawing.error("f", "z")
    shape = build_topology(drawing.blueprint)
    assert [
        [shape.name(edge.target) for edge in edges]
        for edges in group_coinciding(shape, shape.names.index("f"))
    ] == [["a", "b"]]

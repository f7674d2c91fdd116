"""Edges of every kind, implicit ones included, and the bodies of loops."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from graphorch.graph.edges import OTHERWISE, START_INDEX, Topology
from graphorch.graph.topology import build_topology
from tests.graph.content import Sketch, any_kind, kind_of, kinds_of, look, note, tidy
from tests.graph.drawn import Drawing, nested_drawing, plant_mistakes, random_drawing


def edges(shape: Topology, kind: str = "") -> set[str]:
    return {
        f"{shape.name(edge.source)}>{shape.name(edge.target)}"
        for edge in shape.edges
        if kind in ("", edge.kind)
    }


def drawn(*lines: str, nodes: str = "") -> Drawing:
    drawing = Drawing()
    drawing.nodes(
        dict.fromkeys(
            [
                name
                for line in lines
                for step in line.split(">")
                for name in step.split(",")
                if name != "END"
            ]
            + list(nodes)
        )
    )
    drawing.edges(*lines)
    return drawing


def test_implicit_edges_from_start_and_to_end() -> None:
    """Nodes without an edge in follow START, and nodes without an edge out lead to END."""
    assert edges(build_topology(drawn("a>b", nodes="c").blueprint)) == {
        "START>a",
        "a>b",
        "b>END",
        "START>c",
        "c>END",
    }


def test_repeated_edge_counts_once() -> None:
    """An edge that is declared twice counts once."""
    assert len(build_topology(drawn("a>b", "a>b").blueprint).edges) == 3


def test_header_with_only_loop_edge_begins() -> None:
    """A header that only its loop leads to follows START."""
    drawing = drawn("a>b>c")
    drawing.loop("b", "a")
    assert edges(build_topology(drawing.blueprint), "always") == {"START>a", "a>b", "b>c", "c>END"}


def test_handler_and_failing_node_edges() -> None:
    """A handler does not follow START, and a node with only an error edge leads to END."""
    drawing = drawn("a>b", nodes="h")
    drawing.error("b", "h", ValueError)
    shape = build_topology(drawing.blueprint)
    assert edges(shape) == {"START>a", "a>b", "b>h", "b>END", "h>END"}
    (edge,) = (edge for edge in shape.edges if edge.kind == "error")
    assert edge.labels == (ValueError,)


def test_bare_loop_sources_end_together() -> None:
    """Sources without another edge out lead to END only if all sources of their loop are such."""
    both = drawn("a>b,c")
    both.loop("b,c", "a")
    assert {"b>END", "c>END"} <= edges(build_topology(both.blueprint))
    drawing = drawn("a>b,c", "c>d")
    drawing.loop("b,c", "a")
    assert "b>END" not in edges(build_topology(drawing.blueprint))


def test_exhausted_edge_leaves_body() -> None:
    """An exhausted edge is drawn, unless it would stay inside the body."""
    drawing = drawn("a>b>c", nodes="x")
    drawing.loop("b", "a", "x")
    shape = build_topology(drawing.blueprint)
    assert edges(shape, "exhausted") == {"b>x"}
    assert "START>x" not in edges(shape)
    inside = drawn("a>b>c")
    inside.loop("b", "a", "a")
    assert edges(build_topology(inside.blueprint), "exhausted") == set()


def test_labels_take_own_edges_and_otherwise() -> None:
    """A label takes its own edges, and `otherwise` the rest."""
    sketch = Sketch()
    sketch.route(look, kind_of).when("math", [note, tidy]).otherwise(note)
    assert [(edge.target, edge.labels) for edge in build_topology(sketch.spec).leaving[0]] == [
        (1, ("math", "prose")),
        (2, ("math",)),
    ]
    unknown = Sketch()
    unknown.route(look, any_kind).when("math", note).otherwise(tidy)
    assert [edge.labels for edge in build_topology(unknown.spec).leaving[0]] == [
        ("math",),
        (OTHERWISE,),
    ]


def test_can_coincide_by_kind_and_label() -> None:
    """Kinds and labels decide which edges one commit can take together."""
    sketch = Sketch()
    sketch.chain(look, note)
    sketch.route(look, kind_of).when("math", tidy).when("prose", tidy.named("other")).exhaustive()
    sketch.on_error(look, note.named("handler"))
    shape = build_topology(sketch.spec)
    plain, math, prose, error = shape.leaving[0]
    assert shape.can_coincide(plain, math)
    assert shape.can_coincide(plain, prose)
    assert not shape.can_coincide(math, prose)
    assert not shape.can_coincide(plain, error)
    assert not shape.can_coincide(plain, plain)
    several = Sketch()
    several.route(look, kinds_of).when("math", tidy).when("prose", note).exhaustive()
    assert build_topology(several.spec).can_coincide(*build_topology(several.spec).leaving[0])


def test_topology_exists_for_wrong_graph() -> None:
    """A wrong graph has a topology, too, since the checks look at it."""
    sketch = Sketch()
    sketch.spec.edges += [("END", "START")]
    sketch.chain(look)
    sketch.spec.nodes["END"] = sketch.spec.nodes["look"].named("END")
    assert isinstance(build_topology(sketch.spec), Topology)


def naive_body(shape: Topology, header: int) -> set[int]:
    """Return the header and all nodes from which a path past it leads to a source."""

    sources = {source for loop in shape.loops if loop.header == header for source in loop.sources}

    def reaches(node: int) -> bool:
        pending, seen = [node], {node}
        while pending:
            number = pending.pop()
            if number in sources:
                return True
            for edge in shape.leaving[number]:
                if edge.target != header and edge.target not in seen:
                    seen.add(edge.target)
                    pending.append(edge.target)
        return False

    return {header} | {node for node in range(shape.end) if node != header and reaches(node)}


@given(seed=st.integers(0, 2**32))
def test_loop_body_matches_path_search(seed: int) -> None:
    """The body of a loop is what reaches a source without passing the header."""
    shape = build_topology(random_drawing(seed).blueprint)
    for loop in shape.loops:
        assert loop.body == naive_body(shape, loop.header)


@given(seed=st.integers(0, 2**32), mistakes=st.integers(0, 6))
def test_bodies_of_nested_loops_match_path_search(seed: int, mistakes: int) -> None:
    """Bodies that are taken over as a whole are what a search finds, in broken graphs too."""
    drawing = nested_drawing(seed)
    plant_mistakes(drawing, random.Random(seed), mistakes)
    shape = build_topology(drawing.blueprint)
    for loop in shape.loops:
        assert loop.body == naive_body(shape, loop.header)


def test_loops_of_same_header_share_body() -> None:
    """Loops that share a header share their body."""
    drawing = drawn("a>b>c>d")
    drawing.loop("b", "a")
    drawing.loop("c", "a")
    assert [loop.body for loop in build_topology(drawing.blueprint).loops] == [{0, 1, 2}, {0, 1, 2}]


@given(seed=st.integers(0, 2**32))
def test_all_nodes_lie_between_start_and_end(seed: int) -> None:
    """All nodes lie on a path from START to END."""
    shape = build_topology(random_drawing(seed).blueprint)
    assert shape.find_reachable([START_INDEX]) >= set(range(shape.end))
    assert shape.find_reachable([shape.end], backwards=True) >= set(range(shape.end))

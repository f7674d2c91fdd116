"""Edges of every kind, implicit ones included, and the bodies of loops."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from graphorch.graph.edges import OTHERWISE, START_INDEX, Topology
from graphorch.graph.topology import build_topology
from tests.graph.content import Sketch, any_kind, kind_of, kinds_of, look, note, tidy
from tests.graph.drawn import Drawing, random_drawing


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


def test_nodes_that_nothing_leads_to_begin_and_nodes_that_lead_nowhere_end() -> None:
    assert edges(build_topology(drawn("a>b", nodes="c").blueprint)) == {
        "START>a",
        "a>b",
        "b>END",
        "START>c",
        "c>END",
    }


def test_the_same_edge_said_twice_is_one() -> None:
    assert len(build_topology(drawn("a>b", "a>b").blueprint).edges) == 3


def test_a_header_that_only_its_loop_leads_to_begins_too() -> None:
    drawing = drawn("a>b>c")
    drawing.loop("b", "a")
    assert edges(build_topology(drawing.blueprint), "always") == {"START>a", "a>b", "b>c", "c>END"}


def test_a_handler_does_not_begin_and_a_node_with_only_an_error_edge_ends() -> None:
    drawing = drawn("a>b", nodes="h")
    drawing.error("b", "h", ValueError)
    shape = build_topology(drawing.blueprint)
    assert edges(shape) == {"START>a", "a>b", "b>h", "b>END", "h>END"}
    (edge,) = (edge for edge in shape.edges if edge.kind == "error")
    assert edge.labels == (ValueError,)


def test_sources_without_a_way_on_end_only_if_all_of_their_loop_do() -> None:
    both = drawn("a>b,c")
    both.loop("b,c", "a")
    assert {"b>END", "c>END"} <= edges(build_topology(both.blueprint))
    drawing = drawn("a>b,c", "c>d")
    drawing.loop("b,c", "a")
    assert "b>END" not in edges(build_topology(drawing.blueprint))


def test_an_exhausted_edge_leads_on_unless_it_would_stay_inside() -> None:
    drawing = drawn("a>b>c", nodes="x")
    drawing.loop("b", "a", "x")
    shape = build_topology(drawing.blueprint)
    assert edges(shape, "exhausted") == {"b>x"}
    assert "START>x" not in edges(shape)
    inside = drawn("a>b>c")
    inside.loop("b", "a", "a")
    assert edges(build_topology(inside.blueprint), "exhausted") == set()


def test_a_label_takes_its_own_edges_and_otherwise_the_rest() -> None:
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


def test_which_edges_one_commit_can_take_together() -> None:
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


def test_a_shape_is_made_of_whatever_is_wrong() -> None:
    """The checks look at it, so it must exist."""
    sketch = Sketch()
    sketch.spec.edges += [("END", "START")]
    sketch.chain(look)
    sketch.spec.nodes["END"] = sketch.spec.nodes["look"].named("END")
    assert isinstance(build_topology(sketch.spec), Topology)


def naive_body(shape: Topology, header: int) -> set[int]:
    """The header, and every node from which a path to a source does not pass it."""

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
def test_the_body_of_a_loop_is_what_reaches_a_source_without_the_header(seed: int) -> None:
    shape = build_topology(random_drawing(seed).blueprint)
    for loop in shape.loops:
        assert loop.body == naive_body(shape, loop.header)


def test_loops_that_share_a_header_share_their_body() -> None:
    drawing = drawn("a>b>c>d")
    drawing.loop("b", "a")
    drawing.loop("c", "a")
    assert [loop.body for loop in build_topology(drawing.blueprint).loops] == [{0, 1, 2}, {0, 1, 2}]


@given(seed=st.integers(0, 2**32))
def test_everything_begins_somewhere_and_ends_somewhere(seed: int) -> None:
    shape = build_topology(random_drawing(seed).blueprint)
    assert shape.find_reachable([START_INDEX]) >= set(range(shape.end))
    assert shape.find_reachable([shape.end], backwards=True) >= set(range(shape.end))

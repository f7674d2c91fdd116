"""Nodes that are missing, misnamed or forgotten, and START and END used as if they were nodes."""

from __future__ import annotations

from typing import Any

import pytest

from graphorch.errors import GraphError
from graphorch.graph.node import END, START
from tests.graph.content import (
    Sketch,
    Verdict,
    dash,
    kind_of,
    list_codes,
    list_problems,
    look,
    note,
    weak,
)


def test_empty_graph_is_refused() -> None:
    """An empty graph is refused."""
    assert list_problems(Sketch()) == [
        "EMPTY_GRAPH at graph 'content': it has no node\n    fix: connect at least one: "
        "g.chain(first)"
    ]


@pytest.mark.parametrize("name", ["", " ", "a\nb", "x" * 201, "half \ud83d", 5, None])
def test_wrong_name_of_graph_is_refused(name: Any) -> None:
    """A graph has the name that a journal takes, whether or not its runs are kept in it."""
    sketch = Sketch()
    sketch.chain(look)
    sketch.name = sketch.spec.name = name
    assert list_problems(sketch) == [
        f"GRAPH_NAME at graph {name!r:.80}: this is not a name for a graph\n    fix: use one line "
        "of 1 to 200 visible characters: Graph('team', …)"
    ]


@pytest.mark.parametrize("name", ["", " ", "a/b", "a\nb", "x" * 201, "half \ud83d"])
def test_wrong_name_of_node_is_refused(name: str) -> None:
    with pytest.raises(
        GraphError, match="use one line of 1 to 200 visible characters, without '/'"
    ):
        look.named(name)


def test_wrong_node_suggests_nearest() -> None:
    """A name that is not a node is refused with the nearest node."""
    sketch = Sketch()
    sketch.chain(look, "loook", weak, [])  # type: ignore[arg-type]
    assert list_problems(sketch) == [
        "NOT_A_NODE at chain(): 'loook' is a name, not a node\n    fix: pass the node "
        "itself, without quotes. Did you mean 'look'? Known: look.",
        "NOT_A_NODE at chain(): 'weak' is not a node\n    fix: decorate the function "
        "with @node or @agent",
        "NOT_A_NODE at chain(): an empty list of nodes\n    fix: name at least one node",
    ]


def test_duplicate_name_is_refused() -> None:
    """Two nodes of one name are refused; one node may be used twice."""
    sketch = Sketch()
    sketch.chain(look, [dash.named("note"), note])
    assert list_problems(sketch)[0] == (
        "DUPLICATE_NAME at node 'note': two different nodes have this name\n"
        "    fix: give one of them another name: note.named('note_2'), and use that one "
        "object everywhere"
    )
    same = Sketch()
    same.chain(look, note)
    same.chain(look, dash)
    assert list_problems(same) == []


def test_node_named_like_marker_is_refused() -> None:
    """A node cannot be called like a marker."""
    sketch = Sketch()
    sketch.chain(look.named("END"))
    assert list_problems(sketch) == [
        "RESERVED_NAME at node 'END': this name stands for where a run begins or ends\n"
        "    fix: call it something else: @node(name='…'), or .named('…')"
    ]


def test_reserved_name_after_marker_is_refused() -> None:
    """A reserved name is refused, even after the marker was used."""
    sketch = Sketch()
    sketch.chain(look, END)
    sketch.chain(look, note.named("END"))
    assert "RESERVED_NAME" in list_codes(sketch)


def test_unconnected_node_is_named() -> None:
    """A node that was created but never connected is named."""
    sketch = Sketch()
    sketch.chain(look)
    sketch.ask("approve", lambda state: "?", Verdict)
    assert list_problems(sketch) == [
        "NOT_CONNECTED at node 'approve': it was created but never connected\n"
        "    fix: name it in chain(), route() or loop(), or remove it"
    ]


def test_edges_of_markers_are_refused() -> None:
    """Edges into START and out of END are refused."""
    sketch = Sketch()
    sketch.chain(look, START)
    sketch.chain(END, look)
    assert list_problems(sketch) == [
        "OUT_OF_END at edge 'END' → 'look': END is not a node: it neither runs nor leads anywhere\n"
        "    fix: start from a node, or leave this out",
        "INTO_START at edge 'look' → 'START': nothing can lead to START\n"
        "    fix: lead to the first node, by a loop if it has run before",
    ]


def test_route_loop_error_of_marker_are_refused() -> None:
    """A route, a loop or an error edge of a marker is refused."""
    sketch = Sketch()
    sketch.chain(look, note)
    sketch.route(START, kind_of).when("math", START).otherwise(look)
    sketch.loop(END, back_to=look, while_=weak, max_iterations=2)
    sketch.on_error(START, note)
    problems = list_problems(sketch)
    assert (
        "OUT_OF_START at route of 'START': START is not a node: it runs nothing\n    "
        "fix: start from a node, or leave this out" in problems
    )
    assert [line.split(":")[0] for line in problems] == [
        "OUT_OF_START at route of 'START'",
        "OUT_OF_END at loop 'END' → 'look'",
        "OUT_OF_START at on_error 'START' → 'note'",
        "INTO_START at route of 'START'",
    ]


def test_chain_accepts_start_and_end() -> None:
    """START and END may stand in a chain."""
    sketch = Sketch()
    sketch.chain(START, look, END)
    assert list_problems(sketch) == []


def test_single_node_call_refuses_two() -> None:
    """A call that takes one node refuses two."""
    sketch = Sketch()
    sketch.chain(look, note)
    sketch.on_error([look, note], dash)  # type: ignore[arg-type]
    assert list_problems(sketch)[0] == (
        "ONE_NODE at on_error(): 2 nodes are given, but only one is possible\n    fix: "
        "make one call for each"
    )

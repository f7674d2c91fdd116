"""Nodes that are missing, misnamed or forgotten, and START and END used as if they were nodes."""

from __future__ import annotations

from graphorch.graph.node import END, START
from tests.graph.content import Sketch, Verdict, codes, dash, kind_of, look, note, said, weak


def test_an_empty_graph_is_refused() -> None:
    assert said(Sketch()) == [
        "EMPTY_GRAPH at graph 'content': it has no node\n    fix: connect at least one: g.chain(first)"
    ]


def test_what_is_no_node_is_named_with_the_nearest_one() -> None:
    sketch = Sketch()
    sketch.chain(look, "loook", weak, [])  # type: ignore[arg-type]
    assert said(sketch) == [
        "NOT_A_NODE at chain(): 'loook' is a name, not a node\n    fix: pass the node itself. Did you mean 'look'? Known: look.",
        "NOT_A_NODE at chain(): 'weak' is not a node\n    fix: decorate the function with @node or @agent",
        "NOT_A_NODE at chain(): an empty list of nodes\n    fix: name at least one node",
    ]


def test_two_nodes_of_one_name_are_refused_and_one_node_used_twice_is_not() -> None:
    sketch = Sketch()
    sketch.chain(look, [dash.named("note"), note])
    assert said(sketch)[0] == (
        "DUPLICATE_NAME at node 'note': two different nodes have this name\n"
        "    fix: give one of them another name: note.named('note_2'), and use that one object everywhere"
    )
    same = Sketch()
    same.chain(look, note)
    same.chain(look, dash)
    assert said(same) == []


def test_a_node_cannot_be_called_like_a_marker() -> None:
    sketch = Sketch()
    sketch.chain(look.named("END"))
    assert said(sketch) == [
        "RESERVED_NAME at node 'END': this name stands for where a run begins or ends\n"
        "    fix: call it something else: @node(name='…'), or .named('…')"
    ]


def test_a_reserved_name_is_found_after_the_marker_itself_was_used() -> None:
    sketch = Sketch()
    sketch.chain(look, END)
    sketch.chain(look, note.named("END"))
    assert "RESERVED_NAME" in codes(sketch)


def test_a_node_that_was_created_but_never_connected_is_named() -> None:
    sketch = Sketch()
    sketch.chain(look)
    sketch.ask("approve", lambda state: "?", Verdict)
    assert said(sketch) == [
        "NOT_CONNECTED at node 'approve': it was created but never connected\n"
        "    fix: name it in chain(), route() or loop(), or remove it"
    ]


def test_nothing_leads_to_start_or_out_of_end() -> None:
    sketch = Sketch()
    sketch.chain(look, START)
    sketch.chain(END, look)
    assert said(sketch) == [
        "OUT_OF_END at edge 'END' → 'look': END is not a node: it neither runs nor leads anywhere\n"
        "    fix: start from a node, or leave this out",
        "INTO_START at edge 'look' → 'START': nothing can lead to START\n"
        "    fix: lead to the first node, by a loop if it has run before",
    ]


def test_a_route_loop_or_error_edge_of_a_marker_is_refused() -> None:
    sketch = Sketch()
    sketch.chain(look, note)
    sketch.route(START, kind_of).when("math", START).otherwise(look)
    sketch.loop(END, back_to=look, while_=weak, max_iterations=2)
    sketch.on_error(START, note)
    found = said(sketch)
    assert (
        "OUT_OF_START at route of 'START': START is not a node: it runs nothing\n    fix: start from a node, or leave this out"
        in found
    )
    assert [line.split(":")[0] for line in found] == [
        "OUT_OF_START at route of 'START'",
        "OUT_OF_END at loop 'END' → 'look'",
        "OUT_OF_START at on_error 'START' → 'note'",
        "INTO_START at route of 'START'",
    ]


def test_start_and_end_may_be_named_in_a_chain() -> None:
    sketch = Sketch()
    sketch.chain(START, look, END)
    assert said(sketch) == []


def test_a_call_that_takes_one_node_refuses_two() -> None:
    sketch = Sketch()
    sketch.chain(look, note)
    sketch.on_error([look, note], dash)  # type: ignore[arg-type]
    assert (
        said(sketch)[0]
        == "ONE_NODE at on_error(): 2 nodes are given, but only one is possible\n    fix: make one call for each"
    )

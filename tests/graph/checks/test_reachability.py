"""Ways through the graph: cycles that nobody declared, and nodes that are cut off."""

from __future__ import annotations

from tests.graph.content import Sketch, dash, look, note, said, tidy


def test_a_cycle_that_was_not_declared_is_shown_with_its_path() -> None:
    sketch = Sketch()
    sketch.chain(look, [note, dash])
    sketch.chain(dash, tidy, dash)
    assert said(sketch) == [
        "UNDECLARED_CYCLE at edge 'tidy' → 'dash': it closes the cycle dash → tidy → "
        "dash, which nothing bounds\n"
        "    fix: declare the way back with its bound: g.loop(tidy, back_to=dash, "
        "while_=…, max_iterations=…)",
        "NO_WAY_TO_END at node 'dash': no path leads from 'dash' and 'tidy' to END\n"
        "    fix: connect it to what comes next, or to END",
    ]


def test_nodes_that_start_does_not_lead_to_are_named_together() -> None:
    sketch = Sketch()
    sketch.chain(look)
    sketch.chain(note, dash, note)
    sketch.chain(dash, tidy)
    assert said(sketch)[1:] == [
        "UNREACHABLE at node 'note': no path leads from START to 'note', 'dash' and 'tidy'\n"
        "    fix: connect a node that runs to it, or g.chain(START, …)"
    ]


def test_a_graph_that_is_one_cycle_has_neither_beginning_nor_end() -> None:
    sketch = Sketch()
    sketch.chain(look, note, look.named("last"), look)
    assert said(sketch) == [
        "UNDECLARED_CYCLE at edge 'last' → 'look': it closes the cycle look → note → "
        "last → look, which nothing bounds\n"
        "    fix: declare the way back with its bound: g.loop(last, back_to=look, "
        "while_=…, max_iterations=…)",
        "UNREACHABLE at node 'look': no path leads from START to 'look', 'note' and 'last'\n"
        "    fix: connect a node that runs to it, or g.chain(START, …)",
        "NO_WAY_TO_END at node 'look': no path leads from 'look', 'note' and 'last' to END\n"
        "    fix: connect it to what comes next, or to END",
    ]


def test_an_error_edge_can_close_a_cycle_too() -> None:
    sketch = Sketch()
    sketch.chain(look, note)
    sketch.on_error(note, look)
    assert said(sketch)[0].startswith("UNDECLARED_CYCLE at edge 'note' → 'look'")

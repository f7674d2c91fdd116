"""Ways through the graph: cycles that nobody declared, and nodes that are cut off."""

from __future__ import annotations

from tests.graph.content import Sketch, dash, list_problems, look, note, tidy, weak


def test_undeclared_cycle_shows_path() -> None:
    """A cycle that was not declared is reported with its path, and no more than that."""
    sketch = Sketch()
    sketch.chain(look, [note, dash])
    sketch.chain(dash, tidy, dash)
    assert list_problems(sketch) == [
        "UNDECLARED_CYCLE at edge 'tidy' → 'dash': it closes the cycle dash → tidy → "
        "dash, which nothing bounds\n"
        "    fix: to go back, declare it with its bound: g.loop(tidy, back_to=dash, while_=…, "
        "max_iterations=…); to run it again as a step of its own: dash.named('dash_2')"
    ]


def test_cycle_alone_is_one_problem() -> None:
    """A single cycle, which has neither a beginning nor an end, is one problem."""
    sketch = Sketch()
    sketch.chain(look, note, look.named("last"), look)
    assert [text.split(":")[0] for text in list_problems(sketch)] == [
        "UNDECLARED_CYCLE at edge 'last' → 'look'"
    ]


def test_ways_back_to_one_node_are_one_problem() -> None:
    """A node that is used three times is led back to twice, and reported once."""
    sketch = Sketch()
    sketch.chain(look, note, look, dash, look, tidy)
    assert list_problems(sketch) == [
        "UNDECLARED_CYCLE at edges 'dash' → 'look', 'note' → 'look': they close cycles as "
        "look → dash → look, which nothing bounds\n"
        "    fix: to go back, declare it with its bound: g.loop([dash, note], back_to=look, "
        "while_=…, max_iterations=…); to run it again as a step of its own: look.named('look_2')"
    ]


def test_namesakes_close_no_cycle() -> None:
    """Of two nodes with one name, the name is reported and no edge from it to itself."""
    sketch = Sketch()
    sketch.chain(look, note, dash.named("note"), look.named("last"))
    assert [text.split(":")[0] for text in list_problems(sketch)] == [
        "DUPLICATE_NAME at node 'note'"
    ]


def test_node_without_end_is_named() -> None:
    """What is left by a loop edge alone, to a node from which nothing leads on, is named."""
    sketch = Sketch()
    sketch.chain(dash, look)
    sketch.chain(note, look.named("last"))
    sketch.loop([look, note], back_to=dash, while_=weak, max_iterations=2)
    assert [text.split(":")[0] for text in list_problems(sketch)] == [
        "NO_WAY_TO_END at node 'dash'",
        "LOOP_NOT_BACK at loop 'look, note' → 'dash'",
        "LOOP_NO_EXIT at loop 'look, note' → 'dash'",
    ]


def test_error_edge_closes_cycle() -> None:
    """An error edge can close a cycle, too."""
    sketch = Sketch()
    sketch.chain(look, note)
    sketch.on_error(note, look)
    assert list_problems(sketch)[0].startswith("UNDECLARED_CYCLE at edge 'note' → 'look'")

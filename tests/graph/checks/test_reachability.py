"""Ways through the graph: cycles that nobody declared, and nodes that are cut off."""

from __future__ import annotations

from tests.graph.content import Sketch, dash, list_problems, look, note, tidy


def test_undeclared_cycle_shows_path() -> None:
    """A cycle that was not declared is reported with its path."""
    sketch = Sketch()
    sketch.chain(look, [note, dash])
    sketch.chain(dash, tidy, dash)
    assert list_problems(sketch) == [
        "UNDECLARED_CYCLE at edge 'tidy' → 'dash': it closes the cycle dash → tidy → "
        "dash, which nothing bounds\n"
        "    fix: declare the way back with its bound: g.loop(tidy, back_to=dash, "
        "while_=…, max_iterations=…)",
        "NO_WAY_TO_END at node 'dash': no path leads from 'dash' and 'tidy' to END\n"
        "    fix: connect it to what comes next, or to END",
    ]


def test_unreachable_nodes_are_one_problem() -> None:
    """Nodes that START does not lead to are named together."""
    sketch = Sketch()
    sketch.chain(look)
    sketch.chain(note, dash, note)
    sketch.chain(dash, tidy)
    assert list_problems(sketch)[1:] == [
        "UNREACHABLE at node 'note': no path leads from START to 'note', 'dash' and 'tidy'\n"
        "    fix: connect a node that runs to it, or g.chain(START, …)"
    ]


def test_cycle_alone_has_no_ends() -> None:
    """A graph that is a single cycle has neither a beginning nor an end."""
    sketch = Sketch()
    sketch.chain(look, note, look.named("last"), look)
    assert list_problems(sketch) == [
        "UNDECLARED_CYCLE at edge 'last' → 'look': it closes the cycle look → note → "
        "last → look, which nothing bounds\n"
        "    fix: declare the way back with its bound: g.loop(last, back_to=look, "
        "while_=…, max_iterations=…)",
        "UNREACHABLE at node 'look': no path leads from START to 'look', 'note' and 'last'\n"
        "    fix: connect a node that runs to it, or g.chain(START, …)",
        "NO_WAY_TO_END at node 'look': no path leads from 'look', 'note' and 'last' to END\n"
        "    fix: connect it to what comes next, or to END",
    ]


def test_error_edge_closes_cycle() -> None:
    """An error edge can close a cycle, too."""
    sketch = Sketch()
    sketch.chain(look, note)
    sketch.on_error(note, look)
    assert list_problems(sketch)[0].startswith("UNDECLARED_CYCLE at edge 'note' → 'look'")

"""A token that leaves a loop while another one goes round."""

from __future__ import annotations

from graphorch.graph.node import END
from tests.graph.content import (
    Sketch,
    dash,
    judge,
    kind_of,
    list_codes,
    list_problems,
    look,
    note,
    tidy,
    weak,
)


def test_side_branch_out_of_loop_leaks() -> None:
    """A side branch that leaves the loop is a leak."""
    sketch = Sketch()
    sketch.chain(dash, [judge, note])
    sketch.chain(judge, END)
    sketch.loop(judge, back_to=dash, while_=weak, max_iterations=2)
    assert list_problems(sketch) == [
        "LOOP_LEAK at loop 'judge' → 'dash': from 'dash' one branch can leave by 'dash' "
        "→ 'note' while another one goes around again\n"
        "    fix: join the side branch before 'judge', or start it after the loop"
    ]


def test_side_branch_joined_before_source_is_fine() -> None:
    """A side branch that is joined before the source is not a leak."""
    sketch = Sketch()
    sketch.chain(dash, [judge, note], tidy, look)
    sketch.loop(tidy, back_to=dash, while_=weak, max_iterations=2)
    assert list_problems(sketch) == []


def test_route_leaving_or_staying_is_fine() -> None:
    """A route that either leaves or stays is not a leak."""
    sketch = Sketch()
    sketch.route(dash, kind_of).when("math", judge).when("prose", note).exhaustive()
    sketch.chain(judge, END)
    sketch.loop(judge, back_to=dash, while_=weak, max_iterations=2)
    assert list_problems(sketch) == []


def test_error_edge_out_of_side_branch_leaks() -> None:
    """An error edge out of a side branch is a leak."""
    sketch = Sketch()
    sketch.chain(dash, [judge, note], tidy, look)
    sketch.loop(tidy, back_to=dash, while_=weak, max_iterations=2)
    sketch.on_error(note, look.named("report"))
    assert list_codes(sketch) == ["LOOP_LEAK"]
    assert "'note' → 'report'" in list_problems(sketch)[0]


def test_error_edge_without_other_branch_is_fine() -> None:
    """An error edge without a parallel branch is not a leak."""
    sketch = Sketch()
    sketch.chain(dash, judge, look)
    sketch.loop(judge, back_to=dash, while_=weak, max_iterations=2)
    sketch.on_error(dash, note)
    sketch.on_error(judge, note)
    assert list_problems(sketch) == []


def test_parallel_sources_leak() -> None:
    """Of two parallel sources, one may stop while the other goes around."""
    sketch = Sketch()
    sketch.chain(dash, [judge, note], look)
    sketch.loop([judge, note], back_to=dash, while_=weak, max_iterations=2)
    assert list_codes(sketch) == ["LOOP_LEAK"]


def test_inner_fork_leaks_once_per_loop() -> None:
    """A fork in an inner loop that leaves the outer one is reported once for each loop."""
    sketch = Sketch()
    sketch.chain(look, dash, [judge, note])
    sketch.chain(judge, tidy, END)
    sketch.loop(judge, back_to=dash, while_=weak, max_iterations=2)
    sketch.loop(tidy, back_to=look, while_=weak, max_iterations=2)
    assert list_codes(sketch) == ["LOOP_LEAK", "LOOP_LEAK"]

"""A token that leaves a loop while another one goes round."""

from __future__ import annotations

from graphorch.graph.node import END
from tests.graph.content import Sketch, codes, dash, judge, kind_of, look, note, said, tidy, weak


def test_a_side_branch_that_leaves_the_loop_is_a_leak() -> None:
    sketch = Sketch()
    sketch.chain(dash, [judge, note])
    sketch.chain(judge, END)
    sketch.loop(judge, back_to=dash, while_=weak, max_iterations=2)
    assert said(sketch) == [
        "LOOP_LEAK at loop 'judge' → 'dash': from 'dash' one branch can leave by 'dash' → 'note' while another one goes around again\n"
        "    fix: join the side branch before 'judge', or start it after the loop"
    ]


def test_a_side_branch_that_is_joined_before_the_source_is_none() -> None:
    sketch = Sketch()
    sketch.chain(dash, [judge, note], tidy, look)
    sketch.loop(tidy, back_to=dash, while_=weak, max_iterations=2)
    assert said(sketch) == []


def test_a_route_that_either_leaves_or_stays_is_none() -> None:
    sketch = Sketch()
    sketch.route(dash, kind_of).when("math", judge).when("prose", note).exhaustive()
    sketch.chain(judge, END)
    sketch.loop(judge, back_to=dash, while_=weak, max_iterations=2)
    assert said(sketch) == []


def test_an_error_edge_out_of_a_side_branch_is_a_leak() -> None:
    sketch = Sketch()
    sketch.chain(dash, [judge, note], tidy, look)
    sketch.loop(tidy, back_to=dash, while_=weak, max_iterations=2)
    sketch.on_error(note, look.named("report"))
    assert codes(sketch) == ["LOOP_LEAK"]
    assert "'note' → 'report'" in said(sketch)[0]


def test_an_error_edge_where_there_is_no_other_branch_is_none() -> None:
    sketch = Sketch()
    sketch.chain(dash, judge, look)
    sketch.loop(judge, back_to=dash, while_=weak, max_iterations=2)
    sketch.on_error(dash, note)
    sketch.on_error(judge, note)
    assert said(sketch) == []


def test_two_sources_that_run_side_by_side_are_a_leak() -> None:
    """One may stop while the other goes round."""
    sketch = Sketch()
    sketch.chain(dash, [judge, note], look)
    sketch.loop([judge, note], back_to=dash, while_=weak, max_iterations=2)
    assert codes(sketch) == ["LOOP_LEAK"]


def test_a_fork_inside_an_inner_loop_that_leaves_the_outer_one_is_found_once_for_each() -> None:
    sketch = Sketch()
    sketch.chain(look, dash, [judge, note])
    sketch.chain(judge, tidy, END)
    sketch.loop(judge, back_to=dash, while_=weak, max_iterations=2)
    sketch.loop(tidy, back_to=look, while_=weak, max_iterations=2)
    assert codes(sketch) == ["LOOP_LEAK", "LOOP_LEAK"]

"""Loops without a bound, with two entries, that lead nowhere, or that are no way back."""

from __future__ import annotations

from typing import Any

import pytest

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


def looping(source: Any = judge, header: Any = dash, **options: Any) -> Sketch:
    sketch = Sketch()
    sketch.chain(dash, judge, tidy)
    given: dict[str, Any] = {"max_iterations": 3} | options
    sketch.loop(source, back_to=header, while_=weak, **given)
    return sketch


def test_bounded_loop_with_exit_is_fine() -> None:
    """A bounded loop with a way out is fine."""
    assert list_problems(looping()) == []


@pytest.mark.parametrize("bound", [0, -1, 2.0, True, None], ids=str)
def test_loop_without_bound_is_refused(bound: object) -> None:
    """A loop without a bound is refused."""
    assert list_problems(looping(max_iterations=bound)) == [
        f"LOOP_BOUND at loop 'judge' → 'dash': max_iterations={bound!r} is not a bound\n"
        "    fix: give a whole number from 1 on: how often the body runs per entry"
    ]


def test_loop_to_later_node_is_refused() -> None:
    """A loop to a later node is not a way back."""
    assert list_problems(looping(dash, judge)) == [
        "LOOP_NOT_BACK at loop 'dash' → 'judge': 'judge' does not lead to 'dash', so "
        "this is not a way back\n"
        "    fix: use g.chain(dash, judge), or name a node that runs before 'dash'"
    ]


def test_second_loop_entry_is_named() -> None:
    """A second entry is refused by name."""
    sketch = looping(tidy, judge)
    sketch.chain(dash, note, tidy)
    assert list_problems(sketch) == [
        "LOOP_ENTRY at loop 'tidy' → 'judge': its body is also entered by 'note' → "
        "'tidy', past its header 'judge'\n"
        "    fix: lead 'note' → 'tidy' to 'judge' instead, or loop back to a node that "
        "every way to 'tidy' passes"
    ]


def test_exhausted_node_inside_loop_is_refused() -> None:
    """The exhausted node cannot be inside the loop."""
    expected = [
        "LOOP_EXHAUSTED_INSIDE at loop 'judge' → 'dash': exhausted=dash is inside the "
        "loop's own body\n    fix: name a node after the loop"
    ]
    assert list_problems(looping(exhausted=dash)) == expected


def test_unknown_exhausted_suggests_nearest() -> None:
    """An unknown word for exhausted is refused with the nearest one."""
    assert list_problems(looping(exhausted="contineu")) == [
        "LOOP_OPTION at loop 'judge' → 'dash': exhausted='contineu' is not possible\n"
        '    fix: give "continue", "fail" or a node. '
        "Did you mean 'continue'? Known: continue, fail."
    ]


def test_source_without_exit_is_refused() -> None:
    """A source that leads nowhere when its loop stops is refused."""
    sketch = Sketch()
    sketch.chain(dash, judge)
    sketch.loop(judge, back_to=dash, while_=weak, max_iterations=2, exhausted=look)
    assert list_problems(sketch) == [
        "LOOP_NO_EXIT at loop 'judge' → 'dash': when it stops at 'judge', nothing leads "
        "on from there\n"
        "    fix: connect what comes next: g.chain(judge, …), or g.chain(judge, END)"
    ]
    sketch.chain(judge, END)
    assert list_problems(sketch) == []


def test_second_source_without_exit_is_refused() -> None:
    """One source of two that leads nowhere is refused."""
    sketch = Sketch()
    sketch.route(judge.named("lead"), kind_of).when("math", look).when("prose", note).exhaustive()
    sketch.chain(dash, sketch.spec.nodes["lead"])
    sketch.loop([look, note], back_to=dash, while_=weak, max_iterations=2)
    assert list_codes(sketch) == []  # none leads on: both meet at END
    sketch.chain(look, tidy)
    assert list_codes(sketch) == ["LOOP_NO_EXIT"]


def test_loop_of_single_node_is_fine() -> None:
    """A loop of a single node is fine."""
    sketch = Sketch()
    sketch.chain(dash, look)
    sketch.loop(look, back_to=look, while_=weak, max_iterations=2)
    assert list_problems(sketch) == []

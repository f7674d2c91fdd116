"""Warnings: what is written in vain, and what is read but never written."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from graphorch.graph.build import build_plan
from graphorch.graph.context import Context
from graphorch.graph.node import Node, node
from tests.graph.content import Content, Draft, Sketch, dash, list_problems, look, note


class Empty(BaseModel): ...


class Score(BaseModel):
    score: int = 0


class Grade(Score):
    reason: str = ""


class Grades(Grade, Empty): ...


@node
def grade(e: Empty) -> Score:
    return Score()


@node
def read_grade(g: Grade) -> None: ...
@node
def explain(e: Empty) -> Grade:
    return Grade()


def test_unread_write_is_a_warning() -> None:
    """A write that nothing reads is a warning, and the graph builds."""
    sketch = Sketch(output=Draft)
    sketch.chain(dash, note)
    assert list_problems(sketch, warnings=True) == [
        "UNREAD_WRITE at node 'note': it writes 'notes', which is never read\n    fix: "
        "read it, make it part of the output, or drop it"
    ]
    assert [problem.code for problem in build_plan(sketch.spec).problems] == ["UNREAD_WRITE"]


def test_whole_state_reads_everything() -> None:
    """A reader of the whole state reads every field."""
    sketch = Sketch(output=Draft)
    sketch.chain(dash, note, look)
    sketch.loop(look, back_to=look, while_=lambda state: state.score < 1, max_iterations=2)
    assert list_problems(sketch, warnings=True) == []
    assert list_problems(Sketch(output=Content).chain(dash, note), warnings=True) == []


def test_never_written_field_is_a_warning() -> None:
    """A field that keeps its default while the rest of its slice is written is a warning."""
    sketch = Sketch(Grades, Empty, Score)
    sketch.chain(grade, read_grade)
    assert list_problems(sketch, warnings=True) == [
        "NEVER_WRITTEN at node 'read_grade': it reads Grade, of which 'reason' is never "
        "written: it always has its default\n"
        "    fix: write it in a node, or move it to a slice of its own"
    ]


def test_whole_slice_is_fine() -> None:
    """A slice that is written as a whole is read as a whole."""
    sketch = Sketch(Grades, Empty, Score)
    sketch.chain(explain, read_grade)
    assert list_problems(sketch, warnings=True) == []


@node
def set_reason(g: Grade) -> None:
    g.reason = "late"


@node
def raise_score(g: Grade) -> None:
    g.score += 1


@node
def set_in_vain(ctx: Context, g: Grade) -> Empty:
    g.reason = "late"
    return Empty()


@node
def set_and_return(g: Grade) -> Grade:
    g.reason = "late"
    return g


@node
def set_another(g: Grade) -> None:
    other = Grade()
    other.reason = g.reason


@pytest.mark.parametrize("step", [set_reason, raise_score, set_in_vain])
def test_change_of_own_copy_is_lost(step: Node[Any]) -> None:
    """A node that sets a field of a slice, and does not return it, changes its own copy only."""
    sketch = Sketch(Grades, Grade, Score)
    sketch.chain(step)
    (warning,) = list_problems(sketch, warnings=True)
    assert warning.startswith(f"LOST_CHANGE at node '{step.name}': it sets 'g.")
    assert warning.endswith("fix: return the slice that it changes: -> Grade")


@pytest.mark.parametrize("step", [set_and_return, set_another])
def test_returned_change_is_kept(step: Node[Any]) -> None:
    """A change that is returned is not lost, and one of another object is none of a slice."""
    sketch = Sketch(Grades, Grade, Grade)
    sketch.chain(step)
    assert list_problems(sketch, warnings=True) == []

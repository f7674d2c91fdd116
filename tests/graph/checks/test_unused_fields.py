"""Warnings: what is written in vain, and what is read but never written."""

from __future__ import annotations

from pydantic import BaseModel

from graphorch.graph.build import build_plan
from graphorch.graph.node import node
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


def test_whole_slice_or_nothing_is_fine() -> None:
    """A slice of defaults that nothing writes may be meant as settings."""
    for steps in ([explain, read_grade], [read_grade]):
        sketch = Sketch(Grades, Empty, Score)
        sketch.chain(*steps)
        assert list_problems(sketch, warnings=True) == []

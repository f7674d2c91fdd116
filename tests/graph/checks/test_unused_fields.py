"""Warnings: what is written in vain, and what is read but never written."""

from __future__ import annotations

from pydantic import BaseModel

from graphorch.graph.build import build_plan
from graphorch.graph.node import node
from tests.graph.content import Content, Draft, Sketch, dash, look, note, said


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


def test_a_write_that_nobody_reads_is_a_warning_and_the_graph_builds() -> None:
    sketch = Sketch(output=Draft)
    sketch.chain(dash, note)
    assert said(sketch, warnings=True) == [
        "UNREAD_WRITE at node 'note': it writes 'notes', which is never read\n    fix: "
        "read it, make it part of the output, or drop it"
    ]
    assert [problem.code for problem in build_plan(sketch.spec).problems] == ["UNREAD_WRITE"]


def test_whoever_reads_the_whole_state_reads_everything() -> None:
    sketch = Sketch(output=Draft)
    sketch.chain(dash, note, look)
    sketch.loop(look, back_to=look, while_=lambda state: state.score < 1, max_iterations=2)
    assert said(sketch, warnings=True) == []
    assert said(Sketch(output=Content).chain(dash, note), warnings=True) == []


def test_a_field_that_always_is_its_default_though_the_rest_of_its_slice_is_written() -> None:
    sketch = Sketch(Grades, Empty, Score)
    sketch.chain(grade, read_grade)
    assert said(sketch, warnings=True) == [
        "NEVER_WRITTEN at node 'read_grade': it reads Grade, of which 'reason' is never "
        "written: it always has its default\n"
        "    fix: write it in a node, or move it to a slice of its own"
    ]


def test_a_slice_that_is_written_whole_or_not_at_all_is_fine() -> None:
    """A slice of nothing but defaults may be meant as settings."""
    for steps in ([explain, read_grade], [read_grade]):
        sketch = Sketch(Grades, Empty, Score)
        sketch.chain(*steps)
        assert said(sketch, warnings=True) == []

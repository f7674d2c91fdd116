"""The report of a run on the command line: notes of nodes, and loops that ended unaccepted."""

from __future__ import annotations

import json

from tests.cli.shell import Shell

SOURCE = """
from pydantic import BaseModel
from graphorch import Context, Graph, node

class Task(BaseModel):
    task: str = "tides"
class Draft(BaseModel):
    draft: str = ""
class Grade(BaseModel):
    points: float = 0
class Essay(Task, Draft, Grade): ...

@node
def write(t: Task, d: Draft) -> Draft:
    return Draft(draft=d.draft + "x")

@node
def judge(d: Draft) -> Grade:
    return Grade(points=len(d.draft))

flow = Graph("essay", Essay, input=Task, output=Essay).evaluator_loop(
    write, judge, accept=lambda g: g.points > 9, score=lambda g: g.points, max_rounds=2
).build()
"""
NOTE = (
    "judge_progress: the loop ended without an accepted attempt after 2 evaluated rounds "
    "(no more than 2 rounds); the best attempt was kept, with score 2"
)


def test_unaccepted_loop_is_noted_once(shell: Shell) -> None:
    """`run`, `show` and the report for programs have the note; its bound is not repeated."""
    shell.write("essay.py", SOURCE, preamble="")
    done = shell("run", "essay.py", "--db", "runs.db")
    assert done.code == 0
    assert f"note: {NOTE}" in done.err
    assert "reached its bound" not in done.err
    assert f"note: {NOTE}" in shell("runs", "show", "last", "--db", "runs.db").out
    machine = shell("run", "essay.py", "--json")
    path, _, text = NOTE.partition(": ")
    assert json.loads(machine.out)["notes"] == [{"path": path, "text": text}]

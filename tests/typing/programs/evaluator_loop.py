"""An evaluator and an optimizer: write, judge, and again with the judge's remark, until it is good or three drafts were made."""

from __future__ import annotations

from pydantic import BaseModel

from graphorch import END, Graph, node


class Task(BaseModel):
    task: str


class Draft(BaseModel):
    draft: str


class Grade(BaseModel):
    points: int = 0
    remark: str = ""


class Essay(Task, Draft, Grade): ...


@node
def write(t: Task, d: Draft | None, g: Grade) -> Draft:
    """The draft of the round before is None in the first one."""
    return Draft(draft=f"{t.task}." if d is None else f"{d.draft} {g.remark}.")


@node
def grade(d: Draft) -> Grade:
    return Grade(points=d.draft.count("."), remark="Say more")


@node
def give_up(d: Draft) -> Draft:
    return Draft(draft=f"{d.draft} (unfinished)")


def is_weak(g: Grade) -> bool:
    return g.points < 10


essay = Graph("essay", Essay, input=Task, output=Draft)
essay.chain(write, grade, END).loop(grade, back_to=write, while_=is_weak, max_iterations=3, exhausted=give_up)
essay.loop(grade, back_to=write, while_=lambda s: s.points < 1 and s.task != "", max_iterations=2)
flow = essay.build()

ANSWER = ("Tides. Say more. Say more. (unfinished)", (("grade", "write"),))


def main() -> tuple[str, tuple[tuple[str, str], ...]]:
    result = flow.run_sync(Task(task="Tides"))
    return result.output.draft, result.exhausted

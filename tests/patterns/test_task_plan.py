"""Plans of a supervisor as data: names of tasks, what may begin, and plans that are refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from graphorch.errors import TooManyItems
from graphorch.patterns import PlanRefused
from graphorch.patterns.task_plan import PlannedTask, find_ready, plan_tasks, read_needs


class Task(BaseModel):
    text: str = ""
    worker: str = "web"
    id: str = ""
    needs: list[str] = []
    after: list[str] = []


class Bare(BaseModel): ...


def plan(*tasks: Task, kept: list[PlannedTask] | None = None, most: int = 20) -> list[PlannedTask]:
    """Return the planned tasks of a planner with the workers `web` and `paper`."""
    labels = {"web": "web", "paper": "paper"}
    return plan_tasks(
        tasks, kept or [], PlannedTask, lambda task: task.worker, labels, most, "plan"
    )


def done(name: str, task: Task) -> PlannedTask:
    return PlannedTask(name=name, label="web", status="done", task=task)


def test_tasks_without_id_are_numbered() -> None:
    """A task without an id gets the lowest number that no task has."""
    tasks = plan(Task(text="a"), Task(text="b", id="2"), Task(text="c"))
    assert [task.name for task in tasks] == ["1", "2", "3"]
    assert [task.name for task in plan(Task(text="b"), kept=[done("1", Task(text="a"))])] == [
        "1",
        "2",
    ]


def test_needs_have_two_names() -> None:
    """Both `needs` and `after` name the tasks before; a task may have neither field."""
    assert read_needs(Task(needs=["a"], after=["b"])) == ["a", "b"]
    assert read_needs(Bare()) == []


def test_done_tasks_are_not_repeated() -> None:
    """Another plan may name what is done, by its task or its id, and wait for it."""
    kept = [done("1", Task(text="a")), done("x", Task(text="b", id="x"))]
    again = [Task(text="a"), Task(text="other", id="x"), Task(text="c", needs=["1", "x"])]
    tasks = plan(*again, kept=kept)
    assert tasks[:2] == kept
    assert [task.name for task in tasks[2:]] == ["2"]
    assert [task.name for task in find_ready(tasks)] == ["2"]


@pytest.mark.parametrize(
    ("tasks", "names"),
    [
        ([Task(id="a"), Task(id="a", text="other")], ("a",)),
        ([Task(id="a", worker="moon")], ("a",)),
        ([Task(id="a", needs=["z"])], ("a", "z")),
        ([Task(id="free"), Task(id="a", needs=["b"]), Task(id="b", needs=["a"])], ("a", "b")),
        ([], ()),
    ],
)
def test_refusal_names_wrong_tasks(tasks: list[Task], names: tuple[str, ...]) -> None:
    """The error holds the names of the tasks that are wrong."""
    with pytest.raises(PlanRefused) as caught:
        plan(*tasks)
    assert caught.value.tasks == names


def test_done_tasks_count_at_limit() -> None:
    """The number of tasks is limited over all plans of a supervisor."""
    kept = [done("1", Task(text="a"))]
    assert len(plan(Task(text="b"), kept=kept, most=2)) == 2
    with pytest.raises(TooManyItems, match="has 2 tasks, and max_tasks is 1"):
        plan(Task(text="b"), kept=kept, most=1)


@st.composite
def orders(draw: st.DrawFn) -> list[Task]:
    """Draw tasks in any order of which each waits for some that are numbered below it."""
    tasks: list[Task] = []
    for number in range(draw(st.integers(1, 8))):
        below: Any = st.sets(st.integers(0, number - 1)) if number else st.just(set[int]())
        tasks.append(Task(id=f"t{number}", needs=[f"t{need}" for need in sorted(draw(below))]))
    return draw(st.permutations(tasks))


@given(orders())
def test_plan_without_cycle_gets_done(tasks: list[Task]) -> None:
    """Every plan without a cycle is done in waves, each task after all that it needs."""
    planned = plan(*tasks)
    finished: set[str] = set()
    while ready := find_ready(planned):
        for task in ready:
            assert finished.issuperset(task.needs)
        for task in ready:
            task.status = "done"
            finished.add(task.name)
    assert finished == {task.id for task in tasks}

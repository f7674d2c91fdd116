"""A supervisor's plan as data: its tasks, what they wait for, and whether it can be carried out at all."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any, Literal

from pydantic import BaseModel

from graphorch.errors import TooManyItems, did_you_mean
from graphorch.patterns.digests import shorten_text
from graphorch.patterns.errors import PlanRefused
from graphorch.patterns.router import word

# the field of a task that names, by their `id`, the tasks that must be done before it
NEEDS = ("needs", "after")


class PlannedTask(BaseModel):
    """One task on the supervisor's desk; a subclass made for each supervisor has the task itself. `number` counts the worker's reports."""

    name: str
    label: str
    needs: list[str] = []
    status: Literal["open", "given", "done", "declined"] = "open"
    number: int = -1
    reason: str = ""
    task: Any = None


def read_needs(task: BaseModel) -> list[str]:
    """The names of the tasks that must be done before this one."""
    return [str(item) for field in NEEDS for item in getattr(task, field, None) or ()]


def plan_tasks(
    tasks: Sequence[BaseModel],
    kept: Sequence[PlannedTask],
    make: Callable[..., PlannedTask],
    worker_of: Callable[[Any], Any],
    words: Mapping[Any, str],
    max_tasks: int,
    planner: str,
) -> list[PlannedTask]:
    """The jobs of a plan beside those that are done already. Raises `PlanRefused` or `TooManyItems`."""
    jobs: list[PlannedTask] = list(kept)
    taken = {job.name: job for job in kept}
    new: set[str] = set()
    for task in tasks:
        name = _name(task, taken.keys() | new)
        if any(job.task == task for job in kept) or (name in taken and name not in new):
            continue  # a plan made anew may name what is done already
        if name in new or any(job.task == task for job in jobs):
            raise PlanRefused(
                f"The plan of '{planner}' has the task {_quoted(task)} twice. Let it plan each task once, with an id of its own.",
                (name,),
            )
        label = worker_of(task)
        if label not in words:
            raise PlanRefused(
                f"The plan of '{planner}' gives the task {_quoted(task)} to {word(label)!r}. {did_you_mean(word(label), words.values())}",
                (name,),
            )
        jobs.append(make(name=name, label=words[label], needs=read_needs(task), task=task))
        new.add(name)
    if not jobs:
        raise PlanRefused(
            f"The plan of '{planner}' is empty: there is nothing to do. Let it name at least one task."
        )
    if len(jobs) > max_tasks:
        raise TooManyItems(
            f"The plan of '{planner}' has {len(jobs)} tasks, and max_tasks is {max_tasks}. Raise max_tasks, or let it plan fewer."
        )
    _check_order(jobs, planner)
    return jobs


def find_ready(jobs: Sequence[PlannedTask]) -> list[PlannedTask]:
    """The open jobs of which everything is done that they wait for."""
    done = {job.name for job in jobs if job.status == "done"}
    return [job for job in jobs if job.status == "open" and done.issuperset(job.needs)]


def _check_order(jobs: Sequence[PlannedTask], planner: str) -> None:
    names = {job.name for job in jobs}
    for job in jobs:
        unknown = [need for need in job.needs if need not in names]
        if unknown:
            raise PlanRefused(
                f"In the plan of '{planner}' task '{job.name}' waits for '{unknown[0]}'. {did_you_mean(unknown[0], names)}",
                (job.name, unknown[0]),
            )
    left = {job.name: set(job.needs) for job in jobs}
    while free := [name for name, needs in left.items() if not needs & left.keys()]:
        for name in free:
            del left[name]
    if left:
        circle = _circle(left)
        told = " waits for ".join([*circle, circle[0]])
        raise PlanRefused(
            f"The plan of '{planner}' goes round in a circle: {told}. Let it drop one of these.",
            tuple(circle),
        )


def _circle(left: Mapping[str, set[str]]) -> list[str]:
    """The names on one circle of those that wait for each other."""
    path = [next(iter(left))]
    while True:
        following = next(name for name in left if name in left[path[-1]])
        if following in path:
            return path[path.index(following) :]
        path.append(following)


def _name(task: BaseModel, taken: Set[str]) -> str:
    own = getattr(task, "id", None)
    return (
        str(own)
        if own not in (None, "")
        else next(name for name in map(str, itertools.count(1)) if name not in taken)
    )


def _quoted(task: BaseModel) -> str:
    return shorten_text(repr(task), 60)

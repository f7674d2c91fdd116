"""A supervisor's plan as data: its tasks, what they wait for, and whether it can be carried out."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any, Literal

from pydantic import BaseModel

from graphorch.errors import TooManyItems, did_you_mean
from graphorch.patterns.digests import shorten_text
from graphorch.patterns.errors import PlanRefused
from graphorch.patterns.router import format_label

NEEDS = ("needs", "after")
"""Fields of a task that name, by their `id`, the tasks that must be done before it."""


class PlannedTask(BaseModel):
    """A task with its worker and status; a subclass made for each supervisor has its type.

    `number` is the index of its report among the reports of the worker.
    """

    name: str
    label: str
    needs: list[str] = []
    status: Literal["open", "given", "done", "declined"] = "open"
    number: int = -1
    reason: str = ""
    task: Any = None


def read_needs(task: BaseModel) -> list[str]:
    """Return the names of the tasks that must be done before this one."""
    return [str(need) for field in NEEDS for need in getattr(task, field, None) or ()]


def plan_tasks(
    tasks: Sequence[BaseModel],
    kept: Sequence[PlannedTask],
    make: Callable[..., PlannedTask],
    worker_of: Callable[[Any], Any],
    labels: Mapping[Any, str],
    max_tasks: int,
    planner: str,
) -> list[PlannedTask]:
    """Return the tasks of a plan beside `kept`, those that are done already.

    Raises `PlanRefused`, and `TooManyItems` for more than `max_tasks`.
    """
    jobs: list[PlannedTask] = list(kept)
    done_names = {job.name for job in kept}
    new: set[str] = set()
    for task in tasks:
        name = _name_task(task, done_names | new)
        # Another plan may name what is done already.
        if any(job.task == task for job in kept) or (name in done_names and name not in new):
            continue
        if name in new or any(job.task == task for job in jobs):
            raise PlanRefused(
                f"The plan of '{planner}' has the task {_quote(task)} twice. "
                "Let it plan each task once, with an id of its own.",
                (name,),
            )
        label = worker_of(task)
        if label not in labels:
            wanted = format_label(label)
            raise PlanRefused(
                f"The plan of '{planner}' gives the task {_quote(task)} to {wanted!r}. "
                f"{did_you_mean(wanted, labels.values())}",
                (name,),
            )
        jobs.append(make(name=name, label=labels[label], needs=read_needs(task), task=task))
        new.add(name)
    if not jobs:
        raise PlanRefused(
            f"The plan of '{planner}' is empty: there is nothing to do. "
            "Let it name at least one task."
        )
    if len(jobs) > max_tasks:
        raise TooManyItems(
            f"The plan of '{planner}' has {len(jobs)} tasks, and max_tasks is {max_tasks}. "
            "Raise max_tasks, or let it plan fewer."
        )
    _check_order(jobs, planner)
    return jobs


def find_ready(jobs: Sequence[PlannedTask]) -> list[PlannedTask]:
    """Return the open tasks whose needs are all done."""
    done = {job.name for job in jobs if job.status == "done"}
    return [job for job in jobs if job.status == "open" and done.issuperset(job.needs)]


def _check_order(jobs: Sequence[PlannedTask], planner: str) -> None:
    """Raise `PlanRefused` if a task waits for an unknown one, or for itself in a cycle."""
    names = {job.name for job in jobs}
    for job in jobs:
        unknown = [need for need in job.needs if need not in names]
        if unknown:
            raise PlanRefused(
                f"In the plan of '{planner}' task '{job.name}' waits for '{unknown[0]}'. "
                f"{did_you_mean(unknown[0], names)}",
                (job.name, unknown[0]),
            )
    # Remove tasks that wait for none of the rest, as long as there are any: what is left is cyclic.
    left = {job.name: set(job.needs) for job in jobs}
    while free := [name for name, needs in left.items() if not needs & left.keys()]:
        for name in free:
            del left[name]
    if left:
        cycle = _find_cycle(left)
        chain = " waits for ".join([*cycle, cycle[0]])
        raise PlanRefused(
            f"The plan of '{planner}' has a cycle: {chain}. Let it drop one of these.",
            tuple(cycle),
        )


def _find_cycle(left: Mapping[str, set[str]]) -> list[str]:
    """Return the names on a cycle; each task in `left` waits for another one in it."""
    path = [next(iter(left))]
    while True:
        following = next(name for name in left if name in left[path[-1]])
        if following in path:
            return path[path.index(following) :]
        path.append(following)


def _name_task(task: BaseModel, taken: Set[str]) -> str:
    """Return the id of a task, or the lowest number that is not taken."""
    own = getattr(task, "id", None)
    if own not in (None, ""):
        return str(own)
    return next(name for name in map(str, itertools.count(1)) if name not in taken)


def _quote(task: BaseModel) -> str:
    return shorten_text(repr(task), 60)

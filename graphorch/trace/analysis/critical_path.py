"""What a run's time went into: its critical path, the slack of everything else, and what a change would give.

The activations of a run with their durations and with what each waited for are a project plan (Kelley and Walker 1959, "Critical-path
planning and scheduling"): an activation begins when all that it consumed is there. Times of people do not count, as for deadlines. A
duration is that of all attempts with their pauses; time spent waiting for a free slot of a concurrency limit is part of it, since nobody
records it apart.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from graphorch.core.run import Run
from graphorch.core.tree import Activation
from graphorch.errors import InputError
from graphorch.trace.spans.model import strip_index

_LIMITS = (1, 2, 4, 8, 16)


@dataclass(frozen=True, slots=True)
class WorkItem:
    """One activation as work: how long it took, and the numbers of those that had to be done before."""

    path: str
    seconds: float
    after: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Slack:
    """One step of the flow, over all its activations: how much of it lies on the critical path, and by how much it could take longer."""

    step: str
    visits: int
    seconds: float
    critical_seconds: float
    slack: float
    twice_as_fast: float  # seconds that the run would take then


@dataclass(frozen=True, slots=True)
class CriticalPath:
    """`seconds` is the length of the path, `measured` what the run took; `path` holds (path, seconds) from first to last.

    `with_limit` says how long the run would take if so many nodes ran at once (list scheduling, longest remaining path first); `unlimited`
    is the path itself.
    """

    seconds: float
    measured: float
    busy: float
    path: tuple[tuple[str, float], ...]
    steps: tuple[Slack, ...]
    with_limit: Mapping[int, float]


def collect_work(run: Run) -> list[WorkItem]:
    """The finished activations of a run as work, each after what it depends on."""
    numbers: dict[int, int] = {}
    work: list[WorkItem] = []
    inside: dict[int, list[Activation]] = {}
    for activation in run.history:  # what is inside of a sub-flow or map comes before it
        if not activation.ended_at:
            continue
        sources = (
            [item for scope in activation.children.scopes for item in inside.get(id(scope), ())]
            if activation.children is not None
            else []
        )
        before = {
            numbers[id(source)]
            for source in sources or _consumed(activation)
            if id(source) in numbers
        }
        inside.setdefault(id(activation.scope), []).append(activation)
        is_wait = activation.step.ask is not None or activation.children is not None
        numbers[id(activation)] = len(work)
        work.append(
            WorkItem(
                activation.path,
                0.0 if is_wait else max(0.0, activation.ended_at - activation.started_at),
                tuple(sorted(before)),
            )
        )
    return work


def critical_path(run: Run, measured: float) -> CriticalPath:
    """The critical path of a run. Raises `InputError` if nothing of it is finished."""
    work = collect_work(run)
    if not work:
        raise InputError(
            f"Nothing of run {run.run_id} is finished yet, so it has no critical path. Ask again when something is."
        )
    finish = finishes(work)
    total = max(finish)
    path = _backwards(work, finish)
    late = _latest(work, total)
    steps: dict[str, list[int]] = {}
    for number, item in enumerate(work):
        steps.setdefault(strip_index(item.path), []).append(number)
    rows = [_slack(step, numbers, work, finish, late, set(path)) for step, numbers in steps.items()]
    rows.sort(key=lambda row: (-row.critical_seconds, row.slack, row.step))
    return CriticalPath(
        total,
        measured,
        sum(work_item.seconds for work_item in work),
        tuple((work[number].path, work[number].seconds) for number in path if work[number].seconds),
        tuple(row for row in rows if row.seconds),
        {limit: simulate(work, limit) for limit in _LIMITS},
    )


def finishes(work: Sequence[WorkItem]) -> list[float]:
    """When each work is done at the earliest, from 0."""
    finish: list[float] = []
    for item in work:
        finish.append(max((finish[number] for number in item.after), default=0.0) + item.seconds)
    return finish


def simulate(work: Sequence[WorkItem], limit: int) -> float:
    """How long all of it takes with so many at once: whenever a slot is free, the ready work with the longest way to the end starts."""
    after: list[list[int]] = [[] for _ in work]
    missing = [len(work_item.after) for work_item in work]
    for number, item in enumerate(work):
        for before in item.after:
            after[before].append(number)
    tail = [0.0] * len(work)
    for number in range(len(work) - 1, -1, -1):
        tail[number] = work[number].seconds + max(
            (tail[value] for value in after[number]), default=0.0
        )
    ready = [(-tail[number], number) for number, count in enumerate(missing) if not count]
    heapq.heapify(ready)
    running: list[tuple[float, int]] = []
    now = 0.0
    while ready or running:
        while ready and len(running) < limit:
            _, number = heapq.heappop(ready)
            heapq.heappush(running, (now + work[number].seconds, number))
        now, done = heapq.heappop(running)
        for entry in after[done]:
            missing[entry] -= 1
            if not missing[entry]:
                heapq.heappush(ready, (-tail[entry], entry))
    return now


def _slack(
    step: str,
    numbers: Sequence[int],
    work: Sequence[WorkItem],
    finish: Sequence[float],
    late: Sequence[float],
    path: set[int],
) -> Slack:
    chosen = set(numbers)
    changed = work  # what is not on the path gives nothing when it is faster
    if chosen & path:
        changed = [
            WorkItem(item.path, item.seconds / 2, item.after) if number in chosen else item
            for number, item in enumerate(work)
        ]
    return Slack(
        step,
        len(numbers),
        sum(work[number].seconds for number in numbers),
        sum(work[number].seconds for number in numbers if number in path),
        min(late[number] - finish[number] for number in numbers),
        max(finishes(changed)) if changed is not work else max(finish),
    )


def _latest(work: Sequence[WorkItem], total: float) -> list[float]:
    """When each work has to be done at the latest, so that nothing becomes later."""
    late = [total] * len(work)
    for number in range(len(work) - 1, -1, -1):
        for before in work[number].after:
            late[before] = min(late[before], late[number] - work[number].seconds)
    return late


def _backwards(work: Sequence[WorkItem], finish: Sequence[float]) -> list[int]:
    """The path, from its first work to its last."""
    at: int | None = max(range(len(work)), key=lambda number: finish[number])
    path: list[int] = []
    while at is not None:
        path.append(at)
        at = max(work[at].after, key=lambda number: finish[number], default=None)
    return path[::-1]


def _consumed(activation: Activation) -> list[Activation]:
    """What led to an activation; for the first ones inside of a flow that is what led to the flow."""
    found: list[Activation] = []
    for token in activation.tokens:
        if token.source is not None:
            found.append(token.source)
        elif activation.scope.parent is not None:
            found += _consumed(activation.scope.parent)
    return found

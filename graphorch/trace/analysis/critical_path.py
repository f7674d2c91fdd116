"""The critical path of a run, the slack of everything else, and the gain of a change.

The activations of a run, with their durations and dependencies, are a project plan (Kelley and
Walker 1959, "Critical-path planning and scheduling"): an activation begins when all that it
consumes is there. Times of people do not count, as for deadlines. A duration is that of all
attempts with their pauses; time spent waiting for a free slot of a concurrency limit is part of it,
since it is not recorded apart.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from graphorch.core.run import Run
from graphorch.core.tree import Activation
from graphorch.errors import InputError
from graphorch.trace.spans.model import strip_index

_LIMITS = (1, 2, 4, 8, 16)  # concurrency limits that are simulated


@dataclass(frozen=True, slots=True)
class WorkItem:
    """One activation as work: its duration, and the numbers of those that it waited for."""

    path: str
    seconds: float
    after: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Slack:
    """One step of the flow, over all its activations.

    `critical_seconds` lie on the critical path; `slack` is how many seconds longer it could take
    without delaying the run; `twice_as_fast` the seconds that the run would take if it took half.
    """

    step: str
    visits: int
    seconds: float
    critical_seconds: float
    slack: float
    twice_as_fast: float


@dataclass(frozen=True, slots=True)
class CriticalPath:
    """The critical path of a run: `path` holds (path, seconds) from first to last.

    `seconds` is its length, `measured` what the run took, `busy` the sum of all work. `with_limit`
    has the seconds that the run would take with so many nodes at once (list scheduling, longest
    remaining path first).
    """

    seconds: float
    measured: float
    busy: float
    path: tuple[tuple[str, float], ...]
    steps: tuple[Slack, ...]
    with_limit: Mapping[int, float]


def collect_work(run: Run) -> list[WorkItem]:
    """Return the finished activations of a run as work, each after what it depends on."""
    numbers: dict[int, int] = {}
    work: list[WorkItem] = []
    by_scope: dict[int, list[Activation]] = {}
    # In the history the activations inside of a sub-flow or map come before it.
    for activation in run.history:
        if not activation.ended_at:
            continue
        sources: list[Activation] = []
        children = activation.children
        if children is not None:
            sources = [item for scope in children.scopes for item in by_scope.get(id(scope), ())]
        sources = sources or _find_sources(activation)
        after = {numbers[id(source)] for source in sources if id(source) in numbers}
        by_scope.setdefault(id(activation.scope), []).append(activation)
        # People, and what is inside, are not work of the activation itself.
        is_waiting = activation.step.ask is not None or children is not None
        seconds = max(0.0, activation.ended_at - activation.started_at)
        numbers[id(activation)] = len(work)
        work.append(WorkItem(activation.path, 0.0 if is_waiting else seconds, tuple(sorted(after))))
    return work


def find_critical_path(run: Run, measured: float) -> CriticalPath:
    """Return the critical path of a run that took `measured` seconds.

    Raises `InputError` if no activation is finished.
    """
    work = collect_work(run)
    if not work:
        raise InputError(
            f"Nothing of run {run.run_id} is finished yet, so it has no critical path. "
            "Ask again when something is."
        )
    finish = compute_finishes(work)
    total = max(finish)
    path = _trace_back(work, finish)
    latest = _compute_latest(work, total)
    numbers_by_step: dict[str, list[int]] = {}
    for number, item in enumerate(work):
        numbers_by_step.setdefault(strip_index(item.path), []).append(number)
    slacks = [
        _build_slack(step, numbers, work, finish, latest, set(path))
        for step, numbers in numbers_by_step.items()
    ]
    slacks.sort(key=lambda slack: (-slack.critical_seconds, slack.slack, slack.step))
    path_items = [work[number] for number in path]
    return CriticalPath(
        seconds=total,
        measured=measured,
        busy=sum(item.seconds for item in work),
        path=tuple((item.path, item.seconds) for item in path_items if item.seconds),
        steps=tuple(slack for slack in slacks if slack.seconds),
        with_limit={limit: simulate(work, limit) for limit in _LIMITS},
    )


def compute_finishes(work: Sequence[WorkItem]) -> list[float]:
    """Return the earliest end of each item, in seconds from the beginning. O(items + edges)."""
    finish: list[float] = []
    for item in work:
        start = max((finish[number] for number in item.after), default=0.0)
        finish.append(start + item.seconds)
    return finish


def simulate(work: Sequence[WorkItem], limit: int) -> float:
    """Return the seconds that all work takes with `limit` items at once.

    Whenever a slot is free, the ready item with the longest way to the end starts (list
    scheduling). O(edges + items × log items).
    """
    followers: list[list[int]] = [[] for _ in work]
    for number, item in enumerate(work):
        for before in item.after:
            followers[before].append(number)

    # 1. The longest way from each item to the end, from the last item to the first.
    tail = [0.0] * len(work)
    for number in reversed(range(len(work))):
        rest = max((tail[follower] for follower in followers[number]), default=0.0)
        tail[number] = work[number].seconds + rest

    # 2. Let time jump from one end of an item to the next.
    missing = [len(item.after) for item in work]
    ready = [(-tail[number], number) for number, count in enumerate(missing) if not count]
    heapq.heapify(ready)
    running: list[tuple[float, int]] = []
    now = 0.0
    while ready or running:
        while ready and len(running) < limit:
            _, number = heapq.heappop(ready)
            heapq.heappush(running, (now + work[number].seconds, number))
        now, done = heapq.heappop(running)
        for follower in followers[done]:
            missing[follower] -= 1
            if not missing[follower]:
                heapq.heappush(ready, (-tail[follower], follower))
    return now


def _build_slack(
    step: str,
    numbers: Sequence[int],
    work: Sequence[WorkItem],
    finish: Sequence[float],
    latest: Sequence[float],
    path: set[int],
) -> Slack:
    critical = [number for number in numbers if number in path]
    twice_as_fast = max(finish)
    # Off the critical path nothing is gained.
    if critical:
        faster = list(work)
        for number in numbers:
            item = work[number]
            faster[number] = WorkItem(item.path, item.seconds / 2, item.after)
        twice_as_fast = max(compute_finishes(faster))
    return Slack(
        step=step,
        visits=len(numbers),
        seconds=sum(work[number].seconds for number in numbers),
        critical_seconds=sum(work[number].seconds for number in critical),
        slack=min(latest[number] - finish[number] for number in numbers),
        twice_as_fast=twice_as_fast,
    )


def _compute_latest(work: Sequence[WorkItem], total: float) -> list[float]:
    """Return the latest end of each item that does not delay the run."""
    latest = [total] * len(work)
    for number in reversed(range(len(work))):
        start = latest[number] - work[number].seconds
        for before in work[number].after:
            latest[before] = min(latest[before], start)
    return latest


def _trace_back(work: Sequence[WorkItem], finish: Sequence[float]) -> list[int]:
    """Return the critical path from its first item to its last."""
    number: int | None = max(range(len(work)), key=finish.__getitem__)
    path: list[int] = []
    while number is not None:
        path.append(number)
        number = max(work[number].after, key=finish.__getitem__, default=None)
    return path[::-1]


def _find_sources(activation: Activation) -> list[Activation]:
    """Return the activations that led to this one.

    For the first ones inside of a flow, those are the sources of the flow's own activation.
    """
    sources: list[Activation] = []
    for token in activation.tokens:
        if token.source is not None:
            sources.append(token.source)
        elif activation.scope.parent is not None:
            sources += _find_sources(activation.scope.parent)
    return sources

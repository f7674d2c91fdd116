"""A schedule of work: when each item starts, given what it waits for and the limits around it.

The engine starts what is ready, and where a limit has no free slot, who came first gets the next
one; so does this schedule. A slot that an item gets from another one is a dependency, too: the item
could not have started before the other one ended. The critical path goes along both kinds.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

_NOBODY = -1  # had a slot before


@dataclass(frozen=True, slots=True)
class WorkItem:
    """One activation as work, or a part of one: its seconds, and the items that it waited for.

    It starts when it has a slot of each of the limits in `takes`, and gives back those in `frees`
    at its end. Of items that become ready at once, the one with the lower `turn` comes first.
    `step` is what it belongs to, if that does not follow from its path, and it counts as `visits`.
    """

    path: str
    seconds: float
    after: tuple[int, ...] = ()
    takes: tuple[int, ...] = ()
    frees: tuple[int, ...] = ()
    turn: tuple[float, int] = (0.0, 0)
    step: str = ""
    visits: int = 1


@dataclass(frozen=True, slots=True)
class Limit:
    """Limit on how much runs at once, by the name of what it limits; None is no limit."""

    name: str
    at_once: int | None


@dataclass(frozen=True, slots=True)
class Work:
    """Items, each after those that it waited for, and the limits that they number."""

    items: Sequence[WorkItem]
    limits: Sequence[Limit] = ()

    def with_limits(self, limits: Iterable[Limit]) -> Work:
        """Return the same work under other limits."""
        return Work(self.items, tuple(limits))

    def with_faster(self, numbers: Iterable[int], factor: float) -> Work:
        """Return the work with the seconds of some items multiplied."""
        items = list(self.items)
        for number in numbers:
            items[number] = replace(items[number], seconds=items[number].seconds * factor)
        return Work(items, self.limits)


@dataclass(slots=True)
class Schedule:
    """Ends of all items, in seconds from the beginning, and why they did not start earlier.

    `order` is that of their starts. `causes` has the item whose end was the last thing that each
    waited for, and `blockers` all that it could not start before. `contested` holds the limits at
    which something had to wait.
    """

    finish: list[float]
    causes: list[int | None]
    blockers: list[list[int]]
    order: list[int] = field(default_factory=list[int])
    contested: set[int] = field(default_factory=set[int])

    @property
    def seconds(self) -> float:
        """Seconds until everything is done."""
        return max(self.finish, default=0.0)

    def trace_path(self) -> list[int]:
        """Return the critical path, from its first item to its last."""
        number: int | None = None
        if self.finish:
            number = max(range(len(self.finish)), key=self.finish.__getitem__)
        path: list[int] = []
        while number is not None:
            path.append(number)
            number = self.causes[number]
        return path[::-1]

    def compute_slack(self, items: Sequence[WorkItem]) -> list[float]:
        """Return how much longer each item could take without delaying the end of everything."""
        latest = [self.seconds] * len(items)
        for number in reversed(self.order):
            start = latest[number] - items[number].seconds
            for before in self.blockers[number]:
                latest[before] = min(latest[before], start)
        return [late - end for late, end in zip(latest, self.finish, strict=True)]


def compute_finishes(items: Sequence[WorkItem]) -> list[float]:
    """Return the earliest end of each item without limits. O(items + dependencies)."""
    finish: list[float] = []
    for item in items:
        start = max((finish[number] for number in item.after), default=0.0)
        finish.append(start + item.seconds)
    return finish


def measure(work: Work) -> float:
    """Return the seconds that work takes. O(items × log items), less without limits."""
    if all(limit.at_once is None for limit in work.limits):
        return max(compute_finishes(work.items), default=0.0)
    return schedule(work).seconds


def schedule(work: Work) -> Schedule:
    """Return when everything happens. O(dependencies + items × log items)."""
    return _Simulation(work).run()


class _Simulation:
    """Time jumps from one end of an item to the next."""

    def __init__(self, work: Work) -> None:
        items = self._items = work.items
        self._limits = [limit.at_once for limit in work.limits]
        # who had each free slot last: one that nobody had comes first
        self._free = [deque([_NOBODY] * (at_once or 0)) for at_once in self._limits]
        self._queues: list[deque[int]] = [deque() for _ in self._limits]
        self._held = [0] * len(items)  # how many of the slots that it needs each item has
        self._missing = [len(item.after) for item in items]
        self._followers: list[list[int]] = [[] for _ in items]
        for number, item in enumerate(items):
            for before in item.after:
                self._followers[before].append(number)
        self._ready: list[tuple[bool, tuple[float, int], int]] = []
        self._running: list[tuple[float, int]] = []
        self._now = 0.0
        count = len(items)
        blockers = [list(item.after) for item in items]
        self._schedule = Schedule([0.0] * count, [None] * count, blockers)

    def run(self) -> Schedule:
        """Return the schedule."""
        for number, missing in enumerate(self._missing):
            if not missing:
                self._make_ready(number)
        while self._ready or self._running:
            while self._ready:
                self._advance(heapq.heappop(self._ready)[-1])
            if self._running:
                self._now = self._running[0][0]
                # What ends at the same moment ends together, so that turns decide what comes next.
                while self._running and self._running[0][0] == self._now:
                    self._end(heapq.heappop(self._running)[1])
        return self._schedule

    def _make_ready(self, number: int) -> None:
        """Let an item start by its turn; those of no seconds come first, since more may follow."""
        item = self._items[number]
        heapq.heappush(self._ready, (item.seconds > 0, item.turn, number))

    def _end(self, number: int) -> None:
        """End an item, hand on its slots, and make ready what waited for nothing else."""
        self._schedule.finish[number] = self._now
        for limit in reversed(self._items[number].frees):
            self._free_slot(limit, number)
        for follower in self._followers[number]:
            self._missing[follower] -= 1
            if not self._missing[follower]:
                self._schedule.causes[follower] = number
                self._make_ready(follower)

    def _free_slot(self, limit: int, number: int) -> None:
        if self._limits[limit] is None:
            return
        if not self._queues[limit]:
            self._free[limit].append(number)
            return
        waiter = self._queues[limit].popleft()
        self._schedule.causes[waiter] = number
        self._take(waiter, number)
        self._make_ready(waiter)

    def _advance(self, number: int) -> None:
        """Give an item the slots that it still needs, and start it; or let it wait for one."""
        item = self._items[number]
        while self._held[number] < len(item.takes):
            limit = item.takes[self._held[number]]
            if self._limits[limit] is None:
                self._held[number] += 1
            elif self._free[limit]:
                self._take(number, self._free[limit].popleft())
            else:
                self._queues[limit].append(number)
                self._schedule.contested.add(limit)
                return
        self._schedule.order.append(number)
        if item.seconds:
            heapq.heappush(self._running, (self._now + item.seconds, number))
        else:
            self._end(number)

    def _take(self, number: int, before: int) -> None:
        """Count a slot for an item, which another item had before."""
        self._held[number] += 1
        if before != _NOBODY:
            self._schedule.blockers[number].append(before)

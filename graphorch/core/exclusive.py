"""Exclusive regions: of the nodes of one region, one runs at a time in the whole run.

Rule 1: an activation takes all regions of its node at once before it starts, and gives them back
    when it is over. In between it holds them: through retries, questions, what goes on inside of a
    sub-flow or map, and the rest of a run that was stopped or whose process ended.
Rule 2: what cannot have its regions yet is HELD. It is active in its scope, where joins wait for
    it, but keeps no driver busy.
Rule 3: a region that becomes free goes to the activation that came first among those that can start
    with it. In a closed scope nothing can; it keeps its place.
Rule 4: a person at a gate before the node comes first: what is asked there is not held yet.
Rule 5: turns are given while the activation that ended, or what cancelled it, still keeps a driver
    busy, and at the end of each event. So no scope seems stuck, or at rest, that has something to
    start.
Rule 6: no state goes through a region, so the order of turns never shows in a result; and it
    follows from the order of events alone, so a replay gives the same turns without any record.

Only what holds one region and has another one inside itself holds and waits. `build()` refuses
regions that are nested in a circle, so the innermost holder can always go on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from graphorch.core.tree import Activation, Scope, Status


class ExclusiveRegions:
    """Who holds the exclusive regions of a run, by name, and who waits for them, in order."""

    __slots__ = ("_free", "_holders", "_waiting")

    def __init__(self) -> None:
        self._holders: dict[str, Activation] = {}
        self._waiting: dict[str, deque[Activation]] = {}
        self._free: set[str] = set()  # regions that someone who waits may have got

    def add(self, activation: Activation, *, is_first: bool = False) -> None:
        """Have an activation wait for all of its regions, behind those that wait already."""
        for name in activation.step.exclusive:
            waiting = self._waiting.setdefault(name, deque())
            if is_first:
                waiting.appendleft(activation)
            else:
                waiting.append(activation)
        self.look_again(activation)

    def look_again(self, activation: Activation) -> None:
        """Give a turn to an activation that waits, if its regions are free and it can start now."""
        self._free.update(activation.step.exclusive)

    def release(self, activation: Activation) -> None:
        """Give back what an activation holds; nothing if it holds no region."""
        for name in activation.step.exclusive:
            if self._holders.get(name) is activation:
                del self._holders[name]
                self._free.add(name)

    def take_turns(self) -> Iterator[Activation]:
        """Give the regions that are free to those who wait for them, one after the other."""
        while self._free:
            # A region that two could take goes by the order of names first: that is the same in
            # every process.
            name = min(self._free)
            self._free.remove(name)
            activation = None if name in self._holders else self._find_next(name)
            if activation is not None:
                self._take(activation)
                yield activation

    def _find_next(self, name: str) -> Activation | None:
        """Return the first activation that waits for a region and can start with it."""
        waiting = self._waiting.get(name, deque[Activation]())
        while waiting and waiting[0].status is not Status.HELD:
            waiting.popleft()  # it got its turn, or was cancelled
        return next(filter(self._can_start, waiting), None)

    def _can_start(self, activation: Activation) -> bool:
        return (
            activation.status is Status.HELD
            and not activation.scope.closed
            and self._holders.keys().isdisjoint(activation.step.exclusive)
        )

    def _take(self, activation: Activation) -> None:
        for name in activation.step.exclusive:
            self._holders.setdefault(name, activation)

    def is_holder(self, activation: Activation) -> bool:
        """Return whether an activation holds its regions."""
        return any(holder is activation for holder in self._holders.values())

    def find_holder(self, activation: Activation) -> Activation | None:
        """Return what holds a region that an activation needs; None if all of them are free."""
        holders = (self._holders.get(name) for name in activation.step.exclusive)
        return next((holder for holder in holders if holder is not None), None)

    def preempt(self, activation: Activation) -> list[Activation]:
        """Let an activation have its regions out of turn; return who has to wait instead.

        A holder that has done something keeps its region, and both are under way.
        """
        holders = [self._holders.get(name) for name in activation.step.exclusive]
        idle = [holder for holder in holders if holder is not None and _has_done_nothing(holder)]
        preempted = list(dict.fromkeys(idle))
        for holder in preempted:
            self.release(holder)
        self._take(activation)
        return preempted


def _has_done_nothing(activation: Activation) -> bool:
    return (
        activation.status is Status.RUNNING
        and activation.children is None
        and activation.attempt == 1
    )


def is_held_inside(scope: Scope) -> bool:
    """Return whether something in a scope, or inside of it, waits for its turn."""
    return any(item.status is Status.HELD for item in scope.active.values()) or any(
        map(is_held_inside, scope.child_scopes())
    )

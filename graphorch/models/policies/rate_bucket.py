"""Token buckets that may go into debt: the debt is the queue.

A tenth of the limit may come at once, and the rest refills in a minute: no minute, wherever it
begins, holds more than the limit (a bucket of the whole limit would let twice as much through in
its first minute). A bucket of one process keeps its level here; one that processes share keeps it
in a store.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class BucketRules:
    """Size of a bucket, and what flows in per second."""

    capacity: float
    rate: float

    @staticmethod
    def of(per_minute: float, *, late: float = 0.0) -> BucketRules:
        """Return the rules for a limit per minute.

        `late` is the seconds by which what was taken may be used later than it was counted.
        """
        capacity = max(1.0, per_minute / 10)
        return BucketRules(capacity, max(per_minute - capacity, per_minute / 2) / (60 + late))

    def find_wait(self, level: float, amount: float) -> float:
        """Return the seconds until an amount may be used that was taken at a level.

        An amount larger than the bucket waits for a full one, and leaves it in debt.
        """
        return max(0.0, (min(amount, self.capacity) - level) / self.rate)


class LimitStore(Protocol):
    """Place where the processes of one machine share levels of buckets, and pauses.

    It is called on the event loop: it must be local and fast.
    """

    def take(self, key: str, amount: float, rules: BucketRules) -> float:
        """Refill a bucket, take an amount from it, and return its level before that, atomically.

        A bucket that does not exist is full. A negative amount gives back.
        """
        ...

    def pause(self, key: str, seconds: float) -> float:
        """Make a pause at least so long from now, and return the seconds that are left of it."""
        ...


@dataclass(frozen=True, slots=True)
class SharedLimits:
    """Key in a store under which the processes of this machine find the limits of one target."""

    store: LimitStore
    key: str


class Bucket:
    """Bucket of one limit. Mutable."""

    def __init__(
        self,
        per_minute: float,
        clock: Callable[[], float],
        *,
        name: str = "",
        shared: SharedLimits | None = None,
    ) -> None:
        self._rules = BucketRules.of(per_minute)
        self._clock = clock
        self._shared = shared
        self._key = "" if shared is None else f"{shared.key} {name}"
        self._level = self._rules.capacity
        self._filled_at = clock()

    def take(self, amount: float) -> float:
        """Take an amount, and return the seconds until it may be used."""
        if self._shared is not None:
            level = self._shared.store.take(self._key, amount, self._rules)
        else:
            level = self._refill()
            self._level -= amount
        return self._rules.find_wait(level, amount)

    def give_back(self, amount: float) -> None:
        """Return what was not used; a negative amount charges for what was used beyond."""
        if self._shared is not None:
            self._shared.store.take(self._key, -amount, self._rules)
        else:
            self._level += amount

    def _refill(self) -> float:
        now = self._clock()
        refilled = self._level + (now - self._filled_at) * self._rules.rate
        self._level = min(self._rules.capacity, refilled)
        self._filled_at = now
        return self._level

"""What an endpoint says is left of one of its limits, and when the whole limit is back."""

from __future__ import annotations

import math
from collections.abc import Callable

_LONGEST_WAIT = 60.0  # seconds; then one request finds out whether the endpoint still means it


class Allowance:
    """Allowance of one limit. Mutable; unlimited until the first report."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._left = math.inf
        self._until = 0.0
        self._limit = math.inf
        self._span = 0.0

    def follow(
        self, left: float, reset: float | None, limit: float | None, sent_since: float
    ) -> None:
        """Take over a report, less what was sent since the call that brought it."""
        if reset is None:
            return
        self._left = left - sent_since
        self._span = min(reset, _LONGEST_WAIT)
        self._until = self._clock() + self._span
        self._limit = math.inf if limit is None else limit

    def seconds_until(self, amount: float) -> float:
        """Return the seconds until an amount may be sent, 0 if now."""
        if self._left >= min(amount, self._limit):
            return 0.0
        now = self._clock()
        if now < self._until:
            return self._until - now
        # the limit is back, until the next report says more
        self._left, self._until = self._limit, now + self._span
        return 0.0

    def take(self, amount: float) -> None:
        """Count what is sent."""
        self._left -= amount

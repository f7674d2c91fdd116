"""The retry budget that all targets of a policy share, and the pauses between rounds of tries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from graphorch.errors import InputError

_LEAST_CEILING = 100.0  # retries that may be saved up at least


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRules:
    """Limits on the requests beyond the first of each call, and the pauses between rounds.

    The budget earns `share` of a request per call and `per_second`, and begins with `reserve`:
    after Finagle's retry budget (20 %), with a smaller floor because model calls are few and dear.
    `rounds` is how often each target of a policy is tried for one call; with 1 it never pauses.
    Pauses between rounds are spread at random (decorrelated jitter) from `first` to `longest`
    seconds. `patience` is the longest pause that a target may ask for.

    Raises `InputError` for values out of range.
    """

    share: float = 0.2
    per_second: float = 0.1
    reserve: int = 10
    rounds: int = 2
    first: float = 0.5
    longest: float = 20.0
    patience: float = 60.0

    def __post_init__(self) -> None:
        counts_are_valid = self.rounds >= 1 and self.reserve >= 0
        rates_are_valid = self.share >= 0 and self.per_second >= 0
        if not (counts_are_valid and rates_are_valid and 0 < self.first <= self.longest):
            raise InputError(
                f"{self} makes no sense: rounds ≥ 1, shares and counts ≥ 0, and "
                "0 < first ≤ longest."
            )


class RetryBudget:
    """Bound on the requests beyond the first of each call.

    All calls of a policy share it, so that an outage is not answered with more load.
    """

    def __init__(self, rules: RetryRules, *, clock: Callable[[], float]) -> None:
        self._rules = rules
        self._clock = clock
        self._left = float(rules.reserve)
        self._ceiling = max(_LEAST_CEILING, self._left)
        self._filled_at = clock()

    @property
    def left(self) -> float:
        """Requests that may still be made beyond the first ones."""
        return self._left

    def count_call(self) -> None:
        """Add the share that a new call earns, and what the time since the last one earned."""
        now = self._clock()
        earned = self._rules.share + self._rules.per_second * (now - self._filled_at)
        self._left = min(self._ceiling, self._left + earned)
        self._filled_at = now

    def try_take(self) -> bool:
        """Take one request out of the budget; return False if there is none."""
        if self._left < 1:
            return False
        self._left -= 1
        return True


def next_pause(rules: RetryRules, last: float, random: Callable[[], float]) -> float:
    """Return the seconds to wait after a pause of `last` seconds (0 before the first).

    Decorrelated jitter: M. Brooker, "Exponential backoff and jitter", 2015.
    """
    if last == 0:
        return min(rules.longest, rules.first * (0.5 + 0.5 * random()))
    highest = max(rules.first, last * 3)
    return min(rules.longest, rules.first + random() * (highest - rules.first))

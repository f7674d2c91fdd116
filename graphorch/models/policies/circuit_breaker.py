"""Circuit breaker of a target, and the retry budget that all targets of a policy share.

    closed ──(failures in a row, or too large a share)──▶ open ──(rest over)──▶ half-open
      ▲                                                    ▲                       │
      │                                                    └───(probe fails)───────┤ longer rest
      └────────────────────────────(probe succeeds)────────────────────────────────┘

Rules of this file:
1. Half-open, exactly one call goes through; all others are refused until its verdict.
2. A verdict counts only in the era in which its call was let in: a call from before the breaker
   opened neither closes it nor opens it again.
3. A call without a verdict (cancelled, or never sent) frees its place and changes nothing else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from graphorch.errors import InputError, ModelError

_MOST_DOUBLINGS = 16  # far beyond any longest rest; without a limit the power only grows
_LEAST_CEILING = 100.0  # retries that may be saved up at least


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerRules:
    """Thresholds of a circuit breaker.

    It opens after `in_a_row` failures, or when the share `ratio` of at least `volume` calls within
    `window` seconds failed. It rests for `rest` seconds, twice as long each time that a probe
    fails, up to `longest`. The defaults are those of Envoy's outlier detection (2026-11), with a
    ratio in place of its statistics over hundreds of hosts.

    Raises `InputError` for values out of range.
    """

    in_a_row: int = 5
    ratio: float = 0.5
    volume: int = 10
    window: float = 60.0
    rest: float = 30.0
    longest: float = 300.0

    def __post_init__(self) -> None:
        counts_are_valid = self.in_a_row >= 1 and self.volume >= 1
        times_are_valid = min(self.window, self.rest, self.longest) > 0
        if not (counts_are_valid and times_are_valid and 0 < self.ratio <= 1):
            raise InputError(
                f"{self} makes no sense: counts ≥ 1, 0 < ratio ≤ 1, and times in seconds above 0."
            )


class CircuitOpen(ModelError):
    """Not sent: the target failed too often and rests. `retry_after` is how long, in seconds."""

    def __init__(self, model: str, seconds: float) -> None:
        when = "one call is finding out whether it is back"
        if seconds > 0:
            when = f"it may be tried again in {seconds:.0f} s"
        message = (
            f"Model '{model}' was not asked: its last calls failed, and {when}. "
            "Wait, or put it into a policy with another model."
        )
        super().__init__(message, model=model, retryable=True, retry_after=max(seconds, 0.0))


class CallPermit:
    """Permission to make one call, to be closed with its verdict."""

    __slots__ = ("_breaker", "_era", "is_probe")

    def __init__(self, breaker: CircuitBreaker, era: int, *, is_probe: bool) -> None:
        self._breaker = breaker
        self._era = era
        self.is_probe = is_probe

    def close(self, verdict: bool | None) -> None:
        """Report how the call went: True it worked, False the target is at fault, None unknown."""
        self._breaker.record(self._era, verdict)


class CircuitBreaker:
    """Circuit breaker of one target. Mutable; `admit` and the permits that it gives change it."""

    def __init__(self, rules: BreakerRules | None = None, *, clock: Callable[[], float]) -> None:
        self._rules = rules or BreakerRules()
        self._clock = clock
        self._era = 0  # counts changes of state, see rule 2
        self._rests_until: float | None = None  # None: closed
        self._is_probing = False
        self._times_opened = 0
        self._failures_in_a_row = 0
        # (time, worked) of the calls within the window
        self._recent: deque[tuple[float, bool]] = deque(maxlen=max(200, self._rules.volume))
        self._recent_failures = 0

    @property
    def state(self) -> str:
        """State as a word: `closed`, `open` or `half-open`."""
        if self._rests_until is None:
            return "closed"
        if self._is_probing or self._clock() >= self._rests_until:
            return "half-open"
        return "open"

    @property
    def seconds_to_probe(self) -> float | None:
        """Seconds until a probe may go: 0 while one is on its way, None if calls go through."""
        if self._rests_until is None:
            return None
        return max(0.0, self._rests_until - self._clock())

    @property
    def refuses(self) -> bool:
        """Return whether a call would be refused now."""
        if self._rests_until is None:
            return False
        return self._is_probing or self._clock() < self._rests_until

    def admit(self, *, early: bool = False) -> CallPermit | None:
        """Return a permit for a call, or None if it is refused.

        `early` probes before the rest is over: for callers with no other target left.
        """
        if self._rests_until is None:
            return CallPermit(self, self._era, is_probe=False)
        is_resting = self._clock() < self._rests_until
        if self._is_probing or (is_resting and not early):
            return None
        self._is_probing = True
        self._era += 1
        return CallPermit(self, self._era, is_probe=True)

    def record(self, era: int, verdict: bool | None) -> None:
        """Count a verdict; a verdict of an earlier era changes nothing."""
        if era != self._era:
            return
        if self._is_probing:
            self._is_probing = False
            if verdict is True:
                self._close()
            elif verdict is False:
                self._open()
        elif verdict is not None and self._rests_until is None:
            self._count(verdict)

    def _count(self, worked: bool) -> None:
        # 1. Add the call to the window, and drop what has left it.
        now = self._clock()
        if len(self._recent) == self._recent.maxlen:
            self._forget_oldest()
        self._recent.append((now, worked))
        self._recent_failures += not worked
        while self._recent[0][0] < now - self._rules.window:
            self._forget_oldest()
        # 2. Only a failure can open the breaker.
        if worked:
            self._failures_in_a_row = 0
            return
        self._failures_in_a_row += 1
        calls = len(self._recent)
        is_large_share = self._recent_failures >= self._rules.ratio * calls
        has_failed_often = calls >= self._rules.volume and is_large_share
        if self._failures_in_a_row >= self._rules.in_a_row or has_failed_often:
            self._open()

    def _forget_oldest(self) -> None:
        _, worked = self._recent.popleft()
        self._recent_failures -= not worked

    def _open(self) -> None:
        rest = min(self._rules.rest * 2**self._times_opened, self._rules.longest)
        self._rests_until = self._clock() + rest
        self._times_opened = min(self._times_opened + 1, _MOST_DOUBLINGS)
        self._begin_era()

    def _close(self) -> None:
        self._rests_until = None
        self._times_opened = 0
        self._begin_era()

    def _begin_era(self) -> None:
        self._era += 1
        self._failures_in_a_row = 0
        self._recent_failures = 0
        self._recent.clear()


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRules:
    """Limits on the requests beyond the first of each call, and the pauses between rounds.

    The budget earns `share` of a request per call and `per_second`, and begins with `reserve`:
    after Finagle's retry budget (20 %), with a smaller floor because model calls are few and dear.
    `rounds` is how often all targets of a policy are tried for one call. Pauses between rounds are
    spread at random (decorrelated jitter) from `first` to `longest` seconds. `patience` is the
    longest pause that a target may ask for.

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

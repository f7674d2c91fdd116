"""Circuit breaker of a target: after too many failures the target rests.

    closed ──(failures in a row, or too large a share)──▶ open ──(rest over)──▶ half-open
      ▲                                                    ▲                       │
      │                                                    └───(probe fails)───────┤ longer rest
      └────────────────────────────(probe succeeds)────────────────────────────────┘

Rules of this file:
1. Half-open, exactly one call goes through; all others are refused until its verdict.
2. A verdict counts only in the era in which its call was let in: a call from before the breaker
   opened neither closes it nor opens it again.
3. A call without a verdict (cancelled, or never sent) frees its place and changes nothing else.
4. Only a probe after the whole rest makes the next rest longer. One that was sent early and fails
   leaves the rest as it was, or callers without another target would keep the target closed for
   long after a short outage.
5. Early probes keep a distance that doubles with each that fails, from half a second to five: an
   outage is not answered with more load, and its end is soon noticed.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from graphorch.errors import InputError, ModelError

_FIRST_DISTANCE, _LONGEST_DISTANCE = 0.5, 5.0  # seconds between early probes
_MOST_DOUBLINGS = 16  # far beyond any longest rest; without a limit the power only grows


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
        self._probed_at = -math.inf
        self._distance = _FIRST_DISTANCE
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
    def probed_at(self) -> float:
        """Time at which the last probe was sent; minus infinity before the first."""
        return self._probed_at

    @property
    def seconds_to_early_probe(self) -> float:
        """Seconds until a caller without another target may probe before the rest is over."""
        return max(0.0, self._probed_at + self._distance - self._clock())

    @property
    def is_probing(self) -> bool:
        """Return whether a probe is on its way."""
        return self._is_probing

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
        is_too_early = is_resting and (not early or self.seconds_to_early_probe > 0)
        if self._is_probing or is_too_early:
            return None
        self._is_probing = True
        self._probed_at = self._clock()
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
                self._distance = min(2 * self._distance, _LONGEST_DISTANCE)
                if self._probed_at >= (self._rests_until or 0.0):
                    self._open()
        elif verdict is not None and self._rests_until is None:
            self._open_if_failing(verdict)

    def _open_if_failing(self, worked: bool) -> None:
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
        self._distance = _FIRST_DISTANCE
        self._times_opened = 0
        self._begin_era()

    def _begin_era(self) -> None:
        self._era += 1
        self._failures_in_a_row = 0
        self._recent_failures = 0
        self._recent.clear()

"""Whether a target is worth asking: a circuit breaker for each one, and a budget on asking again for all of them together.

    closed ──(failures in a row, or too large a share of them)──▶ open ──(rested)──▶ half-open ──(probe succeeds)──▶ closed
                                                                   ▲                     │
                                                                   └──(probe fails)──────┘   each time longer

Rules of this file: half open, exactly one call goes through, everybody else is refused until its verdict; a call that was let in before
the breaker opened has no say any more; a call without a verdict (cancelled, or never sent) frees its place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from graphorch.errors import InputError, ModelError


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerRules:
    """Opens after `in_a_row` failures, or when the share `ratio` of at least `volume` calls within `window` seconds failed.

    It rests for `rest` seconds, twice as long when the probe fails, up to `longest`. The values are those of Envoy's outlier detection
    (2026-11), with a ratio in place of its statistics over hundreds of hosts. Raises `InputError` for values without sense.
    """

    in_a_row: int = 5
    ratio: float = 0.5
    volume: int = 10
    window: float = 60.0
    rest: float = 30.0
    longest: float = 300.0

    def __post_init__(self) -> None:
        if (
            self.in_a_row < 1
            or not 0 < self.ratio <= 1
            or self.volume < 1
            or min(self.window, self.rest, self.longest) <= 0
        ):
            raise InputError(
                f"{self} makes no sense: counts ≥ 1, 0 < ratio ≤ 1, and times in seconds above 0."
            )


class CircuitOpen(ModelError):
    """Not sent: the target has failed too often and rests. `retry_after` says for how long."""

    def __init__(self, model: str, seconds: float) -> None:
        when = (
            f"it may be tried again in {seconds:.0f} s"
            if seconds > 0
            else "one call is finding out whether it is back"
        )
        message = f"Model '{model}' was not asked: its last calls failed, and {when}. Wait, or put it into a policy with another model."
        super().__init__(message, model=model, retryable=True, retry_after=max(seconds, 0.0))


class CallPermit:
    """Leave to make one call. Give it back with a verdict: True it worked, False the target is at fault, None nothing was learnt."""

    __slots__ = ("_breaker", "_era", "is_probe")

    def __init__(self, breaker: CircuitBreaker, era: int, *, is_probe: bool) -> None:
        self._breaker = breaker
        self._era = era
        self.is_probe = is_probe

    def close(self, verdict: bool | None) -> None:
        """Say how the call went."""
        self._breaker.record(self._era, verdict)


class CircuitBreaker:
    """The circuit breaker of one target."""

    def __init__(self, rules: BreakerRules | None = None, *, clock: Callable[[], float]) -> None:
        self._rules = rules or BreakerRules()
        self._clock = clock
        # counts the changes of state, so that a verdict from an earlier one is known for what it is
        self._era = 0
        self._rests_until: float | None = None  # None: closed
        self._is_probing = False
        self._times_opened = 0
        self._in_a_row = 0
        self._recent: deque[tuple[float, bool]] = deque(maxlen=max(200, self._rules.volume))
        self._recent_failures = 0

    @property
    def state(self) -> str:
        """`closed`, `open` or `half-open`."""
        if self._rests_until is None:
            return "closed"
        return "half-open" if self._is_probing or self._clock() >= self._rests_until else "open"

    @property
    def seconds_to_probe(self) -> float | None:
        """None if calls go through, 0 if a probe may go or is on its way, else the seconds until one may."""
        return None if self._rests_until is None else max(0.0, self._rests_until - self._clock())

    @property
    def refuses(self) -> bool:
        """Whether a call would be refused now."""
        return self._rests_until is not None and (
            self._is_probing or self._clock() < self._rests_until
        )

    def admit(self, *, early: bool = False) -> CallPermit | None:
        """Leave for a call, or None. `early` probes before the rest is over: for when there is nowhere else to go."""
        if self._rests_until is None:
            return CallPermit(self, self._era, is_probe=False)
        if self._is_probing or (self._clock() < self._rests_until and not early):
            return None
        self._is_probing = True
        self._era += 1
        return CallPermit(self, self._era, is_probe=True)

    def record(self, era: int, verdict: bool | None) -> None:
        """Take a verdict in; one of an earlier era changes nothing."""
        if era != self._era:
            return
        if self._is_probing:
            self._is_probing = False
            if verdict is not None:
                self._close() if verdict else self._open()
        elif verdict is not None and self._rests_until is None:
            self._count(verdict)

    def _count(self, worked: bool) -> None:
        now = self._clock()
        if len(self._recent) == self._recent.maxlen:
            self._forget_oldest()
        self._recent.append((now, worked))
        self._recent_failures += not worked
        while self._recent[0][0] < now - self._rules.window:
            self._forget_oldest()
        self._in_a_row = 0 if worked else self._in_a_row + 1
        if worked:
            return
        many = len(
            self._recent
        ) >= self._rules.volume and self._recent_failures >= self._rules.ratio * len(self._recent)
        if many or self._in_a_row >= self._rules.in_a_row:
            self._open()

    def _forget_oldest(self) -> None:
        _, worked = self._recent.popleft()
        self._recent_failures -= not worked

    def _open(self) -> None:
        self._rests_until = self._clock() + min(
            self._rules.rest * 2**self._times_opened, self._rules.longest
        )
        # beyond it the longest rest holds, and the power would only grow
        self._times_opened = min(self._times_opened + 1, 16)
        self._start_over()

    def _close(self) -> None:
        self._rests_until = None
        self._times_opened = 0
        self._start_over()

    def _start_over(self) -> None:
        self._era += 1
        self._in_a_row = self._recent_failures = 0
        self._recent.clear()


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRules:
    """How many requests there may be beyond one for each call: `share` of the calls, `per_second`, and `reserve` saved up at the start.

    After Finagle's retry budget (20 %), with a smaller floor because model calls are few and dear. `rounds` is how often all targets
    of a policy are tried for one call. Pauses between rounds are spread (decorrelated jitter) from `first` to `longest` seconds.
    `patience` is the longest pause that a target may ask for.
    """

    share: float = 0.2
    per_second: float = 0.1
    reserve: int = 10
    rounds: int = 2
    first: float = 0.5
    longest: float = 20.0
    patience: float = 60.0

    def __post_init__(self) -> None:
        if (
            self.rounds < 1
            or min(self.share, self.per_second, self.reserve) < 0
            or not 0 < self.first <= self.longest
        ):
            raise InputError(
                f"{self} makes no sense: rounds ≥ 1, shares and counts ≥ 0, and 0 < first ≤ longest."
            )


class RetryBudget:
    """Bounds the requests beyond the first of each call, so that an outage is not answered with more load."""

    def __init__(self, rules: RetryRules, *, clock: Callable[[], float]) -> None:
        self._rules = rules
        self._clock = clock
        self._left = float(rules.reserve)
        self._ceiling = max(100.0, self._left)
        self._filled_at = clock()

    @property
    def left(self) -> float:
        """Requests that may still be made beyond the first ones."""
        return self._left

    def count_call(self) -> None:
        """A call begins: it earns its share."""
        now = self._clock()
        self._left = min(
            self._ceiling,
            self._left + self._rules.share + self._rules.per_second * (now - self._filled_at),
        )
        self._filled_at = now

    def try_take(self) -> bool:
        """Whether one more request may be made."""
        if self._left < 1:
            return False
        self._left -= 1
        return True


def next_pause(rules: RetryRules, last: float, random: Callable[[], float]) -> float:
    """Seconds to wait after a pause of `last` (0 before the first): decorrelated jitter (Brooker, "Exponential backoff and jitter", 2015)."""
    longest = max(rules.first, last * 3)
    return min(
        rules.longest,
        rules.first + random() * (longest - rules.first)
        if last
        else rules.first * (0.5 + 0.5 * random()),
    )

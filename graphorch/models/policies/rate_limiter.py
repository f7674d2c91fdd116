"""How fast a target may be asked: requests and tokens per minute, and how many at the same time. Whoever comes first goes first.

Rules of this file:
- buckets refill continuously; a call takes its turn by going into debt and waits until the debt is paid, which keeps the order
  without anybody having to be woken;
- nobody waits for a turn that comes too late: that is said at once;
- a call that is cancelled or fails while it waits gives everything back; one that used fewer tokens than it took gives back the rest.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from graphorch.clock import Runtime
from graphorch.errors import InputError, ModelError


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimits:
    """What one target allows: requests and tokens per minute, and calls at the same time. None is no limit."""

    rpm: float | None = None
    tpm: float | None = None
    concurrency: int | None = None

    def __post_init__(self) -> None:
        wrong = [
            name
            for name in ("rpm", "tpm", "concurrency")
            if (value := getattr(self, name)) is not None and not value > 0
        ]
        if wrong:
            raise InputError(
                f"RateLimits({wrong[0]}={getattr(self, wrong[0])!r}): a limit is above 0; leave it out where there is none."
            )


class Throttled(ModelError):
    """Not sent: the limits of the target leave no turn in time. `retry_after` says when there is one."""

    def __init__(self, model: str, seconds: float, why: str) -> None:
        message = (
            f"Model '{model}' was not asked: {why}, and the next turn is in {seconds:.1f} s, later than this call may take. "
            "Give the call more time, lower the concurrency, or put the model into a policy with another one."
        )
        super().__init__(message, model=model, retryable=True, retry_after=seconds)


class _Bucket:
    """A token bucket that may go into debt: the debt is the queue.

    A tenth of the limit may come at once, and what refills in a minute is the rest: no minute, wherever it begins, holds more than the
    limit (a bucket of the whole limit would let twice as much through in its first minute).
    """

    def __init__(self, per_minute: float, clock: Callable[[], float]) -> None:
        self._capacity = max(1.0, per_minute / 10)
        self._rate = max(per_minute - self._capacity, per_minute / 2) / 60
        self._clock = clock
        self._level = self._capacity
        self._filled_at = clock()

    def wait_for(self, amount: float) -> float:
        """Seconds until a turn of that size. What is larger than the bucket waits for a full one, and leaves it in debt."""
        now = self._clock()
        self._level = min(self._capacity, self._level + (now - self._filled_at) * self._rate)
        self._filled_at = now
        return max(0.0, (min(amount, self._capacity) - self._level) / self._rate)

    def take(self, amount: float) -> None:
        self._level -= amount


class RateLimiter:
    """The turns at one target."""

    def __init__(
        self, name: str, limits: RateLimits | None = None, runtime: Runtime | None = None
    ) -> None:
        self._name = name
        self._limits = limits or RateLimits()
        self._runtime = runtime or Runtime()
        clock = self._runtime.clock
        self._requests = None if self._limits.rpm is None else _Bucket(self._limits.rpm, clock)
        self._tokens = None if self._limits.tpm is None else _Bucket(self._limits.tpm, clock)
        self._running = 0
        self._queue: deque[asyncio.Future[None]] = deque()
        self._blocked_until = 0.0

    @property
    def counts_tokens(self) -> bool:
        """Whether a turn needs to know its tokens."""
        return self._tokens is not None

    @property
    def blocked_for(self) -> float:
        """Seconds for which the target asked to be left alone."""
        return max(0.0, self._blocked_until - self._runtime.clock())

    def block(self, seconds: float) -> None:
        """The target asks for a pause (`Retry-After`); a shorter one never shortens it."""
        self._blocked_until = max(self._blocked_until, self._runtime.clock() + seconds)

    def turn(self, tokens: int, time_left: float | None) -> Turn:
        """`async with limiter.turn(...)`: the place of one call. Raises `Throttled` if it would not begin within the time left."""
        return Turn(self, tokens, time_left)

    async def enter(self, tokens: int, time_left: float | None) -> None:
        """Wait for a turn; see `turn`."""
        began = self._runtime.clock()
        await self._enter_crowd()
        has_turn = False
        try:
            left = None if time_left is None else time_left - (self._runtime.clock() - began)
            await self._pay(tokens, left)
            has_turn = True
        finally:
            if not has_turn:
                self.leave()

    def leave(self) -> None:
        """The call is over: the next may come."""
        self._running -= 1
        while self._queue and self._has_place():
            waiter = self._queue.popleft()
            if not waiter.done():
                self._running += 1
                waiter.set_result(None)

    def give_back(self, tokens: int) -> None:
        """Tokens that were taken and not used."""
        if self._tokens is not None:
            self._tokens.take(-tokens)

    def _has_place(self) -> bool:
        return self._limits.concurrency is None or self._running < self._limits.concurrency

    async def _enter_crowd(self) -> None:
        if not self._queue and self._has_place():
            self._running += 1
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                self._queue.remove(waiter)
            else:
                self.leave()
            raise

    async def _pay(self, tokens: int, left: float | None) -> None:
        """Go into debt, and wait until it is paid."""
        requests = 0.0 if self._requests is None else self._requests.wait_for(1)
        counted = 0.0 if self._tokens is None else self._tokens.wait_for(tokens)
        wait = max(requests, counted, self.blocked_for)
        if wait <= 0:
            self._take(1, tokens)
            return
        if left is not None and wait >= left:
            raise Throttled(self._name, wait, self._why(wait, requests))
        self._take(1, tokens)
        try:
            await self._runtime.sleep(wait)
        except asyncio.CancelledError:
            self._take(-1, -tokens)
            raise

    def _take(self, requests: int, tokens: int) -> None:
        if self._requests is not None:
            self._requests.take(requests)
        if self._tokens is not None:
            self._tokens.take(tokens)

    def _why(self, wait: float, requests: float) -> str:
        if wait == requests:
            return f"its {self._limits.rpm:g} requests per minute are used up"
        return (
            "it asked for a pause"
            if wait == self.blocked_for
            else f"its {self._limits.tpm:g} tokens per minute are used up"
        )


class Turn:
    """The place of one call at a target."""

    __slots__ = ("_left", "_limiter", "_tokens")

    def __init__(self, limiter: RateLimiter, tokens: int, time_left: float | None) -> None:
        self._limiter = limiter
        self._tokens = tokens
        self._left = time_left

    async def __aenter__(self) -> Turn:
        await self._limiter.enter(self._tokens, self._left)
        return self

    def settle(self, tokens: int) -> None:
        """How many tokens it really was; what was taken too much is given back."""
        self._limiter.give_back(max(0, self._tokens - tokens))

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._limiter.leave()

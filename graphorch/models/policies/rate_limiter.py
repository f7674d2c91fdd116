"""Limits of a target: requests and tokens per minute, and calls in flight, first come first served.

Rules of this file:
1. Buckets refill continuously. A call takes its turn by going into debt and waits until the debt is
   paid: the order is kept without waking anyone.
2. No call waits for a turn that comes too late: it fails at once.
3. A call that is cancelled or fails while it waits gives everything back; a call that used fewer
   tokens than it took gives back the rest.
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
    """Limits of one target: requests and tokens per minute, calls in flight. None: no limit.

    Raises `InputError` for a limit that is not above 0.
    """

    rpm: float | None = None
    tpm: float | None = None
    concurrency: int | None = None

    def __post_init__(self) -> None:
        for name in ("rpm", "tpm", "concurrency"):
            limit = getattr(self, name)
            if limit is not None and not limit > 0:
                raise InputError(
                    f"RateLimits({name}={limit!r}): a limit is above 0; leave it out where there "
                    "is none."
                )


class Throttled(ModelError):
    """Not sent: no turn within the limits in time. `retry_after` is the next one, in seconds."""

    def __init__(self, model: str, seconds: float, reason: str) -> None:
        message = (
            f"Model '{model}' was not asked: {reason}, and the next turn is in {seconds:.1f} s, "
            "later than this call may take. Give the call more time, lower the concurrency, or put "
            "the model into a policy with another one."
        )
        super().__init__(message, model=model, retryable=True, retry_after=seconds)


class _Bucket:
    """A token bucket that may go into debt: the debt is the queue.

    A tenth of the limit may come at once, and the rest refills in a minute: no minute, wherever it
    begins, holds more than the limit (a bucket of the whole limit would let twice as much through
    in its first minute).
    """

    def __init__(self, per_minute: float, clock: Callable[[], float]) -> None:
        self._capacity = max(1.0, per_minute / 10)
        self._rate = max(per_minute - self._capacity, per_minute / 2) / 60
        self._clock = clock
        self._level = self._capacity
        self._filled_at = clock()

    def seconds_until(self, amount: float) -> float:
        """Return the seconds until a turn of that size.

        An amount larger than the bucket waits for a full one, and leaves it in debt.
        """
        now = self._clock()
        refilled = self._level + (now - self._filled_at) * self._rate
        self._level = min(self._capacity, refilled)
        self._filled_at = now
        missing = min(amount, self._capacity) - self._level
        return max(0.0, missing / self._rate)

    def take(self, amount: float) -> None:
        """Take an amount; a negative one gives it back."""
        self._level -= amount


class RateLimiter:
    """Turns of the calls at one target. Mutable; `turn` is the way in and out."""

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
        """Return whether a turn needs to know its tokens."""
        return self._tokens is not None

    @property
    def blocked_for(self) -> float:
        """Seconds that are left of the pause that the target asked for."""
        return max(0.0, self._blocked_until - self._runtime.clock())

    def block(self, seconds: float) -> None:
        """Let no call through for a while (`Retry-After`); a shorter pause never shortens one."""
        self._blocked_until = max(self._blocked_until, self._runtime.clock() + seconds)

    def turn(self, tokens: int, time_left: float | None) -> Turn:
        """Return the turn of one call: `async with limiter.turn(...)`.

        Entering it raises `Throttled` if it would not begin within `time_left` seconds.
        """
        return Turn(self, tokens, time_left)

    async def enter(self, tokens: int, time_left: float | None) -> None:
        """Wait for a place and for the debt of the call to be paid. `turn` calls this."""
        began = self._runtime.clock()
        await self._wait_for_place()
        has_turn = False
        try:
            left = None if time_left is None else time_left - (self._runtime.clock() - began)
            await self._pay(tokens, left)
            has_turn = True
        finally:
            if not has_turn:
                self.leave()

    def leave(self) -> None:
        """Free the place of a call, and give it to the next one in the queue."""
        self._running -= 1
        while self._queue and self._has_place():
            waiter = self._queue.popleft()
            if not waiter.done():
                self._running += 1
                waiter.set_result(None)

    def give_back(self, tokens: int) -> None:
        """Return tokens that were taken and not used."""
        if self._tokens is not None:
            self._tokens.take(-tokens)

    def _has_place(self) -> bool:
        return self._limits.concurrency is None or self._running < self._limits.concurrency

    async def _wait_for_place(self) -> None:
        if not self._queue and self._has_place():
            self._running += 1
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            # Two cases: it was still in the queue, or `leave` had given it a place just before the
            # task was cancelled, and the place must go on to the next one.
            if waiter.cancelled():
                self._queue.remove(waiter)
            else:
                self.leave()
            raise

    async def _pay(self, tokens: int, left: float | None) -> None:
        """Go into debt, and wait until it is paid."""
        requests_wait = 0.0 if self._requests is None else self._requests.seconds_until(1)
        tokens_wait = 0.0 if self._tokens is None else self._tokens.seconds_until(tokens)
        wait = max(requests_wait, tokens_wait, self.blocked_for)
        if wait <= 0:
            self._take(1, tokens)
            return
        if left is not None and wait >= left:
            raise Throttled(self._name, wait, self._explain_wait(wait, requests_wait))
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

    def _explain_wait(self, wait: float, requests_wait: float) -> str:
        if wait == requests_wait:
            return f"its {self._limits.rpm:g} requests per minute are used up"
        if wait == self.blocked_for:
            return "it asked for a pause"
        return f"its {self._limits.tpm:g} tokens per minute are used up"


class Turn:
    """Place of one call at a target, an asynchronous context manager."""

    __slots__ = ("_limiter", "_time_left", "_tokens")

    def __init__(self, limiter: RateLimiter, tokens: int, time_left: float | None) -> None:
        self._limiter = limiter
        self._tokens = tokens
        self._time_left = time_left

    async def __aenter__(self) -> Turn:
        await self._limiter.enter(self._tokens, self._time_left)
        return self

    def settle(self, tokens: int) -> None:
        """Report the tokens that were used; the rest of those taken is given back."""
        self._limiter.give_back(max(0, self._tokens - tokens))

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._limiter.leave()

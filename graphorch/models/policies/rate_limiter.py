"""Limits of a target: what is configured, what its headers say, and what its refusals teach.

Rules of this file:
1. Buckets refill continuously. A call takes its turn by going into debt and waits until the debt is
   paid: the order is kept without waking anyone. A pause comes before the turn: no call takes one
   that it could not use.
2. No call waits for a turn that comes too late, or for one that never comes: it fails at once.
3. A call that is cancelled or fails while it waits gives everything back; a call that used fewer
   tokens than it took gives back the rest, and one that used more is charged for them.
4. A refusal (429) pauses the target for as long as it asks, at most a minute, or for a pause that
   doubles with each wave of refusals; and it narrows the calls in flight (`adaptive_window.py`).
5. Limits that many machines share are drawn in slices (`rate_slices.py`).
6. What an answer says is left of a limit holds for the calls that were sent after it, until the
   limit is back.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from types import TracebackType
from weakref import WeakKeyDictionary

from graphorch.clock import Runtime
from graphorch.errors import InputError, ModelError
from graphorch.models.policies.adaptive_window import AdaptiveWindow
from graphorch.models.policies.rate_allowance import Allowance
from graphorch.models.policies.rate_bucket import Bucket, SharedLimits
from graphorch.models.policies.rate_slices import SharedRates, SliceLine, build_flows
from graphorch.models.rate_status import RateStatus

# Seconds after which a target that asked for a longer pause is asked again: whether it still wants
# it costs one request to find out, and a false `Retry-After` of a day would end its use.
_LONGEST_PAUSE = 60.0
# Pauses after refusals that ask for none, in seconds.
_FIRST_PAUSE, _LONGEST_OWN_PAUSE = 0.5, 20.0
_MOST_DOUBLINGS = 10


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


class AboveLimit(ModelError):
    """Not sent: the call alone is larger than the limit of a minute, so its turn never comes."""

    def __init__(self, model: str, tokens: int, limit: float) -> None:
        message = (
            f"Model '{model}' was not asked: the call takes about {tokens:,} tokens with its "
            f"max_tokens, and the limit is {limit:,.0f} per minute. Shorten the prompt, lower "
            "max_tokens, or put the model into a policy with another one."
        )
        super().__init__(message, model=model)


class RateLimiter:
    """Turns of the calls at one target. Mutable; `turn` is the way in and out."""

    def __init__(
        self,
        name: str,
        limits: RateLimits | None = None,
        runtime: Runtime | None = None,
        shared: SharedLimits | SharedRates | None = None,
    ) -> None:
        self._name = name
        self._limits = limits = limits or RateLimits()
        self._runtime = runtime = runtime or Runtime()
        self._shared = shared
        self._pause_key = "" if shared is None else shared.key
        self._lines: WeakKeyDictionary[asyncio.AbstractEventLoop, SliceLine] | None = None
        if isinstance(shared, SharedRates):
            if limits.rpm is not None or limits.tpm is not None:
                self._lines = WeakKeyDictionary()
            self._flows = build_flows(limits.rpm, limits.tpm)
        elif shared is not None:
            self._pause_key = f"{shared.key} pause"
        self._requests = self._open_bucket("requests", limits.rpm)
        self._tokens = self._open_bucket("tokens", limits.tpm)
        # None as long as the target has said nothing about them, or refused nothing
        self._requests_left: Allowance | None = None
        self._tokens_left: Allowance | None = None
        self.window: AdaptiveWindow | None = None
        self._running = 0
        self._queue: deque[asyncio.Future[None]] = deque()
        self._blocked_until = 0.0
        self._calls_sent = 0
        self._tokens_sent = 0
        self._followed = -1  # number of the last call whose report was taken over

    @property
    def counts_tokens(self) -> bool:
        """Return whether a turn needs to know its tokens."""
        return self._limits.tpm is not None or self._tokens_left is not None

    @property
    def blocked_for(self) -> float:
        """Seconds until the target lets another request through, as far as it has said."""
        pause = self._blocked_until - self._runtime.clock()
        if self._shared is not None:
            pause = max(pause, self._shared.store.pause(self._pause_key, 0.0))
        if self._requests_left is not None:
            pause = max(pause, self._requests_left.seconds_until(1))
        return pause if pause > 0 else 0.0

    def block(self, seconds: float) -> None:
        """Let no call through for a while; a shorter pause never shortens one."""
        self._blocked_until = max(self._blocked_until, self._runtime.clock() + seconds)
        if self._shared is not None:
            self._shared.store.pause(self._pause_key, seconds)

    def turn(self) -> Turn:
        """Return the turn of one call: `async with limiter.turn().wait(tokens, time_left)`."""
        return Turn(self)

    async def enter(self, tokens: int, time_left: float | None) -> None:
        """Wait for a place and for the debt of the call to be paid. `Turn` calls this."""
        if self._limits.tpm is not None and tokens > self._limits.tpm:
            raise AboveLimit(self._name, tokens, self._limits.tpm)
        deadline = None if time_left is None else self._runtime.clock() + time_left
        await self._wait_for_place()
        has_turn = False
        try:
            await self._pay(tokens, deadline)
            has_turn = True
        finally:
            if not has_turn:
                self.leave()
        if self._requests_left is not None:
            self._requests_left.take(1)
        if self._tokens_left is not None:
            self._tokens_left.take(tokens)
        self._calls_sent += 1
        self._tokens_sent += tokens

    def leave(self) -> None:
        """Free the place of a call, and give it to the next one in the queue."""
        self._running -= 1
        while self._queue and self._has_place():
            waiter = self._queue.popleft()
            if not waiter.done():
                self._running += 1
                waiter.set_result(None)

    def note_answer(self, unused_tokens: int) -> None:
        """Learn that a call was answered, and give back its unused tokens (negative: charge)."""
        if self.window is not None:
            self.window.note_answer(self._running)
        if self._tokens is not None or self._shared is not None:
            self._give_back_tokens(unused_tokens)

    def note_refusal(self, number: int, retry_after: float | None, tokens: int) -> None:
        """Learn that a call was one too many: pause, and send fewer at once from now on."""
        self.window = window = self.window or AdaptiveWindow()
        is_new_wave = window.note_refusal(number, self._calls_sent, self._running - 1)
        self._give_back_tokens(tokens)
        if retry_after:
            if retry_after > _LONGEST_PAUSE:
                window.collapse()
            self.block(min(retry_after, _LONGEST_PAUSE))
        elif is_new_wave:
            doublings = min(window.refusals_in_a_row - 1, _MOST_DOUBLINGS)
            pause = min(_FIRST_PAUSE * 2**doublings, _LONGEST_OWN_PAUSE)
            self.block(pause * (0.5 + 0.5 * self._runtime.random()))

    def follow(self, status: RateStatus, number: int, tokens_before: int) -> None:
        """Take over what the answer to a call says about the limits.

        `tokens_before` had been sent by the time of that call, itself included. A report that is
        older than one that was taken over says nothing.
        """
        if number < self._followed:
            return
        self._followed = number
        if status.requests is not None:
            sent_since = self._calls_sent - number - 1
            self._requests_left = self._requests_left or Allowance(self._runtime.clock)
            self._requests_left.follow(
                status.requests, status.requests_reset, status.requests_limit, sent_since
            )
        if status.tokens is not None:
            sent_since = self._tokens_sent - tokens_before
            self._tokens_left = self._tokens_left or Allowance(self._runtime.clock)
            self._tokens_left.follow(
                status.tokens, status.tokens_reset, status.tokens_limit, sent_since
            )

    @property
    def sent(self) -> tuple[int, int]:
        """Calls and tokens that were sent so far."""
        return self._calls_sent, self._tokens_sent

    def _open_bucket(self, name: str, per_minute: float | None) -> Bucket | None:
        shared = self._shared
        if per_minute is None or isinstance(shared, SharedRates):
            return None
        return Bucket(per_minute, self._runtime.clock, name=name, shared=shared)

    def _has_place(self) -> bool:
        limit, window = self._limits.concurrency, self.window
        if window is not None and not window.has_room(self._running):
            return False
        return limit is None or self._running < limit

    async def _wait_for_place(self) -> None:
        if not self._queue and self._has_place():
            self._running += 1
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            # Three cases: it was still in the queue; `leave` has passed over it since; or `leave`
            # had given it a place just before the task was cancelled, which goes to the next one.
            if not waiter.cancelled():
                self.leave()
            elif waiter in self._queue:
                self._queue.remove(waiter)
            raise

    async def _pay(self, tokens: int, deadline: float | None) -> None:
        """Wait until the target wants no pause, and then for the turn of the call.

        A turn that meets a pause is given back: else all that were given during the pause would
        come at its end.
        """
        while True:
            while (pause := self._find_pause(tokens)) > 0:
                self._check_deadline(pause, deadline, "it asked for a pause")
                await self._runtime.sleep(pause)
            if self._lines is None:
                if self._requests is None and self._tokens is None:
                    return  # it has no limits, so no time has passed since the look for a pause
                await self._go_into_debt(tokens, deadline)
            else:
                wait = await self._find_line(self._lines).take(tokens, deadline)
                if wait is not None:
                    raise Throttled(self._name, wait, "its limits per minute are used up")
            if self._find_pause(tokens) <= 0:
                return
            self._give_back(tokens)

    async def _go_into_debt(self, tokens: int, deadline: float | None) -> None:
        """Take a turn from the buckets, and wait until the debt is paid."""
        requests_wait = 0.0 if self._requests is None else self._requests.take(1)
        tokens_wait = 0.0 if self._tokens is None else self._tokens.take(tokens)
        wait = requests_wait if requests_wait > tokens_wait else tokens_wait
        if wait <= 0:
            return
        is_paid = False
        try:
            self._check_deadline(wait, deadline, self._explain_wait(wait, requests_wait))
            await self._runtime.sleep(wait)
            is_paid = True
        finally:
            if not is_paid:
                self._give_back(tokens)

    def _check_deadline(self, wait: float, deadline: float | None, reason: str) -> None:
        if deadline is not None and self._runtime.clock() + wait >= deadline:
            raise Throttled(self._name, wait, reason)

    def _find_line(
        self, lines: WeakKeyDictionary[asyncio.AbstractEventLoop, SliceLine]
    ) -> SliceLine:
        """Return the line of the running loop."""
        loop = asyncio.get_running_loop()
        line = lines.get(loop)
        if line is None:
            assert isinstance(self._shared, SharedRates)
            runtime = self._runtime
            line = lines[loop] = SliceLine(self._shared, self._flows, runtime.clock, runtime.sleep)
        return line

    def _give_back_tokens(self, tokens: int) -> None:
        """Return tokens that were not used; fewer than none are charged."""
        if self._tokens is not None:
            self._tokens.give_back(tokens)
        elif isinstance(self._shared, SharedRates) and self._limits.tpm is not None and tokens:
            self._shared.store.give_back(self._shared.key, self._flows, (0.0, float(tokens)))

    def _find_pause(self, tokens: int) -> float:
        if self._tokens_left is None:
            return self.blocked_for
        return max(self.blocked_for, self._tokens_left.seconds_until(tokens))

    def _give_back(self, tokens: int) -> None:
        if self._lines is not None:
            self._find_line(self._lines).give_back((1.0, float(tokens)))
        if self._requests is not None:
            self._requests.give_back(1)
        if self._tokens is not None:
            self._tokens.give_back(tokens)

    def _explain_wait(self, wait: float, requests_wait: float) -> str:
        if wait == requests_wait:
            return f"its {self._limits.rpm:g} requests per minute are used up"
        return f"its {self._limits.tpm:g} tokens per minute are used up"


class Turn:
    """Place of one call at a target, an asynchronous context manager."""

    __slots__ = ("_limiter", "_number", "_time_left", "_tokens", "_tokens_before")

    def __init__(self, limiter: RateLimiter) -> None:
        self._limiter = limiter
        self._tokens = self._number = self._tokens_before = 0
        self._time_left: float | None = None

    def wait(self, tokens: int, time_left: float | None) -> Turn:
        """Return this turn for a call of so many tokens.

        Entering it raises `Throttled` if it would not begin within `time_left` seconds, and
        `AboveLimit` if it never would.
        """
        self._tokens, self._time_left = tokens, time_left
        return self

    async def __aenter__(self) -> Turn:
        await self._limiter.enter(self._tokens, self._time_left)
        calls, self._tokens_before = self._limiter.sent
        self._number = calls - 1
        return self

    def settle(self, tokens: int) -> None:
        """Report an answer and its tokens: the rest is given back, more is charged."""
        self._limiter.note_answer(self._tokens - tokens)

    def refuse(self, retry_after: float | None) -> None:
        """Report that the target refused the call as one too many."""
        self._limiter.note_refusal(self._number, retry_after, self._tokens)

    def follow(self, status: RateStatus) -> None:
        """Report what the target says about its limits."""
        self._limiter.follow(status, self._number, self._tokens_before)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._limiter.leave()

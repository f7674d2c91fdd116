"""Ask again after a failure that may pass: bounded, with growing pauses, in the request's time."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from graphorch.errors import InputError, ModelError
from graphorch.models.client import ModelClient, OnText, close
from graphorch.models.messages import Request, Response
from graphorch.text import plural


@dataclass(frozen=True, slots=True)
class Backoff:
    """Number of attempts, and the pauses between them in seconds.

    The `first` pause grows by `factor` each time, up to `longest`. `patience` is the longest wait
    that an endpoint may ask for by itself (`Retry-After`); beyond it the call fails at once. Raises
    `InputError` for values that make no sense.
    """

    attempts: int = 3
    first: float = 0.5
    factor: float = 2.0
    longest: float = 20.0
    patience: float = 60.0

    def __post_init__(self) -> None:
        times = (self.first, self.longest, self.patience)
        if self.attempts < 1 or self.factor < 1 or any(seconds < 0 for seconds in times):
            raise InputError(
                f"{self} makes no sense: attempts ≥ 1, factor ≥ 1, and times in seconds ≥ 0."
            )

    def pause(self, request: Request, attempt: int) -> float:
        """Return the seconds to wait after an attempt (the first is 1).

        Half of it is fixed, half is spread by a hash of the request: requests that failed together
        do not come back together, and yet a run that is repeated waits as long as before.
        """
        full = min(self.longest, self.first * self.factor ** (attempt - 1))
        return full * (0.5 + 0.5 * _spread(request, attempt))


@dataclass(frozen=True, slots=True)
class PendingRetry:
    """Notice of a retry: which attempt failed, why, and how long the pause is."""

    request: Request
    attempt: int
    error: ModelError
    pause: float


class RetryingClient:
    """A `ModelClient` that asks another one again after a failure that is `retryable`.

    `on_retry` is called before each pause.
    """

    def __init__(
        self,
        client: ModelClient,
        backoff: Backoff | None = None,
        *,
        on_retry: Callable[[PendingRetry], None] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._backoff = backoff or Backoff()
        self._on_retry = on_retry
        self._sleep = sleep
        self._clock = clock

    @property
    def inner(self) -> ModelClient:
        """The client that this one is around."""
        return self._client

    def __repr__(self) -> str:
        return f"RetryingClient({self._client!r})"

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        """Return the first answer that comes; its `attempts` and `seconds` include all attempts.

        Raises the last attempt's `ModelError`, with a note that says why there was no other one.
        """
        started_at = self._clock()
        attempt = 0
        lost_usd = 0.0
        while True:
            attempt += 1
            asked_at = self._clock()
            limited = _shorten_timeout(request, asked_at - started_at)
            try:
                response = await self._client.complete(limited, on_text)
            except ModelError as error:
                failure = error
            else:
                return _include_failures(response, attempt - 1, asked_at - started_at, lost_usd)
            left = _shorten_timeout(request, self._clock() - started_at).timeout
            pause = self._find_pause(failure, request, attempt, left)
            if pause is None:
                # This error is the one that is raised, so it carries what all of them cost.
                if lost_usd:
                    failure.usd = lost_usd + (failure.usd or 0.0)
                raise failure
            if self._on_retry is not None:
                self._on_retry(PendingRetry(request, attempt, failure, pause))
            await self._sleep(pause)
            if request.departure is not None and request.departure.bill is not None:
                # A meter around this client pays each attempt by itself.
                await request.departure.bill.begin_repeat(failure)
            lost_usd += failure.usd or 0.0

    async def aclose(self) -> None:
        """Close the inner client."""
        await close(self._client)

    def _find_pause(
        self, error: ModelError, request: Request, attempt: int, left: float | None
    ) -> float | None:
        """Return the pause before the next attempt; None, with a note on the error, without one."""
        if not error.retryable:
            return None
        if attempt >= self._backoff.attempts:
            return _give_up(error, attempt, "the attempts are used up")
        requested = error.retry_after
        patience = self._backoff.patience
        # even "Retry-After: 0" does not shorten the pause
        pause = max(self._backoff.pause(request, attempt), requested or 0.0)
        if left is not None and pause >= left:
            left = max(left, 0)
            why = f"the next one would start in {pause:.1f} s and only {left:.1f} s are left"
            return _give_up(error, attempt, why)
        if requested is not None and requested > patience:
            why = f"the endpoint wants a pause of {requested:g} s, the limit is {patience:g} s"
            return _give_up(error, attempt, why)
        return pause


def _shorten_timeout(request: Request, seconds: float) -> Request:
    """Return the request with the time that is left of it after so many seconds."""
    if request.timeout is None:
        return request
    return replace(request, timeout=request.timeout - seconds)


def _give_up(error: ModelError, attempts: int, why: str) -> None:
    """Note on an error why no attempt follows it."""
    error.add_note(f"gave up after {plural(attempts, 'attempt')}: {why}")


def _include_failures(response: Response, failed: int, seconds: float, usd: float) -> Response:
    """Return the response including the failed attempts before it, their seconds and their cost."""
    first_token_seconds = response.first_token_seconds
    if first_token_seconds is not None:
        first_token_seconds += seconds
    return replace(
        response,
        usd=response.usd + usd,
        attempts=response.attempts + failed,
        seconds=response.seconds + seconds,
        first_token_seconds=first_token_seconds,
    )


def _spread(request: Request, attempt: int) -> float:
    """Return a number in [0, 1) that depends only on the request, its metadata and the attempt."""
    texts = [(message.role, message.content) for message in request.messages]
    metadata = sorted(request.metadata.items())
    seed = repr((request.model, texts, metadata, attempt)).encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(seed, digest_size=6).digest()
    return int.from_bytes(digest) / 2**48

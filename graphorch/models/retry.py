"""Asks again after a failure that may pass: bounded, with growing pauses, inside the total time of the request."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from graphorch.errors import InputError, ModelError
from graphorch.models.client import ModelClient, OnText, close
from graphorch.models.messages import Request, Response


@dataclass(frozen=True, slots=True)
class Backoff:
    """How often, and with which pauses (seconds): `first`, then `factor` times as long each time, never more than `longest`.

    `patience` is the longest wait that an endpoint may ask for by itself (`Retry-After`); beyond it the call fails at once.
    Raises `InputError` for values without sense.
    """

    attempts: int = 3
    first: float = 0.5
    factor: float = 2.0
    longest: float = 20.0
    patience: float = 60.0

    def __post_init__(self) -> None:
        if (
            self.attempts < 1
            or self.first < 0
            or self.factor < 1
            or self.longest < 0
            or self.patience < 0
        ):
            raise InputError(
                f"{self} makes no sense: attempts ≥ 1, factor ≥ 1, and times in seconds ≥ 0."
            )

    def pause(self, request: Request, attempt: int) -> float:
        """Seconds to wait after this attempt (the first is 1): half of it fixed, half spread by a hash of the request.

        Different requests that failed together so do not come back together, and yet the same run always waits the same.
        """
        full = min(self.longest, self.first * self.factor ** (attempt - 1))
        return full * (0.5 + 0.5 * _spread(request, attempt))


@dataclass(frozen=True, slots=True)
class PendingRetry:
    """A retry that is about to happen: which attempt failed, why, and how long the pause is."""

    request: Request
    attempt: int
    error: ModelError
    pause: float


class RetryingClient:
    """A `ModelClient` that asks another one again. Only `ModelError.retryable` is retried; `on_retry` hears of it before the pause."""

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

    def __repr__(self) -> str:
        return f"RetryingClient({self._client!r})"

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        """The first answer that comes; its `attempts` and `seconds` tell of all of them.

        Raises the last attempt's `ModelError`, with a note that says why there was no other.
        """
        began = self._clock()
        attempt = 0
        lost: list[ModelError] = []
        while True:
            attempt += 1
            left = None if request.timeout is None else request.timeout - (self._clock() - began)
            asked = self._clock()
            try:
                response = await self._client.complete(
                    request if left is None else replace(request, timeout=left), on_text
                )
            except ModelError as error:
                left = None if left is None else left - (self._clock() - asked)
                lost.append(error)
                if any(model_error.usd for model_error in lost[:-1]):
                    error.usd = sum(model_error.usd or 0.0 for model_error in lost)
                    lost = [error]
                pause = self._pause_after(error, request, attempt, left)
                if self._on_retry is not None:
                    self._on_retry(PendingRetry(request, attempt, error, pause))
            else:
                return _including(response, attempt - 1, asked - began, lost)
            await self._sleep(pause)

    async def aclose(self) -> None:
        """Close the client within."""
        await close(self._client)

    def _pause_after(
        self, error: ModelError, request: Request, attempt: int, left: float | None
    ) -> float:
        """How long to wait before the next attempt; raises the error again if there is none."""
        if not error.retryable:
            raise error
        if attempt >= self._backoff.attempts:
            raise _noted(error, attempt, "the attempts are used up")
        asked_for = error.retry_after
        # "Retry-After: 0" is no leave to hammer
        pause = max(self._backoff.pause(request, attempt), asked_for or 0.0)
        if left is not None and pause >= left:
            raise _noted(
                error,
                attempt,
                f"the next one would start in {pause:.1f} s and only {max(left, 0):.1f} s are left",
            )
        if asked_for is not None and asked_for > self._backoff.patience:
            raise _noted(
                error,
                attempt,
                f"the endpoint wants a pause of {asked_for:g} s, the limit is {self._backoff.patience:g} s",
            )
        return pause


def _noted(error: ModelError, attempts: int, why: str) -> ModelError:
    error.add_note(f"gave up after {attempts} attempt{'s' if attempts != 1 else ''}: {why}")
    return error


def _including(
    response: Response, failed: int, seconds: float, lost: Sequence[ModelError]
) -> Response:
    """The response with the failed attempts before it, which took that many seconds, and with what was charged for them."""
    first = response.first_token_seconds
    return replace(
        response,
        usd=response.usd + sum(error.usd or 0.0 for error in lost),
        attempts=response.attempts + failed,
        seconds=response.seconds + seconds,
        first_token_seconds=None if first is None else first + seconds,
    )


def _spread(request: Request, attempt: int) -> float:
    """A number in [0, 1) that depends on what is asked, by whom (the metadata), and on the attempt, and on nothing else."""
    said = [(message.role, message.content) for message in request.messages]
    seed = repr((request.model, said, sorted(request.metadata.items()), attempt)).encode(
        "utf-8", "surrogatepass"
    )
    return int.from_bytes(hashlib.blake2b(seed, digest_size=6).digest()) / 2**48

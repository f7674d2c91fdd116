"""A cache of answers: a question with a complete answer is not asked again for a while.

It is opt in, because it changes what a program sees: with it, asking twice gives the same answer.

Rules of this file:
- a key is a hash over everything that can change the answer; what it leaves out is listed by name
  or not compared, so a new field of a request counts;
- only a complete answer that fits its schema is kept;
- a cache that does not work is a cache that finds nothing: one warning, and the model is asked;
- the file is for its owner only (mode 0600) and holds plain JSON.

Put a guardrail around the cache, not inside of it: then what is stored has been masked.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import cast

from pydantic import BaseModel, ConfigDict, ValidationError

from graphorch.errors import InputError
from graphorch.models.client import ModelClient, OnText, close
from graphorch.models.errors import TimedOut
from graphorch.models.messages import COMPLETE_REASONS, Request, Response, Usage
from graphorch.models.response_cache_store import CacheStore, CacheUnusable
from graphorch.models.structured_output import find_problems

# These fields do not change the answer: neither is sent.
_IRRELEVANT = frozenset({"timeout", "metadata"})
_FORMAT = 1


class CacheWarning(UserWarning):
    """The cache could not be read or written; the model is asked instead."""


class _Stored(BaseModel):
    """Part of an answer that is worth keeping: one row."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    text: str
    model: str
    input_tokens: int
    output_tokens: int
    usd: float
    usd_source: str
    finish_reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheLimits:
    """Seconds that an answer stays good, and bytes that are kept.

    The longest unused answers go first. Raises `InputError` for values that make no sense.
    """

    ttl: float = 86_400.0
    max_bytes: int = 256 * 1024 * 1024

    def __post_init__(self) -> None:
        if not self.ttl > 0 or self.max_bytes < 1:
            raise InputError(f"{self} makes no sense: ttl is seconds > 0, max_bytes is at least 1.")


class CachingClient:
    """A `ModelClient` that remembers the answers of another one in a file.

    `endpoint` names where the inner client asks (a base URL, say): the same model elsewhere is
    another model. Equal requests at the same time are asked once. An answer from the cache costs
    nothing, was sent 0 times, and its `note` says what was saved.
    """

    def __init__(
        self,
        client: ModelClient,
        path: Path | str,
        *,
        endpoint: str,
        limits: CacheLimits | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._endpoint = endpoint
        self._limits = limits or CacheLimits()
        self._clock = clock
        self._store = CacheStore(Path(path), self._limits.max_bytes)
        self._in_flight: dict[
            tuple[asyncio.AbstractEventLoop, str], asyncio.Future[Response | None]
        ] = {}
        self._has_warned = False

    @property
    def inner(self) -> ModelClient:
        """The client that this one is around."""
        return self._client

    def __repr__(self) -> str:
        return f"CachingClient({self._client!r})"

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        """Return the stored answer, else that of an equal request in flight, else a new one.

        A failure is not shared: a request that waited for a call that failed makes one of its own.
        Raises what the inner client raises, and `TimedOut` if the request's time is over while it
        waits.
        """
        started_at = time.monotonic()
        loop, key = asyncio.get_running_loop(), compute_key(request, self._endpoint)
        slot = (loop, key)
        # 1. Share the answer of an equal call in flight; after its failure, look again.
        while (flight := self._in_flight.get(slot)) is not None:
            shared = await self._wait_for(flight, request, started_at)
            if shared is not None:
                note = "shared the answer of an equal call that was under way"
                return _deliver(_make_free(shared, started_at, note), on_text)
        # 2. Become the call that others wait for, whatever its outcome.
        flight = self._in_flight[slot] = loop.create_future()
        answer: Response | None = None
        try:
            answer = await self._look_up_or_ask(key, request, on_text, started_at)
            return answer
        finally:
            del self._in_flight[slot]
            flight.set_result(answer)

    async def aclose(self) -> None:
        """Close the file and the inner client. Using the cache again opens the file again."""
        await asyncio.to_thread(self._store.close)
        await close(self._client)

    async def _look_up_or_ask(
        self, key: str, request: Request, on_text: OnText | None, started_at: float
    ) -> Response:
        stored = await self._look_up(key)
        if stored is not None:
            answer = _make_free(_build_response(stored), started_at, "from the cache")
            return _deliver(answer, on_text)
        if request.timeout is not None:
            left = request.timeout - (time.monotonic() - started_at)
            request = replace(request, timeout=left)
        answer = await self._client.complete(request, on_text)
        if _is_worth_keeping(answer, request):
            await self._keep(key, answer)
        return answer

    async def _wait_for(
        self, flight: asyncio.Future[Response | None], request: Request, started_at: float
    ) -> Response | None:
        """Return the answer of a call in flight, or None if it failed.

        Cancelling this request does not touch that call.
        """
        left = None
        if request.timeout is not None:
            left = max(0.0, request.timeout - (time.monotonic() - started_at))
        done, _ = await asyncio.wait([flight], timeout=left)
        if not done:
            raise TimedOut(
                f"Model '{request.model}': an equal call was under way for all of the "
                f"{request.timeout:g} s that this one had (limit: total). Give the call more time.",
                model=request.model,
                limit="total",
            )
        return flight.result()

    async def _look_up(self, key: str) -> _Stored | None:
        now = self._clock()
        try:
            text = await asyncio.to_thread(self._store.find, key, now - self._limits.ttl, now)
            if text is not None:
                return _Stored.model_validate_json(text)
        except CacheUnusable as problem:
            self._warn(str(problem))
        except ValidationError:
            self._warn(
                f"The cache {self._store.path} holds a row that is not an answer of this version; "
                "it is replaced."
            )
        return None

    async def _keep(self, key: str, answer: Response) -> None:
        try:
            await asyncio.to_thread(self._store.keep, key, _build_row(answer), self._clock())
        except CacheUnusable as problem:
            self._warn(str(problem))

    def _warn(self, message: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            warnings.warn(message, CacheWarning, stacklevel=4)


def compute_key(request: Request, endpoint: str) -> str:
    """Return the key of a request: a hash over everything that can change the answer."""
    relevant = {
        field.name: getattr(request, field.name)
        for field in fields(request)
        if field.compare and field.name not in _IRRELEVANT
    }
    if request.tool_choice == "auto":
        del relevant["tool_choice"]  # answers that were kept before there was a choice stay found
    canonical = json.dumps(
        [_FORMAT, endpoint, relevant], sort_keys=True, separators=(",", ":"), default=_encode
    )
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def _encode(value: object) -> object:
    """Return JSON for the messages of a request, its tools and the model of its schema."""
    if not isinstance(value, type) and is_dataclass(value):
        return {field.name: cast("object", getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, type) and issubclass(value, BaseModel):
        return value.model_json_schema()
    raise TypeError(f"The cache has no key for {value!r:.80} in a request.")


def _is_worth_keeping(answer: Response, request: Request) -> bool:
    """Return whether an answer is complete and fits the schema of the request, if it has one."""
    is_complete = answer.finish_reason.casefold() in COMPLETE_REASONS
    if not is_complete or answer.tool_calls or not answer.text.strip():
        return False
    return request.schema is None or not find_problems(answer.text, request.schema)


def _build_row(answer: Response) -> str:
    usage = answer.usage
    return _Stored(
        text=answer.text,
        model=answer.model,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        usd=answer.usd,
        usd_source=answer.usd_source,
        finish_reason=answer.finish_reason,
    ).model_dump_json()


def _build_response(stored: _Stored) -> Response:
    return Response(
        text=stored.text,
        model=stored.model,
        usage=Usage(stored.input_tokens, stored.output_tokens),
        usd=stored.usd,
        usd_source=stored.usd_source,
        finish_reason=stored.finish_reason,
        attempts=1,
        seconds=0.0,
        first_token_seconds=None,
    )


def _make_free(answer: Response, started_at: float, source: str) -> Response:
    """Return the answer without cost; the note says where it is from and what was saved."""
    tokens = answer.usage.input_tokens + answer.usage.output_tokens
    price = f"${answer.usd:.6f}"
    if answer.usd_source == "none":
        price = "an unknown amount"
    return replace(
        answer,
        usage=Usage(0, 0),
        usd=0.0,
        usd_source="free",
        attempts=0,
        seconds=time.monotonic() - started_at,
        first_token_seconds=None,
        note=f"{source}; saved {price} and {tokens} tokens",
    )


def _deliver(answer: Response, on_text: OnText | None) -> Response:
    """Stream the text of a complete answer in one piece, and return the answer."""
    if on_text is not None:
        on_text(answer.text)
    return answer

"""Answers that were given before: an exact question that was answered completely is not asked again for a while.

It is opt in, because it changes what a program sees: with it, asking twice gives the same answer.

Rules of this file:
- a key is a hash over everything that can change the answer; what it leaves out is listed by name or not compared, so a new field counts;
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
from graphorch.models.messages import Request, Response, Usage
from graphorch.models.response_cache_store import CacheStore, CacheUnusable

_DOES_NOT_MATTER = frozenset({"timeout", "metadata"})  # for the answer; neither is sent
_COMPLETE = frozenset({"stop", "eos", "eos_token", "end_turn", "stop_sequence", "complete"})
_FORMAT = 1


class CacheWarning(UserWarning):
    """The cache could not be read or written; the model is asked instead."""


class _Stored(BaseModel):
    """One row: what of an answer is worth keeping."""

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
    """How long an answer stays good (seconds) and how many bytes are kept; the longest unused answers go first.

    Raises `InputError` for values without sense.
    """

    ttl: float = 86_400.0
    max_bytes: int = 256 * 1024 * 1024

    def __post_init__(self) -> None:
        if not self.ttl > 0 or self.max_bytes < 1:
            raise InputError(f"{self} makes no sense: ttl is seconds > 0, max_bytes is at least 1.")


class CachingClient:
    """A `ModelClient` that remembers the answers of another one in a file.

    `endpoint` names where the client within asks (a base URL, say): the same model elsewhere is another model. Equal requests at the
    same time are asked once. An answer from the cache costs nothing, was sent 0 times, and its `note` says what was saved.
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

    def __repr__(self) -> str:
        return f"CachingClient({self._client!r})"

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        """The remembered answer, else that of an equal request which is under way, else a new one.

        A failure is not shared: whoever waited for a call that failed makes one of its own. Raises what the client within raises, and
        `TimedOut` if the request's time is over while it waits.
        """
        began = time.monotonic()
        slot = (asyncio.get_running_loop(), compute_key(request, self._endpoint))
        while (flight := self._in_flight.get(slot)) is not None:
            shared = await self._wait_for(flight, request, began)
            if shared is not None:
                return _told(
                    _free(shared, began, "shared the answer of an equal call that was under way"),
                    on_text,
                )
        flight = self._in_flight[slot] = slot[0].create_future()
        answer: Response | None = None
        try:
            answer = await self._remembered_or_asked(slot[1], request, on_text, began)
            return answer
        finally:
            del self._in_flight[slot]
            flight.set_result(answer)

    async def aclose(self) -> None:
        """Close the file and the client within. Using the cache again opens the file again."""
        await asyncio.to_thread(self._store.close)
        await close(self._client)

    async def _remembered_or_asked(
        self, key: str, request: Request, on_text: OnText | None, began: float
    ) -> Response:
        stored = await self._look_up(key)
        if stored is not None:
            return _told(_free(_response(stored), began, "from the cache"), on_text)
        left = None if request.timeout is None else request.timeout - (time.monotonic() - began)
        answer = await self._client.complete(
            request if left is None else replace(request, timeout=left), on_text
        )
        if _is_worth_keeping(answer, request):
            await self._keep(key, answer)
        return answer

    async def _wait_for(
        self, flight: asyncio.Future[Response | None], request: Request, began: float
    ) -> Response | None:
        """What came of a call under way, or None if it failed; our being cancelled does not touch it."""
        left = (
            None
            if request.timeout is None
            else max(0.0, request.timeout - (time.monotonic() - began))
        )
        done, _ = await asyncio.wait([flight], timeout=left)
        if not done:
            raise TimedOut(
                f"Model '{request.model}': an equal call was under way for all of the {request.timeout:g} s that this one had "
                "(limit: total). Give the call more time.",
                model=request.model,
                limit="total",
            )
        return flight.result()

    async def _look_up(self, key: str) -> _Stored | None:
        now = self._clock()
        try:
            text = await asyncio.to_thread(self._store.find, key, now - self._limits.ttl, now)
            return None if text is None else _Stored.model_validate_json(text)
        except CacheUnusable as problem:
            self._warn(str(problem))
        except ValidationError:
            self._warn(
                f"The cache {self._store.path} holds a row that is no answer of this version; it is replaced."
            )
        return None

    async def _keep(self, key: str, answer: Response) -> None:
        try:
            await asyncio.to_thread(self._store.keep, key, _row(answer), self._clock())
        except CacheUnusable as problem:
            self._warn(str(problem))

    def _warn(self, message: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            warnings.warn(message, CacheWarning, stacklevel=4)


def compute_key(request: Request, endpoint: str) -> str:
    """The name under which the answer to a request is kept: a hash over all that can change the answer."""
    told = {
        field.name: getattr(request, field.name)
        for field in fields(request)
        if field.compare and field.name not in _DOES_NOT_MATTER
    }
    canonical = json.dumps(
        [_FORMAT, endpoint, told], sort_keys=True, separators=(",", ":"), default=_plain
    )
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def _plain(value: object) -> object:
    """JSON for what a request holds beside plain values: its messages and the model of its schema."""
    if not isinstance(value, type) and is_dataclass(value):
        return {field.name: cast("object", getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, type) and issubclass(value, BaseModel):
        return value.model_json_schema()
    raise TypeError(f"The cache has no key for {value!r:.80} in a request.")


def _is_worth_keeping(answer: Response, request: Request) -> bool:
    """Whether the answer may stand for the question: complete and, if it is to be JSON of some shape, of that shape."""
    if (
        answer.finish_reason.casefold() not in _COMPLETE
        or not answer.text.strip()
        or answer.tool_calls
    ):
        return False
    try:
        if request.schema is not None:
            request.schema.model_validate_json(answer.text)
    except ValidationError:
        return False
    return True


def _row(answer: Response) -> str:
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


def _response(stored: _Stored) -> Response:
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


def _free(answer: Response, began: float, whence: str) -> Response:
    """The answer as one that nobody has to pay for."""
    tokens = answer.usage.input_tokens + answer.usage.output_tokens
    price = "an unknown amount" if answer.usd_source == "none" else f"${answer.usd:.6f}"
    return replace(
        answer,
        usage=Usage(0, 0),
        usd=0.0,
        usd_source="free",
        attempts=0,
        seconds=time.monotonic() - began,
        first_token_seconds=None,
        note=f"{whence}; saved {price} and {tokens} tokens",
    )


def _told(answer: Response, on_text: OnText | None) -> Response:
    if on_text is not None:
        on_text(answer.text)
    return answer

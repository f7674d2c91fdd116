"""A client for every endpoint that speaks OpenAI's chat protocol.

It uses the openai package for the request, reads the bytes of the answer itself, and trusts neither
the package nor the endpoint with anything else.

Rules of this file, each with a test against a server that breaks it:
- one call is one HTTP request: no hidden retries, no redirects, no proxy or header out of the
  environment;
- every wait has a limit, and the whole call has a limit that keep-alive drips cannot outlast;
- an answer counts only if it is well-formed, has text, and ends with a finish reason that means
  that it is complete; an endpoint that sends none can be used by saying so;
- the key is hidden in the answer, whatever its encoding, since answers are stored;
- everything else is a `ModelError` without the key in it, raised outside of the `except` block so
  that it drags no request along;
- nothing heavy is loaded on the event loop.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pydantic import BaseModel, SecretStr

from graphorch.errors import ModelError
from graphorch.models.client import OnText
from graphorch.models.errors import (
    AnswerError,
    Empty,
    Refused,
    TimedOut,
    Truncated,
    Unreachable,
    Unreadable,
)
from graphorch.models.json_schema import strip_code_fence
from graphorch.models.messages import (
    COMPLETE_REASONS,
    Request,
    Response,
    ToolCall,
    Usage,
    estimate_usage,
)
from graphorch.models.openai.answer import AnswerReader, PartialAnswer
from graphorch.models.openai.connection_pool import LoopPool
from graphorch.models.openai.departures import leaving
from graphorch.models.openai.dialect import Dialect, encode_messages, encode_options
from graphorch.models.openai.errors import Endpoint, build_timeout, explain
from graphorch.models.openai.gateways import GENERIC, Gateway
from graphorch.models.openai.key_mask import KeyMask
from graphorch.models.openai.rate_headers import read_rate_status
from graphorch.models.openai.usage import build_usage
from graphorch.models.reasoning import ReasoningFilter, strip_reasoning

if TYPE_CHECKING:
    import httpx2
    import openai
    from openai._legacy_response import LegacyAPIResponse

T = TypeVar("T")

# Finish reasons of endpoints by their meaning, beside those of a complete answer.
_CALLS = frozenset({"tool_calls", "function_call", "tool_use"})
_CUT = frozenset(
    {"length", "max_tokens", "model_length", "max_length", "max_output_tokens"}
    | {"max_tokens_reached", "token_limit", "model_context_window_exceeded"}
)
_FILTERED = frozenset(
    {"content_filter", "content_filtered", "safety", "recitation", "refusal", "blocklist"}
    | {"prohibited_content", "spii", "sensitive", "guardrail_intervened", "image_safety"}
)
# Faults of the endpoint that pass.
_PASSING = frozenset(
    {"error", "other", "unknown", "abort", "aborted", "cancelled", "timeout", "overloaded"}
    | {"insufficient_system_resource", "malformed_function_call", "network_error"}
    | {"unexpected_tool_call", "finish_reason_unspecified", "server_error"}
)
_KNOWN_REASONS = COMPLETE_REASONS | _CALLS | _CUT | _FILTERED | _PASSING
# Seconds for what may follow the finish reason: the usage, and the end of the stream.
_AFTERMATH = 5.0
# Seconds to read what follows `[DONE]`, so that the connection can be used again.
_DRAINING = 0.1


@dataclass(frozen=True, slots=True)
class CallLimits:
    """Limits of a call: seconds to wait, and bytes of the answer.

    `total` holds if the request has no timeout. While streaming, `first_token` is the limit up to
    the first word or thought (None: that of the call), and `between_tokens` the one from there on.
    """

    total: float = 300.0
    connect: float = 10.0
    # models that reason think for long before their first word
    first_token: float | None = None
    between_tokens: float = 60.0
    # a stream spends about 250 bytes on a token of text, and no model answers with 250,000 tokens
    max_bytes: int = 64 * 2**20


@dataclass(frozen=True, slots=True)
class _Answered:
    """A whole answer with its circumstances; `cost` is that of the headers."""

    reader: AnswerReader
    cost: float | None = None
    first_text_at: float | None = None


def _report_limits(request: Request, headers: Mapping[str, str]) -> None:
    """Tell the limiter of the request, if it has one, what an answer says about the limits."""
    if request.on_limits is not None:
        status = read_rate_status(headers)
        if status is not None:
            request.on_limits(status)


class OpenAIClient:
    """A `ModelClient` for one endpoint and its key.

    `sends_finish_reason=False` is for an endpoint that never says why an answer ended: its answers
    then count as complete if they end without a fault, and one that was cut may pass for whole.

    Works from any number of event loops; `aclose()` in each of them ends it there.
    """

    def __init__(
        self,
        base_url: str,
        key: SecretStr | str,
        *,
        limits: CallLimits | None = None,
        gateway: Gateway = GENERIC,
        sends_finish_reason: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not isinstance(key, SecretStr):
            key = SecretStr(key)
        self._endpoint = Endpoint(base_url, key)
        self._server = self._endpoint.server
        self._gateway = gateway
        self._sends_finish_reason = sends_finish_reason
        self._limits = limits or CallLimits()
        self._clock = clock
        self._pool: LoopPool[openai.AsyncOpenAI] = LoopPool(self._connect)
        self._dialects: dict[tuple[str, type[BaseModel] | None], Dialect] = {}

    def __repr__(self) -> str:
        return f"OpenAIClient({self._endpoint.host})"

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        """Ask the endpoint once; a second or third time only to learn its dialect, which it keeps.

        Raises `ModelError`, see `graphorch.models.errors` for its kinds.
        """
        leaving.set(request.departure)
        if (departure := request.departure) is not None:
            if departure.has_left and departure.bill is not None:
                # a client of the user's repeats by itself: each of its requests is paid
                await departure.bill.begin_repeat(None)
            departure.is_watched = True
        total = self._limits.total
        if request.timeout is not None:
            total = request.timeout
        # loading the package at the first call is slow, and not the endpoint's fault
        async with self._pool.borrow() as api:
            started_at = self._clock()
            scope = asyncio.timeout(max(total, 0))
            try:
                async with scope:
                    asking = self._ask(api, request, on_text, scope)
                    answered, dialect, sent = await asking
            except TimeoutError:
                if not scope.expired():
                    raise
                failure: ModelError = build_timeout(self._endpoint, request.model, "total", total)
                failure.server = self._server
            except ModelError as error:
                error.server = self._server
                raise
            else:
                return self._build_response(request, answered, dialect, sent, started_at)
        raise failure

    async def prepare(self) -> None:
        """Load the package and open the connections of the running event loop."""
        async with self._pool.borrow():
            pass

    async def aclose(self) -> None:
        """Close the connections of the running event loop; calls in flight finish first.

        The client stays usable.
        """
        await self._pool.close()

    def _connect(self) -> openai.AsyncOpenAI:
        import openai

        from graphorch.models.openai.transport import open_transport

        transport = open_transport(
            self._endpoint,
            connect=self._limits.connect,
            max_bytes=self._limits.max_bytes,
            own_headers=self._gateway.header_prefix,
        )
        api = openai.AsyncOpenAI(
            # the transport sends the real key; the package only insists on having one
            api_key=self._endpoint.key.get_secret_value() or "none",
            admin_api_key="",
            base_url=self._endpoint.base_url,
            http_client=transport,
            max_retries=0,
            timeout=transport.timeout,
            organization="",
            project="",
        )
        _ = api.chat.completions.with_raw_response  # loads what the first call would load
        return api

    async def _ask(
        self,
        api: openai.AsyncOpenAI,
        request: Request,
        on_text: OnText | None,
        whole_call: asyncio.Timeout,
    ) -> tuple[_Answered, Dialect, int]:
        """Return the answer, the dialect that it took, and how many requests were sent."""
        known = (request.model, request.schema)
        dialect = self._dialects.get(known, Dialect())
        sent = 0
        while True:
            sent += 1
            try:
                if on_text is None:
                    answered = await self._fetch_whole(api, request, dialect)
                else:
                    answered = await self._fetch_stream(api, request, dialect, on_text, whole_call)
            except ModelError as failure:
                adapted = dialect.adapt_to(failure, request)
                if adapted is None:
                    raise
                dialect = adapted
            else:
                self._dialects[known] = dialect
                return answered, dialect, sent

    async def _fetch_whole(
        self, api: openai.AsyncOpenAI, request: Request, dialect: Dialect
    ) -> _Answered:
        reply = await self._send(api, request, dialect, streamed=False)
        reader = AnswerReader(is_whole=True)
        for read in (partial(reader.feed, reply.content), reader.end, reader.finish):
            self._take(request, reader, read)
        return _Answered(reader, self._gateway.read_cost(reply.headers))

    async def _fetch_stream(
        self,
        api: openai.AsyncOpenAI,
        request: Request,
        dialect: Dialect,
        on_text: OnText,
        whole_call: asyncio.Timeout,
    ) -> _Answered:
        reader = AnswerReader(is_whole=False)
        patience = _Patience(self._limits, whole_call)
        listener = _Listener(on_text, self._endpoint.mask, self._clock)
        try:
            async with patience.scope:
                reply = await self._send(api, request, dialect, streamed=True)
                try:
                    await self._read_stream(request, reply, reader, listener, patience)
                finally:
                    await reply.aclose()
        except TimeoutError:
            if not patience.scope.expired():
                raise
            failure = self._build_timeout(request, reader)
        else:
            failure = None
        if failure is not None:
            raise failure
        listener.take(self._take(request, reader, reader.finish))
        listener.finish()
        return _Answered(reader, first_text_at=listener.first_text_at)

    def _build_timeout(self, request: Request, reader: AnswerReader) -> TimedOut | None:
        """Return the error for a stream that stopped; None if its answer is complete."""
        if reader.is_finished:
            return None
        limit, seconds = "first token", self._limits.first_token
        if reader.has_begun:
            limit, seconds = "between tokens", self._limits.between_tokens
        return build_timeout(self._endpoint, request.model, limit, seconds)

    async def _send(
        self, api: openai.AsyncOpenAI, request: Request, dialect: Dialect, *, streamed: bool
    ) -> httpx2.Response:
        """Send the request, and return the answer: its whole body, or the beginning of a stream."""
        options = encode_options(request, dialect, streamed=streamed)
        sending = cast("Any", api.chat.completions.with_raw_response).create(
            model=request.model,
            messages=encode_messages(request, dialect),
            extra_headers={**request.trace, **self._gateway.make_headers(request)},
            extra_body=options | self._gateway.build_body(request),
            **({"stream": True} if streamed else {}),
        )
        reply = await self._wait(cast("Awaitable[LegacyAPIResponse[object]]", sending), request)
        _report_limits(request, reply.http_response.headers)
        return reply.http_response

    async def _read_stream(
        self,
        request: Request,
        reply: httpx2.Response,
        reader: AnswerReader,
        listener: _Listener,
        patience: _Patience,
    ) -> None:
        """Read a stream to its end. After the finish reason, a broken connection is the end too."""
        try:
            async with aclosing(reply.aiter_raw()) as parts:
                while (data := await self._wait(anext(parts, None), request)) is not None:
                    seen = reader.events
                    listener.take(self._take(request, reader, partial(reader.feed, data)))
                    if reader.is_done:
                        await _drain(parts)
                        break
                    # comments and pings keep a connection alive, but they are no progress
                    if reader.events > seen and reader.has_begun:
                        patience.renew(is_finished=reader.is_finished)
            listener.take(self._take(request, reader, reader.end))
        except (Unreachable, Unreadable):
            if not reader.is_finished:
                raise

    def _take(self, request: Request, reader: AnswerReader, read: Callable[[], T]) -> T:
        """Return what a step of reading brings; every exception becomes a `ModelError`."""
        try:
            return read()
        except Exception as error:
            failure = explain(error, self._endpoint, request.model)
        if isinstance(failure, AnswerError):
            failure.partial = failure.partial or reader.answer.text
        raise failure

    async def _wait(self, awaitable: Awaitable[T], request: Request) -> T:
        """Wait once for the endpoint; every exception becomes a `ModelError`."""
        try:
            return await awaitable
        except Exception as error:
            refusal = getattr(error, "response", None)
            if refusal is not None:
                _report_limits(request, refusal.headers)
            failure = explain(error, self._endpoint, request.model)
        raise failure

    def _build_response(
        self,
        request: Request,
        answered: _Answered,
        dialect: Dialect,
        sent: int,
        started_at: float,
    ) -> Response:
        reader, answer = answered.reader, answered.reader.answer
        earlier = [call.id for message in request.messages for call in message.tool_calls]
        calls = self._take(request, reader, partial(answer.calls.build_calls, earlier))
        written = answer.text + answer.refusal + "".join(call.arguments for call in calls)
        usage, usage_note = build_usage(reader.bill, request, written)
        cost = reader.bill.read_usd()
        if cost is None:
            cost = answered.cost
        text = self._endpoint.mask.hide(strip_reasoning(answer.text))
        failure = self._find_flaw(request, answer, text, usage)
        if failure is not None:
            failure.usd = cost
            raise failure
        first_token_seconds = None
        if answered.first_text_at is not None:
            first_token_seconds = answered.first_text_at - started_at
        notes = [dialect.note(), usage_note, *self._note_oddities(answer)]
        return Response(
            text=text if request.schema is None else strip_code_fence(text),
            model=self._endpoint.clean(reader.model) or request.model,
            usage=usage or estimate_usage(request, written),
            usd=cost or 0.0,
            usd_source="none" if cost is None else "reported",
            # only reached without a reason if the settings say that it means this
            finish_reason=answer.finish_reason or "complete",
            attempts=sent,
            seconds=self._clock() - started_at,
            first_token_seconds=first_token_seconds,
            note="; ".join(note for note in notes if note),
            tool_calls=self._hide_key(calls) if request.tools else (),
            server=self._server,
        )

    def _hide_key(self, calls: tuple[ToolCall, ...]) -> tuple[ToolCall, ...]:
        hide = self._endpoint.mask.hide
        return tuple(replace(call, arguments=hide(call.arguments)) for call in calls)

    def _note_oddities(self, answer: PartialAnswer) -> list[str]:
        """Return the notes about an answer that is not quite as it should be."""
        notes: list[str] = []
        if not answer.finish_reason:
            notes.append("the endpoint gave no finish reason, so the answer may have been cut off")
        if answer.left_out:
            kinds = self._endpoint.clean(", ".join(sorted(answer.left_out)))
            notes.append(f"parts of the answer that are not text were left out: {kinds}")
        return notes

    def _find_flaw(
        self, request: Request, answer: PartialAnswer, text: str, usage: Usage | None
    ) -> AnswerError | None:
        """Return why a well-formed answer cannot be used, or None if it can.

        The cases, in this order: declined, cut off, asks for tools, ended in an unknown way, empty.
        """
        reason = _simplify_reason(answer.finish_reason)
        if not reason and not self._sends_finish_reason:
            reason = "complete"

        def fail(kind: type[AnswerError], why: str, *, retryable: bool = False) -> AnswerError:
            return kind(
                f"Model '{request.model}' at {self._endpoint.host} {why}",
                model=request.model,
                retryable=retryable,
                partial=text,
                usage=usage,
            )

        if answer.refusal or reason in _FILTERED:
            why = self._quote_refusal(answer)
            return fail(
                Refused, f"declined to answer{why}. Rephrase the prompt, or use another model."
            )
        if reason in _CUT:
            limit = "the model's own limit"
            if request.max_tokens is not None:
                limit = f"max_tokens={request.max_tokens}"
            why = f"was cut off by {limit}. Raise max_tokens, or ask for a shorter answer."
            return fail(Truncated, why)
        if not reason:
            why = (
                "ended its answer without a finish reason, so it may be cut off. Ask again. If "
                "this endpoint never sends one, set sends_finish_reason = false for it."
            )
            return fail(Truncated, why, retryable=True)
        if request.tools and answer.calls and reason in COMPLETE_REASONS | _CALLS:
            if not answer.calls.has_unnamed:
                return None
            why = "asked for a tool without naming it. Ask again."
            return fail(Unreadable, why, retryable=True)
        if reason not in COMPLETE_REASONS:
            shown = self._endpoint.clean(answer.finish_reason)
            why = f"ended with the finish reason '{shown}', which does not mean a complete answer."
            is_passing = reason in _PASSING or (bool(request.tools) and reason in _CALLS)
            advice = "Ask again, or use another model." if is_passing else "Use another model."
            return fail(Unreadable, f"{why} {advice}", retryable=is_passing)
        if not text.strip():
            why = "gave a complete answer without any text"
            if answer.text.strip():
                why = "gave its thoughts and no answer"
            return fail(Empty, f"{why}. Ask again, or raise max_tokens.", retryable=True)
        return None

    def _quote_refusal(self, answer: PartialAnswer) -> str:
        if answer.refusal:
            return f': "{self._endpoint.clean(answer.refusal)}"'
        return f" (finish reason: {self._endpoint.clean(answer.finish_reason)})"


def _simplify_reason(reason: str) -> str:
    """Return a finish reason in lower case, without the names that some put before or behind it.

    Gemini's `function_call_filter: MALFORMED_FUNCTION_CALL` and `FinishReason.STOP` are examples.
    """
    text = reason.strip().casefold()
    if text in _KNOWN_REASONS:
        return text
    parts = re.split(r"[:.]\s*", text)
    return next((part for part in parts if part in _KNOWN_REASONS), text)


async def load_package() -> None:
    """Load the openai package in a thread: it takes half a second or more."""
    await asyncio.to_thread(import_module, "graphorch.models.openai.transport")


class _Patience:
    """Limit on the time up to the next progress of a stream."""

    def __init__(self, limits: CallLimits, whole_call: asyncio.Timeout) -> None:
        self._between = limits.between_tokens
        self._whole_call = whole_call
        self._loop = asyncio.get_running_loop()
        self.scope = asyncio.timeout(limits.first_token)

    def renew(self, *, is_finished: bool) -> None:
        """Begin anew after some progress; after the finish reason, wait for half of what is left.

        An answer that is complete must not be lost because its stream does not end.
        """
        now, limit = self._loop.time(), self._between
        if is_finished:
            end = self._whole_call.when() or now
            limit = min(limit, _AFTERMATH, max(0.0, end - now) / 2)
        self.scope.reschedule(now + limit)


class _Listener:
    """Passes the text of a stream on while it arrives, without thoughts in front and the key."""

    def __init__(self, on_text: OnText, mask: KeyMask, clock: Callable[[], float]) -> None:
        self._on_text = on_text
        self._clock = clock
        self._filter = ReasoningFilter()
        self._mask = mask.open_stream()
        self.first_text_at: float | None = None

    def take(self, piece: str) -> None:
        """Take the next piece of the answer."""
        if piece:
            self._pass_on(self._filter.add(piece))

    def finish(self) -> None:
        """Pass on what was held back."""
        self._pass_on(self._filter.finish())
        if self._mask is not None and (held := self._mask.finish()):
            self._on_text(held)

    def _pass_on(self, text: str) -> None:
        if not text:
            return
        if self.first_text_at is None:
            self.first_text_at = self._clock()
        if self._mask is not None and not (text := self._mask.add(text)):
            return
        self._on_text(text)


async def _drain(parts: AsyncIterator[bytes]) -> None:
    """Read what follows the end of a stream, for a moment, so that its connection is free again."""
    try:
        async with asyncio.timeout(_DRAINING):
            async for _ in parts:
                pass
    except Exception:  # the answer is complete: nothing that happens now is a failure
        return

"""A client for every endpoint that speaks OpenAI's chat protocol.

It uses the openai package for transport and streaming, and trusts neither the package nor the
endpoint with anything else.

Rules of this file, each with a test against a server that breaks it:
- one call is one HTTP request: no hidden retries, no redirects, no proxy or header out of the
  environment;
- every wait has a limit, and the whole call has a limit that keep-alive drips cannot outlast;
- an answer counts only if it is well-formed, has text, and ends with a finish reason that means
  that it is complete;
- everything else is a `ModelError` without the key in it, raised outside of the `except` block so
  that it drags no request along.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pydantic import BaseModel, SecretStr, ValidationError

from graphorch.errors import ModelError
from graphorch.models.client import OnText
from graphorch.models.errors import AnswerError, Empty, Refused, Truncated, Unreadable
from graphorch.models.json_schema import strip_code_fence
from graphorch.models.messages import (
    COMPLETE_REASONS,
    Request,
    Response,
    ToolCall,
    Usage,
    estimate_usage,
)
from graphorch.models.openai.connection_pool import LoopPool
from graphorch.models.openai.dialect import Dialect, encode_messages, encode_options
from graphorch.models.openai.errors import (
    Endpoint,
    build_reported_error,
    build_timeout,
    build_unreadable,
    explain,
)
from graphorch.models.openai.gateways import GENERIC, Gateway
from graphorch.models.openai.wire import (
    ChatCompletion,
    ChoiceMessage,
    Chunk,
    ToolCallDelta,
    describe_mismatch,
    read_usage,
)

if TYPE_CHECKING:
    import openai
    from openai.types.chat import ChatCompletionChunk

T = TypeVar("T")

# Finish reasons of endpoints by their meaning, beside those of a complete answer.
_CALLS = frozenset({"tool_calls", "function_call", "tool_use"})
_CUT = frozenset({"length", "max_tokens", "model_length"})
_FILTERED = frozenset({"content_filter", "safety", "recitation", "refusal", "prohibited_content"})


@dataclass(frozen=True, slots=True)
class CallLimits:
    """Limits of a call: seconds to wait, and bytes of the answer.

    `total` holds if the request has no timeout; `first_token` and `between_tokens` while streaming.
    """

    total: float = 300.0
    connect: float = 10.0
    # models that reason think for long before their first word
    first_token: float = 120.0
    between_tokens: float = 60.0
    # a stream spends about 250 bytes on a token of text, and no model answers with 250,000 tokens
    max_bytes: int = 64 * 2**20


@dataclass(slots=True)
class _PartialToolCall:
    """A tool call, as far as it has arrived."""

    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list[str])


@dataclass(slots=True)
class _PartialAnswer:
    """An answer, as far as it has arrived; a stream fills it piece by piece."""

    pieces: list[str] = field(default_factory=list[str])
    calls: dict[int, _PartialToolCall] = field(default_factory=dict[int, _PartialToolCall])
    refusal: str = ""
    finish_reason: str = ""
    model: str = ""
    usage: object = None
    # in the headers, for gateways that put it there
    cost: float | None = None
    first_text_at: float | None = None

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """Tool calls in the order of their places, numbered if the endpoint gave them no ids."""
        return tuple(
            ToolCall(
                id=call.id or f"call_{place}", name=call.name, arguments="".join(call.arguments)
            )
            for place, call in sorted(self.calls.items())
        )

    def add(self, message: ChoiceMessage | None, finish_reason: str | None) -> str:
        """Add a message, or a piece of one, and return its text."""
        self.finish_reason = finish_reason or self.finish_reason
        if message is None:
            return ""
        piece = message.content or ""
        if piece:
            self.pieces.append(piece)
        self.refusal += message.refusal or ""
        for delta in message.tool_calls or ():
            self._add_call(delta)
        return piece

    def _add_call(self, delta: ToolCallDelta) -> None:
        """Add a tool call, or a piece of one."""
        call = self.calls.setdefault(self._find_place(delta), _PartialToolCall())
        call.id = call.id or delta.id or ""
        call.name = call.name or delta.function.name or ""
        call.arguments.append(delta.function.arguments or "")

    def _find_place(self, delta: ToolCallDelta) -> int:
        """Return the place of a tool call; without an index, a new id begins a new call."""
        if delta.index is not None:
            return delta.index
        last = max(self.calls, default=-1)
        if delta.id or last < 0:
            return last + 1
        return last


class OpenAIClient:
    """A `ModelClient` for one endpoint and its key.

    Works from any number of event loops; `aclose()` in each of them ends it there.
    """

    def __init__(
        self,
        base_url: str,
        key: SecretStr | str,
        *,
        limits: CallLimits | None = None,
        gateway: Gateway = GENERIC,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not isinstance(key, SecretStr):
            key = SecretStr(key)
        self._endpoint = Endpoint(base_url, key)
        self._gateway = gateway
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
        total = self._limits.total
        if request.timeout is not None:
            total = request.timeout
        # the import behind the first call is slow, and not the endpoint's fault
        async with self._pool.borrow() as api:
            started_at = self._clock()
            scope = asyncio.timeout(max(total, 0))
            try:
                async with scope:
                    answer, dialect, sent = await self._ask(api, request, on_text)
            except TimeoutError:
                if not scope.expired():
                    raise
                failure: ModelError = build_timeout(self._endpoint, request.model, "total", total)
            else:
                return self._build_response(request, answer, dialect, sent, started_at)
        raise failure

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
        return openai.AsyncOpenAI(
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

    async def _ask(
        self, api: openai.AsyncOpenAI, request: Request, on_text: OnText | None
    ) -> tuple[_PartialAnswer, Dialect, int]:
        """Return the answer, the dialect that it took, and how many requests were sent."""
        known = (request.model, request.schema)
        dialect = self._dialects.get(known, Dialect())
        sent = 0
        while True:
            sent += 1
            try:
                if on_text is None:
                    answer = await self._fetch_whole(api, request, dialect)
                else:
                    answer = await self._fetch_stream(api, request, dialect, on_text)
            except ModelError as failure:
                adapted = dialect.adapt_to(failure, request)
                if adapted is None:
                    raise
                dialect = adapted
            else:
                self._dialects[known] = dialect
                return answer, dialect, sent

    async def _fetch_whole(
        self, api: openai.AsyncOpenAI, request: Request, dialect: Dialect
    ) -> _PartialAnswer:
        sending = api.chat.completions.with_raw_response.create(
            model=request.model,
            messages=cast("Any", encode_messages(request, dialect)),
            extra_headers=self._gateway.make_headers(request),
            extra_body=self._build_body(request, dialect, streamed=False),
        )
        reply = await self._wait(sending, request, "total", None)
        answer = self._read_completion(request, reply.content)
        answer.cost = self._gateway.read_cost(reply.headers)
        return answer

    async def _fetch_stream(
        self, api: openai.AsyncOpenAI, request: Request, dialect: Dialect, on_text: OnText
    ) -> _PartialAnswer:
        started_at = self._clock()
        sending = api.chat.completions.create(
            model=request.model,
            messages=cast("Any", encode_messages(request, dialect)),
            extra_headers=self._gateway.make_headers(request),
            extra_body=self._build_body(request, dialect, streamed=True),
            stream=True,
        )
        stream = await self._wait(sending, request, "first token", self._limits.first_token)
        answer = _PartialAnswer()
        async with stream:
            if not self._is_event_stream(request, stream):
                return await self._fetch_unstreamed(request, stream, on_text)
            # the wait for the first piece includes the wait for the headers
            limit = "first token"
            patience = max(0.0, self._limits.first_token - (self._clock() - started_at))
            while True:
                piece = await self._next_piece(stream, request, answer, limit, patience)
                if piece is None:
                    return answer
                limit, patience = "between tokens", self._limits.between_tokens
                if piece:
                    if answer.first_text_at is None:
                        answer.first_text_at = self._clock()
                    on_text(piece)

    def _build_body(
        self, request: Request, dialect: Dialect, *, streamed: bool
    ) -> dict[str, object]:
        options = encode_options(request, dialect, streamed=streamed)
        return options | self._gateway.build_body(request)

    async def _next_piece(
        self,
        stream: openai.AsyncStream[ChatCompletionChunk],
        request: Request,
        answer: _PartialAnswer,
        limit: str,
        seconds: float,
    ) -> str | None:
        """Add the next event to the answer and return its text; None at the end.

        After the finish reason, a failure is the end too.
        """
        try:
            event: object = await self._wait(anext(stream, None), request, limit, seconds)
        except ModelError:
            if answer.finish_reason:
                return None
            raise
        if event is None:
            return None
        chunk = self._check_event(request, event, answer.text)
        answer.model = chunk.model or answer.model
        if chunk.usage is not None:
            answer.usage = chunk.usage
        # one choice is asked for, so only the first counts
        pieces = [answer.add(choice.delta, choice.finish_reason) for choice in chunk.choices[:1]]
        return "".join(pieces)

    async def _wait(
        self, awaitable: Awaitable[T], request: Request, limit: str, seconds: float | None
    ) -> T:
        """Wait once for the endpoint, limited in time; every exception becomes a `ModelError`."""
        scope = asyncio.timeout(seconds)
        try:
            async with scope:
                return await awaitable
        except Exception as error:
            model = request.model
            if isinstance(error, TimeoutError) and scope.expired():
                failure: ModelError = build_timeout(self._endpoint, model, limit, seconds)
            else:
                failure = explain(error, self._endpoint, model)
        raise failure

    async def _fetch_unstreamed(
        self, request: Request, stream: openai.AsyncStream[ChatCompletionChunk], on_text: OnText
    ) -> _PartialAnswer:
        """Return the whole answer of an endpoint that does not stream although it was asked to."""
        content = await self._wait(stream.response.aread(), request, "total", None)
        answer = self._read_completion(request, content)
        if answer.text:
            answer.first_text_at = self._clock()
            on_text(answer.text)
        return answer

    def _read_completion(self, request: Request, content: bytes) -> _PartialAnswer:
        try:
            completion = ChatCompletion.model_validate_json(content)
        except ValidationError as error:
            failure = self._explain_malformed(request, content, describe_mismatch(error))
        else:
            choice = completion.choices[0]
            answer = _PartialAnswer(model=completion.model or "", usage=completion.usage)
            answer.add(choice.message, choice.finish_reason)
            return answer
        raise failure

    def _explain_malformed(self, request: Request, content: bytes, mismatch: str) -> ModelError:
        """Return the error for a body that is not a chat completion.

        Some gateways answer 200 with an error in the body; anything else is not the protocol.
        """
        endpoint, model = self._endpoint, request.model
        try:
            body: object = json.loads(content)
        except (ValueError, RecursionError):
            return build_unreadable(endpoint, model, f"what came is not JSON ({mismatch})")
        error = cast("dict[str, object]", body).get("error") if isinstance(body, dict) else None
        if error:
            return build_reported_error(error, endpoint, model)
        return build_unreadable(
            endpoint, model, f"what came is JSON but not a chat completion ({mismatch})"
        )

    def _is_event_stream(
        self, request: Request, stream: openai.AsyncStream[ChatCompletionChunk]
    ) -> bool:
        """Return whether events come; False for a whole answer in JSON.

        Raises `Unreadable` for anything else, such as a web page.
        """
        kind = stream.response.headers.get("content-type", "nothing")
        if kind.startswith("text/event-stream"):
            return True
        if kind.startswith("application/json"):
            return False
        raise build_unreadable(
            self._endpoint,
            request.model,
            f"it sent {kind} where a stream of events (text/event-stream) was asked for",
        )

    def _check_event(self, request: Request, event: object, partial: str) -> Chunk:
        mismatch = f"{type(event).__name__} instead of an object"
        # the openai package builds it without looking at the types, and passes other JSON through
        if isinstance(event, BaseModel):
            try:
                return Chunk.model_validate(event.model_dump(exclude_unset=True, warnings=False))
            except ValidationError as error:
                mismatch = describe_mismatch(error)
        what = f"its stream holds an event that is not a chat completion chunk ({mismatch})"
        raise build_unreadable(self._endpoint, request.model, what, partial=partial)

    def _build_response(
        self,
        request: Request,
        answer: _PartialAnswer,
        dialect: Dialect,
        sent: int,
        started_at: float,
    ) -> Response:
        usage, cost = read_usage(answer.usage)
        if cost is None:
            cost = answer.cost
        failure = self._find_flaw(request, answer, usage)
        if failure is not None:
            failure.usd = cost
            raise failure
        text, first_token_seconds = answer.text, None
        if request.schema is not None:
            text = strip_code_fence(text)
        if answer.first_text_at is not None:
            first_token_seconds = answer.first_text_at - started_at
        return Response(
            text=text,
            model=self._endpoint.clean(answer.model) or request.model,
            usage=usage or estimate_usage(request, answer.text),
            usd=cost or 0.0,
            usd_source="none" if cost is None else "reported",
            finish_reason=answer.finish_reason,
            attempts=sent,
            seconds=self._clock() - started_at,
            first_token_seconds=first_token_seconds,
            note=_join_notes(dialect, usage),
            tool_calls=answer.tool_calls if request.tools else (),
        )

    def _find_flaw(
        self, request: Request, answer: _PartialAnswer, usage: Usage | None
    ) -> AnswerError | None:
        """Return why a well-formed answer cannot be used, or None if it can.

        The cases, in this order: declined, cut off, asks for tools, ended in an unknown way, empty.
        """
        reason = answer.finish_reason.casefold()

        def fail(kind: type[AnswerError], why: str, *, retryable: bool = False) -> AnswerError:
            return kind(
                f"Model '{request.model}' at {self._endpoint.host} {why}",
                model=request.model,
                retryable=retryable,
                partial=answer.text,
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
            why = "ended its answer without a finish reason, so it may be cut off. Ask again."
            return fail(Truncated, why, retryable=True)
        if request.tools and answer.calls and reason in COMPLETE_REASONS | _CALLS:
            if all(call.name for call in answer.calls.values()):
                return None
            why = "asked for a tool without naming it. Ask again."
            return fail(Unreadable, why, retryable=True)
        if reason not in COMPLETE_REASONS:
            shown = self._endpoint.clean(answer.finish_reason)
            why = f"ended with the finish reason '{shown}', which does not mean a complete answer."
            return fail(Unreadable, f"{why} Use another model.")
        if not answer.text.strip():
            why = "gave a complete answer without any text. Ask again, or raise max_tokens."
            return fail(Empty, why, retryable=True)
        return None

    def _quote_refusal(self, answer: _PartialAnswer) -> str:
        if answer.refusal:
            return f': "{self._endpoint.clean(answer.refusal)}"'
        return f" (finish reason: {self._endpoint.clean(answer.finish_reason)})"


def _join_notes(dialect: Dialect, usage: Usage | None) -> str:
    notes = [dialect.note()]
    if usage is None:
        notes.append(
            "the endpoint reported no usage: the tokens are estimated from the length of the texts"
        )
    return "; ".join(note for note in notes if note)

"""A client for every endpoint that speaks OpenAI's chat protocol.

It uses the openai package for transport and streaming, and trusts neither it nor the endpoint with anything else.

Rules of this file, each with a test against a server that breaks it:
- one call is one HTTP request: no hidden retries, no redirects, no proxy or header out of the environment;
- every wait has a limit, and the whole call has one that keep-alive drips cannot outlast;
- an answer counts only if it is well-formed, has text, and ends with a finish reason that says it is complete;
- everything else is a `ModelError` without the key in it, raised outside of the `except` block so that it drags no request along.
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
from graphorch.models.messages import Request, Response, ToolCall, Usage, estimate_usage
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

# What endpoints call the end of an answer, by what it means. Anything else is not trusted to be complete.
_COMPLETE = frozenset({"stop", "eos", "eos_token", "end_turn", "stop_sequence", "complete"})
_CALLS = frozenset({"tool_calls", "function_call", "tool_use"})
_CUT = frozenset({"length", "max_tokens", "model_length"})
_FILTERED = frozenset({"content_filter", "safety", "recitation", "refusal", "prohibited_content"})


@dataclass(frozen=True, slots=True)
class CallLimits:
    """Seconds that a call may take: in all if the request does not say, to connect, and while it streams; and bytes of its answer."""

    total: float = 300.0
    connect: float = 10.0
    first_token: float = 120.0  # models that reason think for long before their first word
    between_tokens: float = 60.0
    # a stream spends about 250 bytes on a token of text, and no model answers with 250,000 tokens
    max_bytes: int = 64 * 2**20


@dataclass(slots=True)
class _Wanted:
    """A tool call, as far as it has come."""

    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list[str])


@dataclass(slots=True)
class _Streamed:
    """What has come so far; a stream fills it piece by piece."""

    pieces: list[str] = field(default_factory=list[str])
    wanted: dict[int, _Wanted] = field(default_factory=dict[int, _Wanted])
    refusal: str = ""
    finish_reason: str = ""
    model: str = ""
    usage: object = None
    cost: float | None = None  # in the headers, for gateways that put it there
    first_text_at: float | None = None

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    def take(self, said: ChoiceMessage | None, finish_reason: str | None) -> str:
        """Add what was said, and return its text."""
        piece = (said.content if said else None) or ""
        if piece:
            self.pieces.append(piece)
        self.refusal += (said.refusal if said else None) or ""
        for call in (said.tool_calls if said else None) or ():
            self._want(call)
        self.finish_reason = finish_reason or self.finish_reason
        return piece

    def _want(self, call: ToolCallDelta) -> None:
        """Add (a piece of) a tool call; without an index a new id begins a new call."""
        last = max(self.wanted, default=-1)
        place = call.index if call.index is not None else last + 1 if call.id or last < 0 else last
        wanted = self.wanted.setdefault(place, _Wanted())
        wanted.id = wanted.id or call.id or ""
        wanted.name = wanted.name or call.function.name or ""
        wanted.arguments.append(call.function.arguments or "")

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tool calls in the order of their places; an endpoint that gives them no ids gets them numbered."""
        return tuple(
            ToolCall(
                id=item.id or f"call_{place}", name=item.name, arguments="".join(item.arguments)
            )
            for place, item in sorted(self.wanted.items())
        )


class OpenAIClient:
    """A `ModelClient` for one endpoint and its key. Works from any number of event loops; `aclose()` in each of them ends it there."""

    def __init__(
        self,
        base_url: str,
        key: SecretStr | str,
        *,
        limits: CallLimits | None = None,
        gateway: Gateway = GENERIC,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._endpoint = Endpoint(base_url, key if isinstance(key, SecretStr) else SecretStr(key))
        self._gateway = gateway
        self._limits = limits or CallLimits()
        self._clock = clock
        self._pool: LoopPool[openai.AsyncOpenAI] = LoopPool(self._connect)
        self._dialects: dict[tuple[str, type[BaseModel] | None], Dialect] = {}

    def __repr__(self) -> str:
        return f"OpenAIClient({self._endpoint.host})"

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        """Ask the endpoint once; a second or third time only to find out its dialect, and then never again.

        Raises `ModelError`, see `graphorch.models.errors` for its kinds.
        """
        total = self._limits.total if request.timeout is None else request.timeout
        # the import behind the first call is slow, and not the endpoint's fault
        async with self._pool.borrow() as api:
            began = self._clock()
            scope = asyncio.timeout(max(total, 0))
            try:
                async with scope:
                    answer, dialect, sent = await self._ask(api, request, on_text)
            except TimeoutError:
                if not scope.expired():
                    raise
                failure: ModelError = build_timeout(self._endpoint, request.model, "total", total)
            else:
                return self._response(request, answer, dialect, sent, began)
        raise failure

    async def aclose(self) -> None:
        """Close the connections of the running event loop; calls in flight finish first. The client stays usable."""
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
            # what is sent is the transport's business
            api_key=self._endpoint.key.get_secret_value() or "none",
            admin_api_key="", base_url=self._endpoint.base_url, http_client=transport,
            max_retries=0, timeout=transport.timeout, organization="", project="",
        )  # fmt: skip

    async def _ask(
        self, api: openai.AsyncOpenAI, request: Request, on_text: OnText | None
    ) -> tuple[_Streamed, Dialect, int]:
        """The answer, the dialect that it took, and how many requests were sent."""
        known = (request.model, request.schema)
        dialect = self._dialects.get(known, Dialect())
        sent = 0
        while True:
            sent += 1
            try:
                answer = await (
                    self._whole(api, request, dialect)
                    if on_text is None
                    else self._stream(api, request, dialect, on_text)
                )
            except ModelError as failure:
                changed = dialect.adapt_to(failure, request)
                if changed is None:
                    raise
                dialect = changed
            else:
                self._dialects[known] = dialect
                return answer, dialect, sent

    async def _whole(
        self, api: openai.AsyncOpenAI, request: Request, dialect: Dialect
    ) -> _Streamed:
        sending = api.chat.completions.with_raw_response.create(
            model=request.model,
            messages=cast("Any", encode_messages(request, dialect)),
            extra_headers=self._gateway.make_headers(request),
            extra_body=encode_options(request, dialect, streamed=False)
            | self._gateway.build_body(request),
        )
        reply = await self._wait(sending, request, "total", None)
        answer = self._whole_answer(request, reply.content)
        answer.cost = self._gateway.read_cost(reply.headers)
        return answer

    async def _stream(
        self, api: openai.AsyncOpenAI, request: Request, dialect: Dialect, on_text: OnText
    ) -> _Streamed:
        began = self._clock()
        sending = api.chat.completions.create(
            model=request.model,
            messages=cast("Any", encode_messages(request, dialect)),
            extra_headers=self._gateway.make_headers(request),
            extra_body=encode_options(request, dialect, streamed=True)
            | self._gateway.build_body(request),
            stream=True,
        )
        stream = await self._wait(sending, request, "first token", self._limits.first_token)
        answer = _Streamed()
        async with stream:
            if not self._is_stream(request, stream):
                return await self._unstreamed(request, stream, on_text)
            patience = max(0.0, self._limits.first_token - (self._clock() - began))
            limit = "first token"
            while (
                piece := await self._next_piece(stream, request, answer, limit, patience)
            ) is not None:
                limit, patience = "between tokens", self._limits.between_tokens
                if piece and answer.first_text_at is None:
                    answer.first_text_at = self._clock()
                if piece:
                    on_text(piece)
        return answer

    async def _next_piece(
        self,
        stream: openai.AsyncStream[ChatCompletionChunk],
        request: Request,
        answer: _Streamed,
        limit: str,
        seconds: float,
    ) -> str | None:
        """Take the next event into the answer and return its text; None at the end. After the finish reason, anything is the end."""
        try:
            event: object = await self._wait(anext(stream, None), request, limit, seconds)
        except ModelError:
            if answer.finish_reason:
                return None
            raise
        if event is None:
            return None
        chunk = self._event(request, event, answer.text)
        answer.model = chunk.model or answer.model
        answer.usage = chunk.usage if chunk.usage is not None else answer.usage
        return "".join(
            answer.take(choice.delta, choice.finish_reason) for choice in chunk.choices[:1]
        )

    async def _wait(
        self, awaitable: Awaitable[T], request: Request, limit: str, seconds: float | None
    ) -> T:
        """One wait for the endpoint: limited in time, and whatever it raises becomes a `ModelError`."""
        scope = asyncio.timeout(seconds)
        try:
            async with scope:
                return await awaitable
        except Exception as error:
            expired = isinstance(error, TimeoutError) and scope.expired()
            model = request.model
            failure = (
                build_timeout(self._endpoint, model, limit, seconds)
                if expired
                else explain(error, self._endpoint, model)
            )
        raise failure

    async def _unstreamed(
        self, request: Request, stream: openai.AsyncStream[ChatCompletionChunk], on_text: OnText
    ) -> _Streamed:
        """The whole answer, or the error, of an endpoint that was asked for a stream and does not stream."""
        content = await self._wait(stream.response.aread(), request, "total", None)
        answer = self._whole_answer(request, content)
        if answer.text:
            answer.first_text_at = self._clock()
            on_text(answer.text)
        return answer

    def _whole_answer(self, request: Request, content: bytes) -> _Streamed:
        try:
            completion = ChatCompletion.model_validate_json(content)
        except ValidationError as error:
            failure = self._malformed(request, content, describe_mismatch(error))
        else:
            choice = completion.choices[0]
            answer = _Streamed(model=completion.model or "", usage=completion.usage)
            answer.take(choice.message, choice.finish_reason)
            return answer
        raise failure

    def _malformed(self, request: Request, content: bytes, wrong: str) -> ModelError:
        """Some gateways answer 200 with an error in the body; everything else that does not fit is not the protocol."""
        try:
            body: object = json.loads(content)
        except (ValueError, RecursionError):
            return build_unreadable(
                self._endpoint, request.model, f"what came is no JSON ({wrong})"
            )
        error = cast("dict[str, object]", body).get("error") if isinstance(body, dict) else None
        if error:
            return build_reported_error(error, self._endpoint, request.model)
        return build_unreadable(
            self._endpoint, request.model, f"what came is JSON but no chat completion ({wrong})"
        )

    def _is_stream(self, request: Request, stream: openai.AsyncStream[ChatCompletionChunk]) -> bool:
        """Whether events come; False is a whole answer in JSON. Raises `Unreadable` for anything else, such as a web page."""
        kind = stream.response.headers.get("content-type", "nothing")
        if kind.startswith(("text/event-stream", "application/json")):
            return kind.startswith("text/event-stream")
        raise build_unreadable(
            self._endpoint,
            request.model,
            f"it sent {kind} where a stream of events (text/event-stream) was asked for",
        )

    def _event(self, request: Request, event: object, partial: str) -> Chunk:
        wrong = f"{type(event).__name__} instead of an object"
        # the openai package builds it without looking at the types, and passes other JSON through
        if isinstance(event, BaseModel):
            try:
                return Chunk.model_validate(event.model_dump(exclude_unset=True, warnings=False))
            except ValidationError as error:
                wrong = describe_mismatch(error)
        what = f"its stream holds an event that is no chat completion chunk ({wrong})"
        raise build_unreadable(self._endpoint, request.model, what, partial=partial)

    def _response(
        self, request: Request, answer: _Streamed, dialect: Dialect, sent: int, began: float
    ) -> Response:
        usage, cost = read_usage(answer.usage)
        cost = answer.cost if cost is None else cost
        failure = self._flaw(request, answer, usage)
        if failure is not None:
            failure.usd = cost
            raise failure
        notes = [
            dialect.note(),
            ""
            if usage
            else "the endpoint reported no usage: the tokens are estimated from the length of the texts",
        ]
        return Response(
            text=strip_code_fence(answer.text) if request.schema is not None else answer.text,
            model=self._endpoint.clean(answer.model) or request.model,
            usage=usage or estimate_usage(request, answer.text),
            usd=cost or 0.0,
            usd_source="none" if cost is None else "reported",
            finish_reason=answer.finish_reason,
            attempts=sent,
            seconds=self._clock() - began,
            first_token_seconds=None
            if answer.first_text_at is None
            else answer.first_text_at - began,
            note="; ".join(note for note in notes if note),
            tool_calls=answer.tool_calls if request.tools else (),
        )

    def _flaw(self, request: Request, answer: _Streamed, usage: Usage | None) -> AnswerError | None:
        """Why an answer that is well-formed cannot be used, or None."""
        reason = answer.finish_reason.casefold()
        what = f"Model '{request.model}' at {self._endpoint.host}"
        shown = self._endpoint.clean(answer.finish_reason)

        def fail(kind: type[AnswerError], why: str, *, retryable: bool) -> AnswerError:
            return kind(
                f"{what} {why}",
                model=request.model,
                retryable=retryable,
                partial=answer.text,
                usage=usage,
            )

        if answer.refusal or reason in _FILTERED:
            said = (
                f': "{self._endpoint.clean(answer.refusal)}"'
                if answer.refusal
                else f" (finish reason: {shown})"
            )
            return fail(
                Refused,
                f"declined to answer{said}. Rephrase the prompt, or use another model.",
                retryable=False,
            )
        if reason in _CUT:
            limit = (
                f"max_tokens={request.max_tokens}"
                if request.max_tokens is not None
                else "the model's own limit"
            )
            return fail(
                Truncated,
                f"was cut off by {limit}. Raise max_tokens, or ask for a shorter answer.",
                retryable=False,
            )
        if not reason:
            return fail(
                Truncated,
                "ended its answer without a finish reason, so it may be cut off. Ask again.",
                retryable=True,
            )
        if request.tools and answer.wanted and reason in _COMPLETE | _CALLS:
            if all(item.name for item in answer.wanted.values()):
                return None
            return fail(
                Unreadable, "asked for a tool without naming it. Ask again.", retryable=True
            )
        if reason not in _COMPLETE:
            why = f"ended with the finish reason '{shown}', which is no complete answer. Use another model."
            return fail(Unreadable, why, retryable=False)
        if not answer.text.strip():
            return fail(
                Empty,
                "gave a complete answer without any text. Ask again, or raise max_tokens.",
                retryable=True,
            )
        return None

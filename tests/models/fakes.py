"""A fake model in virtual time that plays its script and counts its calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from graphorch.errors import ModelError
from graphorch.models.client import OnText
from graphorch.models.errors import TimedOut, Truncated, Unreadable
from graphorch.models.messages import Message, Request, Response, Usage
from graphorch.models.rate_status import RateStatus


@dataclass(frozen=True)
class Flat:
    """Price per token; `output` defaults to the price of the input."""

    input: float
    output: float | None = None

    def cost(self, usage: Usage, /) -> float:
        return usage.input_tokens * self.input + usage.output_tokens * self._output

    def worst(self, input_tokens: int, max_output_tokens: int, /) -> float:
        return input_tokens * self.input + max_output_tokens * self._output

    @property
    def _output(self) -> float:
        return self.input if self.output is None else self.output


@dataclass(frozen=True)
class Table:
    """Prices by name."""

    prices: Mapping[str, Flat] = field(default_factory=dict)

    def find_price(self, model: str, /) -> Flat | None:
        return self.prices.get(model)


@dataclass(frozen=True)
class Answer:
    """Answer of a fake model.

    The first token comes after `first` seconds, each of `tokens` takes `per_token` seconds, then
    comes the rest.
    """

    text: str = "fine"
    first: float = 0.1
    per_token: float = 0.0
    tokens: int = 10
    usd: float | None = None
    reports_usage: bool = True
    limits: RateStatus | None = None


Action = Answer | ModelError | Callable[[Request], "Answer | ModelError"]


class FakeModel:
    """Model client that plays its actions in turn and repeats the last one.

    `clock` is that of the event loop.
    """

    def __init__(
        self,
        *actions: Action,
        clock: Callable[[], float] = lambda: asyncio.get_running_loop().time(),
    ) -> None:
        self.actions = list(actions) or [Answer()]
        self.requests: list[Request] = []
        self.cancelled = 0
        self.running = 0
        self._clock = clock

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        self.requests.append(request)
        action = self.actions.pop(0) if len(self.actions) > 1 else self.actions[0]
        if callable(action):
            action = action(request)
        began = self._clock()
        self.running += 1
        try:
            return await self._do(action, request, on_text, began)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1

    async def _do(
        self, action: Answer | ModelError, request: Request, on_text: OnText | None, began: float
    ) -> Response:
        if isinstance(action, ModelError):
            await asyncio.sleep(0.01)
            raise action
        await asyncio.sleep(action.first)
        if action.limits is not None and request.on_limits is not None:
            request.on_limits(action.limits)
        if on_text is not None:
            on_text(action.text)
        if action.per_token:
            await asyncio.sleep(action.per_token * action.tokens)
        asked = sum(len(message.content) for message in request.messages)
        return Response(
            text=action.text,
            model=request.model,
            usage=Usage(asked // 4, action.tokens, is_estimated=not action.reports_usage),
            usd=action.usd or 0.0,
            usd_source="none" if action.usd is None else "reported",
            finish_reason="stop",
            attempts=1,
            seconds=self._clock() - began,
            first_token_seconds=None if on_text is None else action.first,
        )


def request_to(model: str = "any", text: str = "hello there", **fields: object) -> Request:
    return Request(model, (Message(content=text),), **fields)  # type: ignore[arg-type]


def status(
    code: int, *, retryable: bool | None = None, retry_after: float | None = None
) -> ModelError:
    """Build the error of an endpoint that answered with a status."""
    passes = code in (408, 409, 424, 429) or code >= 500
    return ModelError(
        f"answered {code}",
        model="fake",
        retryable=passes if retryable is None else retryable,
        status=code,
        retry_after=retry_after,
    )


def html_page() -> ModelError:
    return Unreadable("it sent a web page", model="fake", retryable=True)


def cut_stream() -> ModelError:
    return Truncated(
        "it ended without a finish reason", model="fake", retryable=True, partial="half an"
    )


def hangs() -> Answer:
    return Answer(first=10_000.0)


def timed_out() -> ModelError:
    return TimedOut("nothing came", model="fake", limit="first token")


def ignore(piece: str) -> None:
    """Discard the text of a stream; its presence makes the call stream."""

"""Helpers of the patterns' tests: scripted models, prices, and errors of failed runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from pydantic import BaseModel

from graphorch import Emitted, Flow, GraphError, Request, Response, RunEvent, RunFailed, Usage
from graphorch.models.client import OnText
from graphorch.models.pricing.metering import MeteredClient
from graphorch.testing.virtual_clock import run_virtual
from tests.models.fakes import Flat, Table

# text, a slice, or either after so many seconds
Said = str | BaseModel | tuple[float, "str | BaseModel"]


class Models:
    """Fake client that answers with `say(request)` and keeps the requests.

    Every answer counts `tokens` output tokens.
    """

    def __init__(self, say: Callable[[Request], Said], tokens: int = 100) -> None:
        self._say = say
        self._tokens = tokens
        self.requests: list[Request] = []

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        self.requests.append(request)
        answer = self._say(request)
        seconds, answer = answer if isinstance(answer, tuple) else (0.0, answer)
        await asyncio.sleep(seconds)
        text = answer.model_dump_json() if isinstance(answer, BaseModel) else answer
        usage = Usage(len(asked(request)) // 4, self._tokens)
        return Response(text, request.model, usage, 0.0, "none", "stop", 1, seconds, None)

    def of(self, node: str) -> list[Request]:
        """Return the requests that a node made."""
        return [request for request in self.requests if request.metadata["node"] == node]


def asked(request: Request) -> str:
    """Return all texts of a request."""
    return "\n".join(message.content for message in request.messages)


def metered(models: Models, usd_per_token: float = 1e-4) -> MeteredClient:
    """Charge one price per token for the answers of the models."""

    class Everything(Table):
        def find_price(self, model: str, /) -> Flat:
            return Flat(usd_per_token)

    return MeteredClient(models, Everything())


def failure(main: Coroutine[Any, Any, Any]) -> RunFailed:
    """The failure of a run that must fail."""
    with pytest.raises(RunFailed) as caught:
        run_virtual(main)
    return caught.value


def cause(failed: RunFailed) -> BaseException:
    """What the first failed node raised."""
    error: BaseException = failed.exceptions[0]
    return error.__cause__ or error


def codes(build: Callable[[], Any]) -> set[str]:
    """The codes of the problems that keep a graph from being built."""
    with pytest.raises(GraphError) as caught:
        build()
    return {problem.code for problem in caught.value.problems}


async def events_of(flow: Flow[Any, Any, Any], value: BaseModel, **options: Any) -> list[RunEvent]:
    """All events of a run that succeeds."""
    return [event async for event in flow.stream(value, **options)]


def emitted(events: list[RunEvent], kind: type[BaseModel]) -> list[Any]:
    """Those that the patterns themselves emitted, of one kind."""
    return [
        event.event
        for event in events
        if isinstance(event, Emitted) and isinstance(event.event, kind)
    ]

"""Calls of the client to a scripted server, for the tests of this folder."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
from pydantic import BaseModel

from graphorch.errors import ModelError
from graphorch.models.messages import Message, Request, Response, ToolSpec
from graphorch.models.openai.client import CallLimits, OpenAIClient
from tests.models.servers import Handler, Server, completion, pieces_of, replies, serve, streams

KEY = "sk-secret-0123456789abcdef"
T = TypeVar("T")


# a busy machine must not turn another failure into one of time
ROOMY = CallLimits(total=20.0, max_bytes=20_000)


class Score(BaseModel):
    score: int


def question(**more: object) -> Request:
    return Request("m", (Message(content="hi"),), **more)  # pyright: ignore[reportArgumentType]


def with_server(
    *handlers: Handler,
    use: Callable[[OpenAIClient, Server], Awaitable[T]],
    limits: CallLimits | None = None,
) -> T:
    """Return the result of `use` for a client and its server.

    It has half a minute, so that a hang fails the test and a busy machine does not.
    """

    async def main() -> T:
        async with asyncio.timeout(30), serve(*handlers) as server:
            client = OpenAIClient(server.url, KEY, limits=limits)
            try:
                return await use(client, server)
            finally:
                await client.aclose()

    return asyncio.run(main())


def ask(
    *handlers: Handler,
    request: Request | None = None,
    streamed: bool = False,
    limits: CallLimits | None = None,
) -> Response:
    async def use(client: OpenAIClient, server: Server) -> Response:
        return await client.complete(request or question(), [].append if streamed else None)

    return with_server(*handlers, use=use, limits=limits)


def expect_failure(
    *handlers: Handler,
    request: Request | None = None,
    streamed: bool = False,
    limits: CallLimits = ROOMY,
) -> ModelError:
    with pytest.raises(ModelError) as caught:
        ask(*handlers, request=request, streamed=streamed, limits=limits)
    assert_key_hidden(caught.value)
    return caught.value


def assert_key_hidden(error: BaseException) -> None:
    """Check that an error does not show the key and has no cause or context that could hold it."""
    shown = "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))
    assert KEY not in shown
    assert error.__cause__ is None
    assert error.__context__ is None


def send(request: Request, *, streamed: bool = False) -> Server:
    async def use(client: OpenAIClient, server: Server) -> Server:
        await client.complete(request, [].append if streamed else None)
        return server

    return with_server(streams(pieces_of("x")) if streamed else replies(completion("x")), use=use)


TOOL = ToolSpec(
    name="water", description="how deep", parameters={"type": "object", "properties": {}}
)


def call(
    name: object = "water", arguments: object = '{"x": 1}', **more: object
) -> dict[str, object]:
    return {
        "id": "c1",
        "type": "function",
        "function": {"name": name, "arguments": arguments},
        **more,
    }

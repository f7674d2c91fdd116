"""Server-sent events: a stream that ends with its source, its client, or its server.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any, Final

from pydantic import TypeAdapter
from starlette.types import Receive, Scope, Send

from graphorch.server.context import ServerContext
from graphorch.server.endpoint import StreamEvent
from graphorch.server.problems import describe_error

MEDIA_TYPE: Final = "text/event-stream"
_HEADERS: Final = [
    (b"content-type", MEDIA_TYPE.encode()),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would hold events back
]
_HEARTBEAT: Final = b": alive\n\n"
_ANY: Final = TypeAdapter[Any](Any)


class EventStream:
    """The response that sends events as they come, as an application of ASGI.

    Between events it sends a comment now and then, so that a client that has gone is noticed. It
    takes a place among the streams of the server before it begins.
    """

    def __init__(self, context: ServerContext, events: AsyncIterator[StreamEvent]) -> None:
        self._context = context
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream. Raises `Problem` if the server has no place for it."""
        with self._context.streams.hold():
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            sending = asyncio.ensure_future(self._send_all(send))
            ends = [
                asyncio.ensure_future(self._context.ending.wait()),
                asyncio.ensure_future(_wait_until_left(receive)),
            ]
            try:
                await asyncio.wait([sending, *ends], return_when=asyncio.FIRST_COMPLETED)
            finally:
                await _cancel_all([sending, *ends])
            _raise_error_of(sending)
            await send({"type": "http.response.body", "body": b""})

    async def _send_all(self, send: Send) -> None:
        """Send event after event; an error of their source is the last of them."""
        try:
            async with aclosing(self._add_heartbeats()) as events:
                async for event in events:
                    body = _HEARTBEAT if event is None else encode_event(event)
                    await send({"type": "http.response.body", "body": body, "more_body": True})
        except ConnectionError:
            raise
        except Exception as error:  # what a handler raises, now that the status is sent
            problem = StreamEvent(json.loads(describe_error(error).encode()), "problem")
            body = encode_event(problem)
            await send({"type": "http.response.body", "body": body, "more_body": True})

    async def _add_heartbeats(self) -> AsyncGenerator[StreamEvent | None]:
        """Yield the events, and None whenever none came for a while."""
        seconds = self._context.settings.limits.heartbeat_seconds
        following = asyncio.ensure_future(anext(self._events, None))
        try:
            while True:
                done, _ = await asyncio.wait([following], timeout=seconds)
                if not done:
                    yield None
                    continue
                event = following.result()
                if event is None:
                    return
                yield event
                following = asyncio.ensure_future(anext(self._events, None))
        finally:
            await _cancel_all([following])
            close = getattr(self._events, "aclose", None)
            if close is not None:
                await close()


def encode_event(event: StreamEvent) -> bytes:
    """Return an event as it goes over the wire."""
    lines = [] if event.id is None else [b"id: %d" % event.id]
    if event.event:
        lines.append(b"event: " + event.event.encode())
    data = _ANY.dump_json(event.data)  # on a single line
    return b"\n".join([*lines, b"data: " + data]) + b"\n\n"


async def _wait_until_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _cancel_all(tasks: Sequence[asyncio.Future[Any]]) -> None:
    """Cancel tasks and wait for them; an error of one that has ended already is kept in it."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


def _raise_error_of(task: asyncio.Future[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        raise error

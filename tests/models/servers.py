"""A scripted HTTP server on 127.0.0.1: well-behaved chat endpoints and many kinds of broken ones.

A *handler* answers one request; `serve` runs a handler for each request, in the test's event loop.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

USAGE = {"prompt_tokens": 7, "completion_tokens": 3}


@dataclass(slots=True)
class Asked:
    """A request as it came over the wire."""

    path: str
    headers: Mapping[str, str]
    body: Any
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def until_closed(self) -> None:
        """Send nothing more and wait until the client closes the connection."""
        await self.reader.read()

    def close(self) -> None:
        self.writer.close()


Handler: TypeAlias = Callable[[Asked], Awaitable[None]]


@dataclass(slots=True)
class Server:
    """A running server, with its address, its requests and its open connections."""

    url: str
    asked: list[Asked] = field(default_factory=list[Asked])
    open_connections: int = 0
    was_asked: asyncio.Event = field(default_factory=asyncio.Event)
    all_closed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def bodies(self) -> list[Any]:
        return [asked.body for asked in self.asked]


@asynccontextmanager
async def serve(*handlers: Handler, port: int = 0) -> AsyncGenerator[Server]:
    """Run a server whose n-th request is answered by the n-th handler.

    The last handler answers all later requests. `port` 0 means any free port.
    """
    server = Server("")

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.open_connections += 1
        server.all_closed.clear()
        try:
            while (asked := await _read(reader, writer)) is not None and not writer.is_closing():
                server.asked.append(asked)
                server.was_asked.set()
                await handlers[min(len(server.asked), len(handlers)) - 1](asked)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            server.open_connections -= 1
            if not server.open_connections:
                server.all_closed.set()

    listening = await asyncio.start_server(connected, "127.0.0.1", port)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1"
    try:
        yield server
    finally:
        listening.close()
        for item in server.asked:
            item.close()
        async with asyncio.timeout(5):
            if server.open_connections:
                await server.all_closed.wait()


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Asked | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    except asyncio.IncompleteReadError:
        return None
    headers = {
        name.lower(): value.strip()
        for name, _, value in (line.partition(":") for line in head[1:] if line)
    }
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Asked(head[0].split(" ")[1], headers, json.loads(body) if body else None, reader, writer)


# ---- bodies ------------------------------------------------------------------------------------


def completion(
    text: object = "hello", finish_reason: object = "stop", **more: object
) -> dict[str, Any]:
    """Build a whole answer as in OpenAI's reference; `more` goes into the message."""
    message = {"role": "assistant", "content": text, **more}
    return {
        "id": "c1",
        "object": "chat.completion",
        "created": 1,
        "model": "m-1",
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
        "usage": dict(USAGE),
    }


def chunk(text: object = None, finish_reason: object = None, **more: object) -> dict[str, Any]:
    """Build an event of a stream; `more` goes into the delta."""
    delta = {**({} if text is None else {"content": text}), **more}
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return {
        "id": "c1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m-1",
        "choices": [choice],
    }


def event(data: object) -> bytes:
    return f"data: {data if isinstance(data, str) else json.dumps(data)}\n\n".encode()


def pieces_of(*texts: str, finish_reason: str | None = "stop") -> list[bytes]:
    """Build the events of a complete stream, with an event of its own for the usage."""
    last = {**chunk(), "choices": [], "usage": dict(USAGE)}
    chunks = [
        chunk(role="assistant"),
        *(chunk(text) for text in texts),
        chunk(None, finish_reason),
        last,
    ]
    return [*(event(item) for item in chunks), event("[DONE]")]


# ---- handlers ----------------------------------------------------------------------------------


def replies(
    body: object,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    kind: str = "application/json",
    length: int | None = None,
) -> Handler:
    """Send an HTTP response; with a false `length`, close the connection after it."""
    if isinstance(body, bytes):
        content = body
    else:
        content = (body if isinstance(body, str) else json.dumps(body)).encode()

    async def handle(asked: Asked) -> None:
        all_headers = {
            "content-type": kind,
            "content-length": str(len(content) if length is None else length),
            **(headers or {}),
        }
        await asked.send(_head(status, all_headers) + content)
        if length is not None:
            asked.close()

    return handle


def streams(
    events: Sequence[bytes], *, then: str = "end", kind: str = "text/event-stream"
) -> Handler:
    """Send server-sent events, each in its own write.

    `then` the body ends (`end`), the connection breaks (`cut`), or nothing more comes (`stall`).
    """

    async def handle(asked: Asked) -> None:
        await asked.send(_head(200, {"content-type": kind, "transfer-encoding": "chunked"}))
        for entry in events:
            await asked.send(b"%x\r\n%s\r\n" % (len(entry), entry))
        if then == "end":
            await asked.send(b"0\r\n\r\n")
        elif then == "cut":
            asked.close()
        else:
            await asked.until_closed()

    return handle


def drips(piece: bytes, *, before: Sequence[bytes] = ()) -> Handler:
    """Stream a piece over and over, as fast as it is read, until the client leaves."""

    async def handle(asked: Asked) -> None:
        await asked.send(
            _head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"})
        )
        for entry in before:
            await asked.send(b"%x\r\n%s\r\n" % (len(entry), entry))
        while not asked.reader.at_eof():
            await asked.send(b"%x\r\n%s\r\n" % (len(piece), piece))
            await asyncio.sleep(0)

    return handle


async def never_answers(asked: Asked) -> None:
    await asked.until_closed()


async def hangs_up(asked: Asked) -> None:
    asked.close()


async def speaks_no_http(asked: Asked) -> None:
    await asked.send(b"+OK POP3 server ready\r\n\r\n")
    asked.close()


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} Status\r\n{lines}\r\n".encode()

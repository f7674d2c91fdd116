"""A real server on a socket: raw bytes, slow clients, many of them, and its end."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from graphorch.server.context import ServerContext
from graphorch.server.dispatch import serve_path
from graphorch.server.endpoint import Call, Endpoint, NoQuery, StreamEvent
from graphorch.server.gate.gate import Gate
from graphorch.server.settings import ServerLimits
from tests.server.serving import TOKEN, Running, running

HEAD = b"GET /api/about HTTP/1.1\r\n"
AUTHORIZED = b"Authorization: Bearer " + TOKEN.encode() + b"\r\n"
SENT_AS_THEY_ARE = {
    "two hosts": (HEAD + b"Host: HERE\r\nHost: evil.example\r\n" + AUTHORIZED, 400),
    "no host": (HEAD + AUTHORIZED, 400),
    "HTTP/1.0 without host": (b"GET /api/about HTTP/1.0\r\n" + AUTHORIZED, 505),
    "HTTP/1.0": (b"GET /api/about HTTP/1.0\r\nHost: HERE\r\n" + AUTHORIZED, 505),
    "absolute form": (
        b"GET http://HERE/api/about HTTP/1.1\r\nHost: HERE\r\n" + AUTHORIZED,
        404,
    ),
    "absolute form of another host": (
        b"GET http://evil.example/api/about HTTP/1.1\r\nHost: HERE\r\n" + AUTHORIZED,
        404,
    ),
    "encoded slash": (b"GET /api%2Fabout HTTP/1.1\r\nHost: HERE\r\n" + AUTHORIZED, 404),
    "dots": (b"GET /x/../api/about HTTP/1.1\r\nHost: HERE\r\n" + AUTHORIZED, 404),
    "fragment": (b"GET /api/about#x HTTP/1.1\r\nHost: HERE\r\n" + AUTHORIZED, 404),
    "space before the colon": (HEAD + b"Host : HERE\r\n" + AUTHORIZED, 400),
    "folded header": (HEAD + b"Host: HERE\r\n evil.example\r\n" + AUTHORIZED, 421),
    "length and chunks": (
        b"POST /api/about HTTP/1.1\r\nHost: HERE\r\nContent-Length: 4\r\n"
        b"Transfer-Encoding: chunked\r\n" + AUTHORIZED,
        400,
    ),
    "two lengths": (
        b"POST /api/about HTTP/1.1\r\nHost: HERE\r\nContent-Length: 4\r\n"
        b"Content-Length: 5\r\n" + AUTHORIZED,
        400,
    ),
    "negative length": (
        b"POST /api/about HTTP/1.1\r\nHost: HERE\r\nContent-Length: -1\r\n" + AUTHORIZED,
        400,
    ),
    "huge length": (
        b"POST /api/about HTTP/1.1\r\nHost: HERE\r\nContent-Type: application/json\r\n"
        b"Content-Length: 99999999\r\n" + AUTHORIZED,
        413,
    ),
    "websocket": (
        HEAD + b"Host: HERE\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n",
        401,
    ),
    "bare line feeds": (b"GET /api/about HTTP/1.1\nHost: evil.example\n" + AUTHORIZED, 421),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 40, 400),
}


def status_of(response: bytes) -> int:
    return int(response.split(b" ", 2)[1])


def test_raw_tricks_are_refused(tmp_path: Path) -> None:
    """Requests that no browser sends are refused as well, and nothing of the server is shown."""

    async def main() -> None:
        async with running(tmp_path) as server:
            here = f"127.0.0.1:{server.port}".encode()
            for name, (request, status) in SENT_AS_THEY_ARE.items():
                response = await server.send(request.replace(b"HERE", here) + b"\r\n")
                assert status_of(response) == status, (name, response)
                assert b"runs.sqlite" not in response, name
                assert b"application/problem+json" in response, name
                assert b"content-security-policy: default-src 'none'" in response, name
            good = await server.send(server.write_request("GET", "/api/about"))
            assert status_of(good) == 200
            assert b"runs.sqlite" in good

    asyncio.run(main())


def test_refusal_reaches_client_that_still_sends(tmp_path: Path) -> None:
    """A client that sends its body after the head reads why it is refused, each time."""

    async def main() -> None:
        async with running(tmp_path) as server:
            body = b'{"a": "%s"}' % (b"x" * 10_000)
            request = server.write_request("POST", "/api/about", body, authorization=None)
            head, _, rest = request.partition(b"\r\n\r\n")
            for _ in range(20):
                reader, writer = await server.connect()
                writer.write(head + b"\r\n\r\n")
                await asyncio.sleep(0.005)
                writer.write(rest)
                assert status_of(await reader.read()) == 401
                writer.close()

    asyncio.run(main())


def test_second_request_passes_gate_too(tmp_path: Path) -> None:
    """A connection that was let in once is not let in for good."""

    async def main() -> None:
        async with running(tmp_path) as server:
            good = server.write_request("GET", "/api/about", connection="keep-alive")
            bad = server.write_request("GET", "/api/about", authorization=None)
            response = await server.send(good + bad)
            assert re.findall(rb"HTTP/1.1 (\d+)", response) == [b"200", b"401"]

    asyncio.run(main())


def test_slow_clients_are_cut_off(tmp_path: Path) -> None:
    """A client that sends half a request, or nothing, holds neither a place nor a connection."""
    limits = ServerLimits(head_seconds=0.3, body_seconds=0.3)

    async def main() -> None:
        async with running(tmp_path, limits=limits) as server:
            halves = [
                b"",
                HEAD,
                HEAD + b"Host: 127",
                server.write_request("POST", "/api/about", b"x" * 10)[:-5],
            ]
            responses = await asyncio.gather(*[server.send(half) for half in halves])
            assert responses[:3] == [b"", b"", b""]
            assert status_of(responses[3]) == 408

    asyncio.run(main())


async def drip(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Send a little now and then, for five seconds at most."""
    for _ in range(100):
        writer.write(data)
        await writer.drain()
        await asyncio.sleep(0.05)


async def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait until something is so, for eight seconds at most."""
    for _ in range(400):
        if is_so():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it never was")


def test_drip_of_headers_is_cut_off(tmp_path: Path) -> None:
    """A client that sends a header now and then does not stay for ever."""

    async def main() -> None:
        async with running(tmp_path, limits=ServerLimits(head_seconds=0.3)) as server:
            _, writer = await server.connect()
            writer.write(HEAD)
            with pytest.raises(ConnectionError):
                await drip(writer, b"X: y\r\n")
            writer.close()

    asyncio.run(main())


def test_client_that_does_not_read_is_cut_off(tmp_path: Path) -> None:
    """A response that nobody reads does not keep its place."""

    async def large(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(400):
            await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    def build(context: ServerContext) -> ASGIApp:
        return Gate(large, context.settings, frozenset(["/"]))

    async def main() -> None:
        limits = ServerLimits(send_seconds=0.2, head_seconds=0.2)
        async with running(tmp_path, limits=limits, build=build) as server:
            _, writer = await server.connect()
            writer.write(server.write_request("GET", "/"))
            connections = server.server.server_state.connections
            await wait_until(lambda: bool(connections))
            await wait_until(lambda: not connections)
            writer.close()

    asyncio.run(main())


# ---- streams -------------------------------------------------------------------------------------
def build_ticking(context: ServerContext) -> ASGIApp:
    """Return an application with a stream that sends a number and then waits."""

    async def tick(call: Call[NoQuery, None]) -> AsyncIterator[StreamEvent]:
        async def count() -> AsyncIterator[StreamEvent]:
            yield StreamEvent({"text": "a\nb"}, "ticked", 7)
            await asyncio.get_running_loop().create_future()

        return count()

    endpoint = Endpoint("GET", "/api/ticks", tick, dict, streams=True)
    router = Router([Route("/api/ticks", _Asgi(serve_path(context, [endpoint])))])
    return Gate(router, context.settings, frozenset())


class _Asgi:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


async def open_stream(server: Running) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a stream and read its first event."""
    reader, writer = await server.connect()
    writer.write(server.write_request("GET", "/api/ticks", connection="keep-alive"))
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"200 OK" in head
    assert b"text/event-stream" in head
    event = await reader.readuntil(b"\n\n\r\n")
    assert event.endswith(b'id: 7\nevent: ticked\ndata: {"text":"a\\nb"}\n\n\r\n')
    return reader, writer


def test_server_ends_with_open_streams(tmp_path: Path) -> None:
    """With five streams open the server ends within a second, and each stream ends properly."""

    async def main() -> None:
        async with running(tmp_path, build=build_ticking) as server:
            streams = [await open_stream(server) for _ in range(5)]
            begun = time.monotonic()
            server.server.end()
            for reader, writer in streams:
                assert await reader.read() == b"0\r\n\r\n"
                writer.close()
        assert time.monotonic() - begun < 1.0

    asyncio.run(main())


def test_streams_are_limited(tmp_path: Path) -> None:
    """One stream more than the limit is refused with when to come again; a left one makes room."""

    async def main() -> None:
        async with running(tmp_path, build=build_ticking, limits=ServerLimits(streams=2)) as server:
            streams = [await open_stream(server) for _ in range(2)]
            request = server.write_request("GET", "/api/ticks")
            refused = await server.send(request)
            assert status_of(refused) == 429
            assert b"retry-after: 5\r\n" in refused
            streams[0][1].close()
            await wait_until(lambda: server.context.streams.taken < 2)
            streams.append(await open_stream(server))
            for _, writer in streams:
                writer.close()

    asyncio.run(main())


def test_silent_stream_beats(tmp_path: Path) -> None:
    """A stream without events sends comments, which keep proxies from closing it."""

    async def main() -> None:
        limits = ServerLimits(heartbeat_seconds=0.05)
        async with running(tmp_path, build=build_ticking, limits=limits) as server:
            reader, writer = await open_stream(server)
            for _ in range(3):
                assert b": alive\n\n" in await reader.readuntil(b": alive\n\n\r\n")
            writer.close()

    asyncio.run(main())


def test_requests_are_limited(tmp_path: Path) -> None:
    """More requests at once than the limit are refused with when to come again."""

    async def main() -> None:
        async with running(
            tmp_path, build=build_ticking, limits=ServerLimits(requests=2)
        ) as server:
            streams = [await open_stream(server) for _ in range(2)]
            refused = await server.send(server.write_request("GET", "/api/ticks"))
            assert status_of(refused) == 503
            assert b"retry-after: 1\r\n" in refused
            for _, writer in streams:
                writer.close()

    asyncio.run(main())

"""Requests at random on a socket: each is answered or its connection closed, and none gets in."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from random import Random

import pytest

from tests.server.serving import TOKEN, Running, running
from tests.trace.flows import shop

_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
_METHODS = (b"GET", b"POST", b"HEAD", b"DELETE", b"OPTIONS", b"TRACE", b"\x00", b"G E T", b"")
_PATHS = (
    b"/",
    b"/api/about",
    b"/api/runs/x",
    b"/api/flows/order/runs",
    b"/mcp",
    b"/healthz",
    b"//",
    b"/%2e%2e/",
    b"*",
    b"http://evil.example/",
    b"/api/runs?limit=x&limit=y",
    b"/\xff",
    b"",
)
_VERSIONS = (b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2", b"HTCPCP/1.0", b"")
_HEADERS = (
    b"Host: HERE",
    b"Host: HERE",
    b"Host: evil.example",
    b"Authorization: Bearer TOKEX",
    b"Authorization: Bearer",
    b"Content-Type: application/json",
    b"Content-Type: text/plain",
    b"Content-Length: 2",
    b"Content-Length: -1",
    b"Content-Length: 99999999999999999999",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Expect: 100-continue",
    b"Connection: keep-alive, upgrade",
    b"Upgrade: h2c",
    b"Origin: null",
    b"X-HTTP-Method-Override: GET",
    b": nothing",
    b"No colon",
    b"X: \xff\xfe",
    b"Cookie: token=TOKEX",
)
_BODIES = (b"", b"{}", b"[[[", b"2\r\n{}\r\n0\r\n\r\n", b"zz\r\n", b"\x00\xff" * 20)
_ENDS = (b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r")


def make_request(random: Random, here: bytes) -> bytes:
    """Return a request of random parts, sometimes with bytes changed."""
    end = random.choice(_ENDS)
    line = b" ".join([random.choice(_METHODS), random.choice(_PATHS), random.choice(_VERSIONS)])
    headers = random.choices(_HEADERS, k=random.randrange(7))
    request = end.join([line, *headers, b"", random.choice(_BODIES)])
    request = request.replace(b"HERE", here).replace(b"TOKEX", TOKEN.encode() + b"x")
    changed = bytearray(request)
    for _ in range(random.choice((0, 0, 1, 3))):
        if changed:
            changed[random.randrange(len(changed))] = random.randrange(256)
    return bytes(changed)


async def send(server: Running, request: bytes) -> bytes:
    """Send a request and close our side; return what comes back."""
    reader, writer = await server.connect()
    try:
        writer.write(request)
        writer.write_eof()
        async with asyncio.timeout(1.0):
            return await reader.read(100_000)
    except (ConnectionError, TimeoutError):
        return b""
    finally:
        writer.close()


async def check_requests(server: Running, seed: int, count: int) -> None:
    random = Random(seed)
    here = f"127.0.0.1:{server.port}".encode()
    for number in range(count):
        request = make_request(random, here)
        response = await send(server, request)
        for status in _STATUS.findall(response):
            # 200 only for what is public, and never a failure of the server itself
            assert (
                status in (b"100", b"200", b"405") or 400 <= int(status) < 500 or status == b"505"
            ), (seed, number, request, response)
        assert b"runs.sqlite" not in response
        assert b"Traceback" not in response


def fuzz(folder: Path, seed: int, count: int) -> None:
    """Send random requests to a server, which is in order afterwards."""

    async def main() -> None:
        async with running(folder, shop()) as server:
            await asyncio.gather(*[check_requests(server, seed + part, count) for part in range(8)])
            good = await server.send(server.write_request("GET", "/api/about"))
            assert b"200 OK" in good
            assert (await server.context.store.list_runs()).runs == ()

    asyncio.run(main())


def test_random_requests_get_nothing(tmp_path: Path) -> None:
    """No request without the token gets in or breaks anything, whatever its bytes are."""
    fuzz(tmp_path, seed=1, count=25)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1_000, 2_000, 3_000])
def test_many_random_requests_get_nothing(tmp_path: Path, seed: int) -> None:
    """The same with thousands of requests."""
    fuzz(tmp_path, seed=seed, count=400)

"""Messages over streamable HTTP, with bounded answers and failures that say what they are.

Rules of this file:
1. A request that fails on the way fails alone; the session and other calls go on.
2. Whether a request can have reached the server is kept apart from why it failed.
3. A JSON answer is read up to the limit and no further.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, cast

import httpx2
from mcp.client.streamable_http import streamable_http_client

from graphorch._version import __version__
from graphorch.agents.mcp.connections.environment import build_headers
from graphorch.agents.mcp.connections.wire import BROKEN, REFUSED, TOO_LARGE, UNREACHED, UNREADABLE
from graphorch.agents.mcp.declaration import HttpAddress, ServerDeclaration

if TYPE_CHECKING:
    from mcp.client._transport import TransportStreams

_CONNECT_SECONDS: Final = 30.0
_SESSION_HEADER: Final = "mcp-session-id"
_OTHER: Final = "it answers another request"


class _BoundedClient(httpx2.AsyncClient):
    """An HTTP client that gives failures back as answers to the message that was sent."""

    longest = 0

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        """Return the response; of a message the failure, as the error that answers it."""
        if request.method != "POST":
            return await super().send(request, **options)
        try:
            response = await super().send(request, **options)
            return await self._bound(request, response)
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
            return _answer(request, UNREACHED, f"{type(error).__name__}: {error}")
        except (httpx2.TransportError, httpx2.DecodingError) as error:
            return _answer(request, BROKEN, f"{type(error).__name__}: {error}")

    async def _bound(self, request: httpx2.Request, response: httpx2.Response) -> httpx2.Response:
        """Return a response whose JSON body was read, up to the limit; a stream as it is."""
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        has_failed = response.status_code >= 400
        if response.is_redirect or not (has_failed or kind == "application/json"):
            return response
        body = bytearray()
        try:
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > self.longest:
                    what = f"more than {self.longest:,} bytes, which is all that is read"
                    return _answer(request, TOO_LARGE, what)
        finally:
            await response.aclose()
        return _check(request, response, bytes(body))


@asynccontextmanager
async def open_http(
    server: ServerDeclaration, address: HttpAddress
) -> AsyncGenerator[TransportStreams]:
    """Yield the streams of a server at an address.

    Raises `ServerUnavailable` if a variable with a secret is not set.
    """
    headers = build_headers(server, address, os.environ)
    headers["User-Agent"] = f"graphorch/{__version__}"
    # Calls have time limits of their own, which the caller of a call sets.
    timeout = httpx2.Timeout(_CONNECT_SECONDS, read=None)
    async with _BoundedClient(headers=headers, timeout=timeout) as client:
        client.longest = server.limits.bytes
        async with streamable_http_client(
            address.url, http_client=client, max_sse_event_size=server.limits.bytes
        ) as streams:
            yield streams


def _check(request: httpx2.Request, response: httpx2.Response, body: bytes) -> httpx2.Response:
    """Return a response with a body that answers the request, or with what is wrong with it."""
    status = response.status_code
    headers = {
        name: value
        for name, value in response.headers.items()
        if name in ("content-type", _SESSION_HEADER)
    }
    whole = httpx2.Response(status, headers=headers, content=body, request=request)
    number = _find_id(request)
    if number is None or (status == 404 and _SESSION_HEADER in request.headers):
        return whole  # a notification, or a session that is lost
    message = _parse(body)
    if isinstance(message, dict):
        # One without a number refuses the request before it was read.
        if isinstance(message.get("error"), dict) and message.get("id") in (None, number):
            return _reply(request, message["error"], status=max(status, 400))
        if status < 400 and isinstance(message.get("result"), dict):
            is_other = message.get("id") != number
            return _answer(request, UNREADABLE, _OTHER) if is_other else whole
    if status >= 400:
        return _answer(request, REFUSED, f"{status} {response.reason_phrase}".strip())
    fault = message if isinstance(message, str) else "it is not a JSON-RPC response"
    return _answer(request, UNREADABLE, fault)


def _parse(body: bytes) -> dict[str, Any] | str | None:
    """Return the object in a body, what is wrong with it, or None for something else."""
    try:
        value: object = json.loads(body.decode())
    except UnicodeDecodeError as error:
        return f"it is not UTF-8 text (byte {error.start})"
    except (ValueError, RecursionError):
        return "it is not JSON"
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _answer(request: httpx2.Request, code: int, reason: str) -> httpx2.Response:
    """Return an error of ours as the answer to a message that got no usable one."""
    return _reply(request, {"code": code, "message": reason}, status=502)


def _reply(request: httpx2.Request, error: Any, *, status: int) -> httpx2.Response:
    body = json.dumps({"jsonrpc": "2.0", "id": _find_id(request) or 0, "error": error})
    headers = {"content-type": "application/json"}
    return httpx2.Response(status, headers=headers, content=body.encode(), request=request)


def _find_id(request: httpx2.Request) -> object:
    message: Any = json.loads(request.content)
    return message.get("id")

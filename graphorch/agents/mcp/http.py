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
from typing import TYPE_CHECKING, Any, Final

import httpx2
from mcp.client.streamable_http import streamable_http_client

from graphorch._version import __version__
from graphorch.agents.mcp.environment import build_headers
from graphorch.agents.mcp.server import HttpAddress, McpServer
from graphorch.agents.mcp.wire import BROKEN, REFUSED, TOO_LARGE, UNREACHED

if TYPE_CHECKING:
    from mcp.client._transport import TransportStreams

_CONNECT_SECONDS: Final = 30.0
_SESSION_HEADER: Final = "mcp-session-id"


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
        is_lost_session = response.status_code == 404 and _SESSION_HEADER in request.headers
        if has_failed and not is_lost_session and not _holds_error(body):
            reason = f"{response.status_code} {response.reason_phrase}".strip()
            return _answer(request, REFUSED, reason, status=response.status_code)
        headers = {
            name: value
            for name, value in response.headers.items()
            if name in ("content-type", _SESSION_HEADER)
        }
        return httpx2.Response(
            response.status_code, headers=headers, content=bytes(body), request=request
        )


@asynccontextmanager
async def open_http(server: McpServer, address: HttpAddress) -> AsyncGenerator[TransportStreams]:
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


def _answer(
    request: httpx2.Request, code: int, reason: str, *, status: int = 502
) -> httpx2.Response:
    """Return the error that answers a message which got no usable answer."""
    error = {"code": code, "message": reason}
    body = json.dumps({"jsonrpc": "2.0", "id": _find_id(request), "error": error})
    headers = {"content-type": "application/json"}
    return httpx2.Response(status, headers=headers, content=body.encode(), request=request)


def _find_id(request: httpx2.Request) -> object:
    message: Any = json.loads(request.content)
    return message.get("id", 0)


def _holds_error(body: bytes | bytearray) -> bool:
    """Return whether the body of a failed request is an error in the protocol's own form."""
    try:
        message: Any = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(message, dict) and "error" in message and "jsonrpc" in message

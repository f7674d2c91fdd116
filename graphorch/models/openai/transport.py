"""The HTTP client under the openai package: what goes out, where to, and how much may come back.

Imported at the first call only, since it loads the openai package.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import openai

from graphorch.models.budgets.charge import Departure
from graphorch.models.openai.departures import leaving
from graphorch.models.openai.errors import Endpoint, Malformed

# Headers that a request may carry. The openai package adds others from environment variables
# (organisation, project, and any in OPENAI_CUSTOM_HEADERS) and a description of this machine; none
# of them is the endpoint's business.
_HEADERS = frozenset(
    {
        "host",
        "accept",
        "connection",
        "user-agent",
        "content-type",
        "content-length",
        "transfer-encoding",
        "x-stainless-raw-response",
        "traceparent",
        "tracestate",
    }
)


def open_transport(
    endpoint: Endpoint, *, connect: float, max_bytes: int, own_headers: str = ""
) -> httpx2.AsyncClient:
    """Return a client without redirects and proxies that sends the key to one endpoint only.

    `own_headers` is the beginning of the names of headers that the endpoint's gateway takes beside
    the usual ones; "" for none. `connect` is the limit on connecting and on each write, in seconds.
    Reading has no limit here: the caller limits each of its waits.
    """

    async def outgoing(request: httpx2.Request) -> None:
        for name in list(request.headers):
            is_own = bool(own_headers) and name.lower().startswith(own_headers)
            if name.lower() not in _HEADERS and not is_own:
                del request.headers[name]
        # A compressed answer could unfold to a thousand times its size, and a bound on bytes would
        # bound nothing.
        request.headers["accept-encoding"] = "identity"
        key = endpoint.key.get_secret_value()
        if key:
            request.headers["authorization"] = f"Bearer {key}"
        departure = leaving.get()
        if departure is not None:
            assert isinstance(request.stream, httpx2.AsyncByteStream)
            request.stream = _Watched(request.stream, departure)

    async def incoming(response: httpx2.Response) -> None:
        encoding = response.headers.get("content-encoding", "identity")
        if encoding.lower() != "identity":
            raise Malformed(
                f"its answer is compressed ({encoding}) although that was not asked for, "
                "so its size cannot be bounded"
            )
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _Bounded(response.stream, max_bytes)

    return openai.DefaultAsyncHttpxClient(
        follow_redirects=False,
        trust_env=False,
        timeout=openai.Timeout(None, connect=connect, write=connect),
        event_hooks={"request": [outgoing], "response": [incoming]},
    )


class _Watched(httpx2.AsyncByteStream):
    """The body of a request, whose prompt leaves once a connection stands and not before."""

    def __init__(self, inner: httpx2.AsyncByteStream, departure: Departure) -> None:
        self._inner = inner
        self._departure = departure

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._departure.confirm is not None:
            await self._departure.confirm()
        self._departure.has_left = True
        async for part in self._inner:
            yield part

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Bounded(httpx2.AsyncByteStream):
    """The body of an answer, up to a number of bytes."""

    def __init__(self, inner: httpx2.AsyncByteStream, limit: int) -> None:
        self._inner = inner
        self._left = limit
        self._limit = limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._inner:
            self._left -= len(part)
            if self._left < 0:
                raise Malformed(f"its answer is longer than {self._limit:,} bytes")
            yield part

    async def aclose(self) -> None:
        await self._inner.aclose()

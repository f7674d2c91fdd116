"""The gate: the outermost layer of the application, which every request passes.

Rules of this file:
1. The list of what is public is exact, and it is only read; whatever else is asked for needs the
   token, also what does not exist. There is no list of dangerous methods.
2. A decision about a path uses `scope["path"]`, which the server took from the request line. The
   raw path has to be the same text: there is nothing to decode in ours.
3. The gate reads no cookie and sends none, and there is no header that lets another origin in.
4. A refused request changes nothing, and its connection is closed. What has come of its body is
   thrown away first: a connection that is closed over unread bytes loses the response as well.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from graphorch.server.gate.bodies import (
    check_json,
    discard_body,
    read_body,
    replay_body,
    too_long,
)
from graphorch.server.gate.headers import add_headers
from graphorch.server.gate.limits import Places
from graphorch.server.gate.token import is_token
from graphorch.server.problems import MEDIA_TYPE, Problem
from graphorch.server.settings import ServerSettings

_PATH: Final = re.compile(r"/|(?:/[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}){1,8}")
_BEARER: Final = re.compile(rb"bearer +([\x21-\x7e]+) *", re.IGNORECASE)
_JSON: Final = re.compile(rb"application/json(?: *; *charset=(\"?)utf-8\1)? *", re.IGNORECASE)
_OVERRIDES: Final = (b"x-http-method", b"x-http-method-override", b"x-method-override")
_OWN_SITES: Final = (b"same-origin", b"none")  # of Sec-Fetch-Site: our page, or the address bar
_READING: Final = ("GET", "HEAD")
_SINGLE: Final = (
    b"authorization",
    b"content-length",
    b"content-type",
    b"host",
    b"idempotency-key",
    b"last-event-id",
    b"origin",
    b"sec-fetch-site",
    b"transfer-encoding",
)


class Gate:
    """An application that lets requests in to another one.

    `public` are the paths that need no token, each compared whole.
    """

    def __init__(self, app: ASGIApp, settings: ServerSettings, public: frozenset[str]) -> None:
        self._app = app
        self._settings = settings
        self._public = public
        self._requests = Places(settings.limits.requests, "requests", status=503, retry_seconds=1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or answer it with a problem."""
        if scope["type"] != "http":
            await _refuse_other(scope, receive, send)
            return
        send = add_headers(_limit_waiting(send, self._settings.limits.send_seconds))
        try:
            if (problem := self._find_problem(scope)) is not None:
                await discard_body(scope, receive, self._settings.limits)
                await _refuse(problem, scope, send)
                return
            with self._requests.hold():
                body = await self._take_body(_index_headers(scope), receive)
                await self._app(scope, replay_body(body, receive), send)
        except Problem as problem:
            await _refuse(problem, scope, send)
        except ConnectionError:
            return  # the client is gone, and nothing has begun

    def _find_problem(self, scope: Scope) -> Problem | None:
        """Return why a request is not let in, as far as its head says; None if it is."""
        try:
            _check_head(scope)
            headers = _index_headers(scope)
            self._check(scope, headers)
            self._check_body(headers)
        except Problem as problem:
            return problem
        return None

    def _check(self, scope: Scope, headers: Mapping[bytes, bytes]) -> None:
        """Raise `Problem` unless a request comes from our page or a program with the token."""
        self._check_host(headers)
        _check_path(scope)
        is_read = scope["method"] in _READING and not _has_body(headers)
        is_public = is_read and scope["path"] in self._public
        self._check_origin(scope, headers, is_public=is_public)
        if not is_public:
            self._check_token(headers)

    def _check_host(self, headers: Mapping[bytes, bytes]) -> None:
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if not host:
            raise Problem(400, "no-host", "The request has no Host header.")
        if host not in self._settings.hosts:
            # The page that sends it may read the answer, so it lists no name of this server.
            raise Problem(
                421,
                "foreign-host",
                f"This server is not {host[:200]!a}. Use the address that `graphorch serve` "
                "prints. If it is reached through a proxy, start it with --behind-proxy URL, and "
                "let the proxy pass on the Host header.",
            )

    def _check_origin(
        self, scope: Scope, headers: Mapping[bytes, bytes], *, is_public: bool
    ) -> None:
        """Raise `Problem` for a request that a page of another origin made the browser send.

        A link to the page itself may stand anywhere: following it shows the page and nothing else.
        """
        origin = headers.get(b"origin")
        if origin is not None and origin.decode("latin-1") not in self._settings.origins:
            raise Problem(
                403,
                "foreign-origin",
                f"The request comes from a page of {origin.decode('latin-1')[:200]!a}, and only "
                "the pages of this server may use it from a browser.",
            )
        site = headers.get(b"sec-fetch-site", b"none")
        opens_page = headers.get(b"sec-fetch-dest") == b"document"  # no frame, and no script
        follows_link = is_public and opens_page and headers.get(b"sec-fetch-mode") == b"navigate"
        if site not in _OWN_SITES and not follows_link:
            raise Problem(
                403,
                "foreign-origin",
                "The request comes from a page of another origin, and only the pages of this "
                "server may use it from a browser.",
            )

    def _check_token(self, headers: Mapping[bytes, bytes]) -> None:
        given = headers.get(b"authorization")
        match = None if given is None else _BEARER.fullmatch(given)
        # compared in any case: whether there is a token at all is no secret, what it is takes equal
        # time
        if match is None or not is_token(match[1], self._settings.token):
            problem = "no token" if given is None else "another token than this server's"
            raise Problem(
                401,
                "token",
                f"The request has {problem}. `graphorch serve` prints a link with the token after "
                "#token=; a program sends it in the header `Authorization: Bearer TOKEN`. It is a "
                "new one after each start, unless --token-file keeps it.",
                headers={"www-authenticate": "Bearer"},
            )

    def _check_body(self, headers: Mapping[bytes, bytes]) -> None:
        """Raise `Problem` for a body that is not sent as JSON, or is too long as it says itself."""
        if not _has_body(headers):
            return
        check_media_type(headers)
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > self._settings.limits.body_bytes:
            raise too_long(self._settings.limits)

    async def _take_body(self, headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
        """Return the body of a request. Raises `Problem` unless it is JSON, whole and in time."""
        if not _has_body(headers):
            return b""
        body = await read_body(receive, self._settings.limits)
        if body:
            check_json(body, self._settings.limits)
        return body


def _index_headers(scope: Scope) -> Mapping[bytes, bytes]:
    return dict(scope["headers"])


def _has_body(headers: Mapping[bytes, bytes]) -> bool:
    return headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers


def _check_head(scope: Scope) -> None:
    """Raise `Problem` for a head that would mean two things, or another version of HTTP."""
    if scope["http_version"] != "1.1":
        raise Problem(
            505,
            "http-version",
            f"The request is of HTTP/{scope['http_version']}, and this server speaks HTTP/1.1. In "
            "nginx, write `proxy_http_version 1.1;`.",
        )
    headers: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name in headers and name in _SINGLE:
            raise Problem(400, "two-headers", f"The header {name.decode('latin-1')} comes twice.")
        if name in _OVERRIDES:
            raise Problem(
                400,
                "method-override",
                f"The header {name.decode('latin-1')} names another method. Send that method.",
            )
        headers[name] = value
    if b"content-length" in headers and b"transfer-encoding" in headers:
        # A proxy that believed the other one would take the rest of the body for a request.
        raise Problem(400, "two-lengths", "The body has a length and comes in chunks. Choose one.")


def _check_path(scope: Scope) -> None:
    """Raise `Problem` unless a path is plain: an id never leads anywhere else."""
    path: str = scope["path"]
    if scope.get("root_path") or scope.get("raw_path", path.encode()) != path.encode():
        raise not_found()
    if len(path) > 2_000 or _PATH.fullmatch(path) is None:
        raise not_found()


def not_found() -> Problem:
    """Return the problem of a path at which there is nothing."""
    return Problem(
        404,
        "not-found",
        "There is nothing at this path. Paths are plain: letters, digits, '-', '_', '.' and single "
        "slashes, nothing encoded; GET /api/openapi.json lists them.",
    )


def check_media_type(headers: Mapping[bytes, bytes]) -> None:
    """Raise `Problem` unless the body of a request is JSON, as it is sent."""
    given = headers.get(b"content-type", b"")
    if _JSON.fullmatch(given) is None or b"content-encoding" in headers:
        raise Problem(
            415,
            "media-type",
            "Send the body as JSON, with the header `Content-Type: application/json`, and not "
            "compressed.",
        )


async def _refuse(problem: Problem, scope: Scope, send: Send) -> None:
    """Send a problem, and close the connection."""
    problem.headers["connection"] = "close"
    await send_problem(problem, scope, send)


async def send_problem(problem: Problem, scope: Scope, send: Send) -> None:
    """Send a problem as the response to a request."""
    body = problem.encode()
    headers = {
        "content-type": MEDIA_TYPE,
        "content-length": str(len(body)),
        **problem.headers,
    }
    await send(
        {
            "type": "http.response.start",
            "status": problem.status,
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }
    )
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def _limit_waiting(send: Send, seconds: float) -> Send:
    """Return a `send` that gives up on a client which does not read.

    It raises `ConnectionError`, as if the client had left.
    """

    async def send_in_time(message: Message) -> None:
        try:
            async with asyncio.timeout(seconds):
                await send(message)
        except TimeoutError:
            raise ConnectionError("The client does not read its response.") from None

    return send_in_time


async def _refuse_other(scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse a connection that is no request: there are no WebSockets here."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008})

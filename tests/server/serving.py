"""Servers for the tests: a real one on a socket of this machine, and its application without one.

Both are behind the real gate, over a real journal in a file.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Message

from graphorch.journal.address import JournalAddress, parse_address
from graphorch.runs.options import RunOptions
from graphorch.server.app import build_app
from graphorch.server.context import ServerContext, open_context
from graphorch.server.listening import Listener, Reachability, listen
from graphorch.server.served_flow import AnyFlow, ServedFlow
from graphorch.server.serving import Server
from graphorch.server.settings import ServerLimits, ServerSettings
from graphorch.server.tool_calls import open_tools

TOKEN = "t0ken-of-the-tests-which-is-long-enough"
HOST = "127.0.0.1:8460"
ORIGIN = "http://127.0.0.1:8460"
JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Answer:
    """A response."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""

    @property
    def value(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def problem(self) -> str:
        """Name of the problem that it is."""
        assert self.headers["content-type"] == "application/problem+json", self
        return self.value["type"].rpartition(":")[2]


def make_settings(
    *, hosts: frozenset[str] | None = None, origins: frozenset[str] | None = None, **options: Any
) -> ServerSettings:
    """Return settings of a server that may change things, unless they say otherwise."""
    return ServerSettings(
        hosts=hosts or frozenset([HOST, "localhost:8460", "[::1]:8460"]),
        origins=origins or frozenset([ORIGIN, "http://localhost:8460", "http://[::1]:8460"]),
        token=TOKEN,
        **{"is_read_only": False, **options},
    )


def serve_flows(*flows: AnyFlow) -> list[ServedFlow]:
    """Return flows as served ones."""
    return [ServedFlow(flow, f"{flow.name}.py:flow") for flow in flows]


def journal_in(folder: Path) -> JournalAddress:
    """Return the address of the journal in a folder."""
    return parse_address(str(folder / "runs.sqlite"))


@asynccontextmanager
async def opened(
    folder: Path,
    *flows: AnyFlow,
    settings: ServerSettings | None = None,
    options: RunOptions | None = None,
    database: str = "",
) -> AsyncGenerator[ServerContext]:
    """Open the context of a server over the journal of a folder, or in a database."""
    served = serve_flows(*flows)
    journal = parse_address(database) if database else journal_in(folder)
    async with open_context(settings or make_settings(), journal, served, options) as it:
        yield it


# ---- without a socket ----------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Client:
    """Asks an application as a server would; by default with the token and the right host."""

    app: ASGIApp

    async def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | Sequence[tuple[str, str]] | None = None,
        query: str = "",
        raw_path: bytes | None = None,
        http_version: str = "1.1",
    ) -> Answer:
        """Send a request; `headers` replace those of a good one if they are a sequence."""
        content = body if isinstance(body, bytes) else b"" if body is None else _dump(body)
        if headers is None or isinstance(headers, Mapping):
            given = list({**good_headers(method, content), **(headers or {})}.items())
        else:
            given = list(headers)
        scope = {
            "type": "http",
            "http_version": http_version,
            "method": method,
            "path": path,
            "raw_path": path.encode() if raw_path is None else raw_path,
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(name.lower().encode(), value.encode()) for name, value in given],
        }
        return await _call(self.app, scope, content)


def good_headers(method: str, content: bytes = b"") -> dict[str, str]:
    """Return the headers of a request that gets in."""
    headers = {"host": HOST, "authorization": f"Bearer {TOKEN}"}
    if method == "POST" or content:
        headers["content-type"] = JSON
    if content:
        headers["content-length"] = str(len(content))
    return headers


def _dump(body: Any) -> bytes:
    return json.dumps(body).encode()


async def _call(app: ASGIApp, scope: dict[str, Any], content: bytes) -> Answer:
    sent: list[Message] = []
    is_taken = False

    async def receive() -> Message:
        nonlocal is_taken
        if is_taken:
            await asyncio.get_running_loop().create_future()  # the client stays
        is_taken = True
        return {"type": "http.request", "body": content, "more_body": False}

    async def send(message: Message) -> None:
        sent.append(dict(message))

    await app(scope, receive, send)
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return Answer(sent[0]["status"], headers, body)


@asynccontextmanager
async def application(
    folder: Path,
    *flows: AnyFlow,
    settings: ServerSettings | None = None,
    options: RunOptions | None = None,
) -> AsyncGenerator[Client]:
    """Open a journal and yield a client of the whole application."""
    async with opened(folder, *flows, settings=settings, options=options) as context:
        yield Client(build_app(context))


# ---- on a socket ---------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Running:
    """A server on a socket."""

    server: Server
    context: ServerContext
    listener: Listener

    @property
    def port(self) -> int:
        """Port that it listens on."""
        return int(self.listener.socket.getsockname()[1])

    @property
    def url(self) -> str:
        """Address of its page, with a slash at the end."""
        return self.listener.url

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection to it."""
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def send(self, request: bytes, *, seconds: float = 5.0) -> bytes:
        """Send bytes, and return all that comes until the server closes the connection."""
        reader, writer = await self.connect()
        writer.write(request)
        try:
            async with asyncio.timeout(seconds):
                return await reader.read()
        finally:
            writer.close()

    def write_request(
        self, method: str, path: str, body: bytes = b"", **headers: str | None
    ) -> bytes:
        """Return the bytes of a good request; a header that is None is left out."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        given = {
            **good_headers(method, body),
            "host": f"127.0.0.1:{self.port}",
            "connection": "close",
            **named,
        }
        lines = [f"{name}: {value}" for name, value in given.items() if value is not None]
        head = "\r\n".join([f"{method} {path} HTTP/1.1", *lines])
        return head.encode() + b"\r\n\r\n" + body


@asynccontextmanager
async def running(
    folder: Path,
    *flows: AnyFlow,
    limits: ServerLimits | None = None,
    reach: Reachability | None = None,
    options: RunOptions | None = None,
    is_read_only: bool = False,
    build: Callable[[ServerContext], ASGIApp] | None = None,
) -> AsyncGenerator[Running]:
    """Start a server on a free port of this machine, and end it."""
    reach = reach or Reachability(port=0)
    listener = listen(reach)
    settings = make_settings(
        hosts=listener.hosts,
        origins=listener.origins,
        is_read_only=is_read_only,
        limits=limits or ServerLimits(),
    )
    async with (
        opened(folder, *flows, settings=settings, options=options) as context,
        open_tools(context) as tools,
    ):
        app = build_app(context, tools) if build is None else build(context)
        server = Server(context, app, reach)
        serving = asyncio.ensure_future(server.serve_until_signal(listener))
        await server.is_listening.wait()
        try:
            yield Running(server, context, listener)
        finally:
            server.end()
            await serving
            listener.socket.close()

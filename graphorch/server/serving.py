"""A server as it runs: uvicorn on a socket, until Ctrl-C.

Theory of operation. uvicorn ends only when every connection is closed, and a stream of events never
closes by itself. So the signal sets `context.ending`, for which every stream waits, and the server
ends within a second. Connections on which no whole request comes, and those whose client does not
read, are closed by a look at all of them each second: uvicorn has no time limit for either.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from types import FrameType
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp

from graphorch.errors import InputError
from graphorch.server.context import ServerContext, stop_runs
from graphorch.server.http_protocol import LONGEST_HEAD, HttpProtocol
from graphorch.server.listening import Listener, Reachability

_TICKS: Final = 10  # calls of `on_tick` in a second
_SECONDS_TO_END: Final = 1  # for requests under way, once the server is to end


class Server(uvicorn.Server):
    """A server whose end is announced to what waits in it."""

    def __init__(self, context: ServerContext, app: ASGIApp, reach: Reachability) -> None:
        """Load the certificate. Raises `InputError` if it cannot be used."""
        super().__init__(_build_config(context, app, reach))
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._idle = _IdleConnections(context.settings.limits.head_seconds)
        self.is_listening = asyncio.Event()

    async def serve_until_signal(self, listener: Listener) -> list[str]:
        """Serve until a signal, or `end`; return the runs that were stopped because of it."""
        stopping = asyncio.ensure_future(self._stop_runs_at_end())
        try:
            await self.serve(sockets=[listener.socket])
        finally:
            self.end()
            stopped = await stopping
        return stopped

    async def _stop_runs_at_end(self) -> list[str]:
        await self._context.ending.wait()
        return await stop_runs(self._context.runs)

    def end(self) -> None:
        """Let the server end: streams end, and requests have a second."""
        self.should_exit = True
        self._context.ending.set()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End at the first signal, and at once at the second one."""
        self.force_exit = self.should_exit
        self.should_exit = True
        self._loop.call_soon_threadsafe(self.end)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, and say so by `is_listening`."""
        await super().startup(sockets)
        self.is_listening.set()

    async def on_tick(self, counter: int) -> bool:
        """Look at the connections once a second; return whether the server is to end."""
        if counter % _TICKS == 0:
            self._idle.close_old(self.server_state.connections, time.monotonic())
        return await super().on_tick(counter)


def _build_config(context: ServerContext, app: ASGIApp, reach: Reachability) -> uvicorn.Config:
    """Return the settings of uvicorn. Raises `InputError` for a certificate."""
    config = uvicorn.Config(
        app,
        http=HttpProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",  # what a request did wrong is in its response
        access_log=False,
        proxy_headers=False,  # nothing depends on who asks
        server_header=False,
        limit_concurrency=context.settings.limits.connections,
        timeout_graceful_shutdown=_SECONDS_TO_END,
        h11_max_incomplete_event_size=LONGEST_HEAD,
        ssl_certfile=reach.certificate or None,
        ssl_keyfile=reach.key or None,
    )
    try:
        config.load()
    except (OSError, ssl.SSLError) as error:
        raise InputError(
            f"The certificate '{reach.certificate}' with the key '{reach.key}' cannot be used: "
            f"{error}. Both are files in the PEM format, and the key has no password."
        ) from None
    return config


class _IdleConnections:
    """Closes connections that hold a place without a whole request, or without reading.

    A connection is idle while none of its requests is being answered; the longest idle time begins
    when it was first seen so.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since: dict[Any, tuple[Any, float]] = {}

    def close_old(self, connections: Any, now: float) -> None:
        """Close what has been idle for too long; what does not close by itself is cut off."""
        idle: dict[Any, tuple[Any, float]] = {}
        for connection in list(connections):
            cycle = connection.cycle
            is_closing = connection.transport.is_closing()
            if cycle is not None and not cycle.response_complete and not is_closing:
                continue
            known, since = self._since.get(connection, (cycle, now))
            idle[connection] = (cycle, since if known is cycle else now)
            if now - idle[connection][1] > self._seconds:
                connection.transport.abort()
        self._since = idle

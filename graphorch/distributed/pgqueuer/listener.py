"""Waits for notifications of new jobs, on a connection of its own.

PgQueuer's own driver listens and sends its statements on one connection, and a job is then picked
up after up to a second.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable

import psycopg

from graphorch.distributed.errors import EngineError, NotificationsLost
from graphorch.distributed.pgqueuer.connection import Connection, Server
from graphorch.distributed.pgqueuer.statements import LISTEN, NOTIFY

_PAUSE = 0.25  # seconds until a server that is away is asked again
_PATIENCE = 2.0  # seconds in which a notification has to arrive
_LOST = (
    "Notifications of PostgreSQL do not arrive from '{name}', so a worker would not learn of new "
    "jobs. A pooler in transaction mode (pool_mode=transaction of PgBouncer) swallows them: give "
    "workers a URL that leads to the server itself, or to a pool in session mode."
)


class Listener:
    """Calls `hint` when there may be new jobs: after a notification, and after a pause without.

    It begins again by itself when its connection is lost.
    """

    def __init__(self, server: Server, hint: Callable[[], None]) -> None:
        self._server = server
        self._hint = hint
        self._is_listening = asyncio.Event()
        self._awaited: dict[str, asyncio.Event] = {}  # by the text of the notification

    async def run(self) -> None:
        """Listen until this is cancelled."""
        while True:
            try:
                await self._listen()
            except (psycopg.Error, OSError, EngineError):
                self._is_listening.clear()
                await asyncio.sleep(_PAUSE)

    async def check(self, connection: Connection) -> None:
        """Raise `NotificationsLost` if what another connection notifies of does not arrive here."""
        token = f"check {secrets.token_hex(8)}"
        arrived = self._awaited[token] = asyncio.Event()
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._is_listening.wait()
                await connection.fetch(NOTIFY, token)
                await arrived.wait()
        except TimeoutError:
            raise NotificationsLost(_LOST.format(name=self._server.place)) from None
        finally:
            del self._awaited[token]

    async def _listen(self) -> None:
        connection = await self._server.connect()
        async with connection:
            await connection.execute(LISTEN.encode())
            self._is_listening.set()
            self._hint()
            async for notification in connection.notifies():
                self._take(notification.payload)

    def _take(self, payload: str) -> None:
        if arrived := self._awaited.get(payload):
            arrived.set()
        elif '"insert"' in payload:  # an end of a job makes nothing to claim
            self._hint()

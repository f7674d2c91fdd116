"""A proxy before a PostgreSQL server, as poolers and bad networks are."""

from __future__ import annotations

import asyncio
import re
from types import TracebackType
from typing import Self

_NOTIFICATION = ord("A")  # NotificationResponse, of PostgreSQL's protocol 3.0


class Proxy:
    """Hands on all bytes between clients and a server, or swallows notifications of the server."""

    def __init__(self, url: str, *, swallows_notifications: bool = False) -> None:
        found = re.search(r"@([^:]+):(\d+)", url)
        assert found is not None
        self._host, self._port = found[1], int(found[2])
        self._given = url
        self._swallows = swallows_notifications
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.close()
        self.cut()
        await asyncio.sleep(0.05)

    @property
    def url(self) -> str:
        """The URL that leads through here."""
        port = self._server.sockets[0].getsockname()[1]
        return self._given.replace(f":{self._port}/", f":{port}/")

    def cut(self) -> None:
        """Cut all connections."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upper_reader, upper = await asyncio.open_connection(self._host, self._port)
        self._writers |= {writer, upper}
        back = self._filter if self._swallows else self._copy
        try:
            await asyncio.gather(self._copy(reader, upper), back(upper_reader, writer))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            for each in (writer, upper):
                each.transport.abort()
                self._writers.discard(each)

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        raise ConnectionError("closed")

    async def _filter(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The answer to the request for TLS or GSS is a single letter.
        while True:
            kind = await reader.readexactly(1)
            if kind in b"N":
                writer.write(kind)
                continue
            size = await reader.readexactly(4)
            body = await reader.readexactly(int.from_bytes(size) - 4)
            if kind[0] != _NOTIFICATION:
                writer.write(kind + size + body)
                await writer.drain()

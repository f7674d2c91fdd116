"""Reads streams of server-sent events from a real server, on a socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tests.server.serving import Running


@dataclass(frozen=True, slots=True)
class Sent:
    """An event: its name, its data, and its number if it has one."""

    event: str
    data: Any
    id: int | None


@asynccontextmanager
async def stream(
    server: Running, path: str, last_id: int | None = None
) -> AsyncGenerator[AsyncGenerator[Sent]]:
    """Open a stream, and yield its events; the connection is cut at the end."""
    reader, writer = await server.connect()
    number = None if last_id is None else str(last_id)
    writer.write(server.write_request("GET", path, last_event_id=number))
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    try:
        async with aclosing(_read_events(reader)) as events:
            yield events
    finally:
        writer.transport.abort()


async def _read_events(reader: asyncio.StreamReader) -> AsyncGenerator[Sent]:
    text = b""
    while size := int(await reader.readline() or b"0", 16):
        text += await reader.readexactly(size)
        await reader.readexactly(2)
        while b"\n\n" in text:
            block, text = text.split(b"\n\n", 1)
            fields = dict(
                line.split(": ", 1)
                for line in block.decode().split("\n")
                if not line.startswith(":")
            )
            if "data" in fields:
                number = int(fields["id"]) if "id" in fields else None
                yield Sent(fields["event"], json.loads(fields["data"]), number)

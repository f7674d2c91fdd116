"""Flows as tools over HTTP, called by the client of the protocol's own SDK through the gate."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, ElicitResult

from graphorch import node
from graphorch.server.settings import ServerLimits
from tests.mcp_server.serving import Letter, Topic, build_letters, build_plain, write
from tests.server.serving import TOKEN, Running, running


@asynccontextmanager
async def connected(
    server: Running, *, token: str = TOKEN, headers: dict[str, str] | None = None, **options: Any
) -> AsyncGenerator[Client]:
    """Connect a client of the SDK with a token."""
    given = {"authorization": f"Bearer {token}", **(headers or {})}
    async with httpx2.AsyncClient(headers=given, timeout=30) as http:
        transport = streamable_http_client(f"{server.url}mcp", http_client=http)
        async with Client(transport, **options) as client:
            yield client


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_tool_runs_flow_and_asks_person(tmp_path: Path, mode: str) -> None:
    """A call runs the flow, shows its question as a form, and returns the output; once."""
    sent: list[str] = []

    async def agree(context: Any, params: Any) -> ElicitResult:
        return ElicitResult(action="accept", content={"approved": True})

    async def main() -> None:
        async with running(tmp_path, build_letters(sent)) as server:
            async with connected(server, mode=mode, elicitation_callback=agree) as client:
                tools = (await client.list_tools()).tools
                assert [tool.name for tool in tools] == ["letters"]
                result = await client.call_tool("letters", {"topic": "tides"})
            assert isinstance(result, CallToolResult)
            assert result.structured_content == {"letter": "A letter on tides: sent"}
            heads = (await server.context.store.list_runs()).runs
            assert [head.status for head in heads] == ["succeeded"]
        assert sent == ["A letter on tides"]

    asyncio.run(main())


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer wrong"},
        {"host": "evil.example"},
        {"origin": "http://evil.example"},
        {"sec-fetch-site": "cross-site"},
        {"content-type": "text/plain"},
    ],
    ids=["token", "host", "origin", "site", "type"],
)
def test_tools_are_behind_gate(tmp_path: Path, headers: dict[str, str]) -> None:
    """What the gate refuses elsewhere it refuses here, and no run begins."""
    body = json.dumps(
        {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "plain"}}
    ).encode()
    named = {name.replace("-", "_"): value for name, value in headers.items()}

    async def main() -> None:
        async with running(tmp_path, build_plain(write)) as server:
            response = await server.send(server.write_request("POST", "/mcp", body, **named))
            assert int(response.split(b" ", 2)[1]) in (401, 403, 415, 421)
            assert (await server.context.store.list_runs()).runs == ()

    asyncio.run(main())


def test_reading_server_has_no_tools(tmp_path: Path) -> None:
    """A server that only reads begins nothing here either, and says so."""

    async def main() -> None:
        async with running(tmp_path, build_plain(write), is_read_only=True) as server:
            response = await server.send(server.write_request("POST", "/mcp", b"{}"))
            assert b"404 Not Found" in response
            assert b"started to read only" in response

    asyncio.run(main())


def test_calls_begin_limited_runs(tmp_path: Path) -> None:
    """A call that would be one run too many is refused, and the others go on."""
    go = asyncio.Event()

    @node
    async def wait(topic: Topic) -> Letter:
        await go.wait()
        return Letter(letter=topic.topic)

    async def main() -> None:
        flow = build_plain(wait)
        async with running(tmp_path, flow, limits=ServerLimits(runs=1)) as server:
            async with connected(server) as client:
                first = asyncio.ensure_future(client.call_tool("plain", {"topic": "a"}))
                for _ in range(200):
                    if server.context.runs.count_under_way():
                        break
                    await asyncio.sleep(0.01)
                with pytest.raises(Exception, match="runs 1 calls at once"):
                    await client.call_tool("plain", {"topic": "b"})
                go.set()
                assert (await first).structured_content == {"letter": "a"}

    asyncio.run(main())


def test_server_ends_during_call(tmp_path: Path) -> None:
    """A server that ends does not wait for calls: their runs stop, and can be resumed."""

    @node
    async def wait(topic: Topic) -> Letter:
        await asyncio.sleep(60)
        return Letter(letter=topic.topic)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with running(tmp_path, build_plain(wait)) as server:
            async with connected(server) as client:
                calling = asyncio.ensure_future(client.call_tool("plain", {"topic": "a"}))
                for _ in range(200):
                    if server.context.runs.count_under_way():
                        break
                    await asyncio.sleep(0.01)
                begun = loop.time()
                server.server.end()
                await asyncio.wait([calling])
                calling.exception()
            assert loop.time() - begun < 2

    asyncio.run(main())

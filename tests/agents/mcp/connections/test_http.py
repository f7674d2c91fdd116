"""Servers at an address: over loopback HTTP, most of them hostile."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from graphorch.agents.mcp.declaration import McpLimits
from graphorch.agents.mcp.errors import (
    CallTimedOut,
    ConnectionLost,
    McpError,
    ServerUnavailable,
    ToolFailed,
)
from graphorch.agents.mcp.server import McpServer
from tests.agents.mcp.http_server import (
    JSON,
    HostileHttp,
    Reply,
    delay_calls,
    on_call,
    serve,
    write_json,
    write_result,
)
from tests.agents.mcp.servers import call_tools, try_tool, use

ERAS = pytest.mark.parametrize("is_modern", [False, True], ids=["2025", "2026"])


def reach(server: HostileHttp, *, seconds: float = 20.0, **options: Any) -> McpServer:
    """Declare a server of the test."""
    limits = options.pop("limits", McpLimits(seconds=seconds, start_seconds=20.0))
    return McpServer.http("tracker", server.url, limits=limits, **options)


def call_echo(server: HostileHttp, calls: int = 1, **options: Any) -> list[str | McpError]:
    """Return the results of some calls of `echo`."""
    with serve(server):
        return [*call_tools(reach(server, **options), *["echo"] * calls, text="hi")]


@ERAS
def test_server_answers_both_revisions(is_modern: bool) -> None:
    """A server of either revision is listed and called, with the token and the further headers."""
    server = HostileHttp(is_modern)
    assert call_echo(server) == ['{"text": "hi"}']
    assert server.calls == [{"text": "hi"}]
    assert ("initialize" in server.methods) == (not is_modern)


def test_secrets_travel_as_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The values of the named variables are sent with every message."""
    monkeypatch.setenv("TRACKER_TOKEN", "tk-123456")
    monkeypatch.setenv("TRACKER_TEAM", "team 7")
    server = HostileHttp()
    call_echo(server, bearer_env="TRACKER_TOKEN", headers_env={"X-Team": "TRACKER_TEAM"})
    assert {headers["authorization"] for headers in server.headers} == {"Bearer tk-123456"}
    assert {headers["x-team"] for headers in server.headers} == {"team 7"}
    assert all(headers["user-agent"].startswith("graphorch/") for headers in server.headers)


def test_missing_token_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its token a server is not asked at all."""
    monkeypatch.delenv("TRACKER_TOKEN", raising=False)
    server = HostileHttp()
    (error,) = call_echo(server, bearer_env="TRACKER_TOKEN")
    assert isinstance(error, ServerUnavailable)
    assert "needs TRACKER_TOKEN, which is not set" in str(error)
    assert not server.methods


@pytest.mark.parametrize(
    ("status", "has_token", "problem"),
    [
        (401, False, "refused the request: 401 Unauthorized. If it needs a token, name its "),
        (403, True, "refused the request: 403 Forbidden. Look at the token in TRACKER_TOKEN"),
        (500, False, "refused the request: 500 Internal Server Error."),
    ],
)
def test_refusal_is_named(
    monkeypatch: pytest.MonkeyPatch, status: int, has_token: bool, problem: str
) -> None:
    """A refusal before the server is ready is told with its status and what may help."""
    monkeypatch.setenv("TRACKER_TOKEN", "tk-123456")
    server = HostileHttp(misbehave=lambda server, message: (status, {}, b"no tk-123456"))
    (error,) = call_echo(server, bearer_env="TRACKER_TOKEN" if has_token else None)
    assert isinstance(error, ServerUnavailable)
    assert problem in str(error)
    assert "tk-123456" not in str(error)


def test_absent_server_is_named() -> None:
    """A port at which nothing listens is said to be unreachable."""
    server = HostileHttp()
    with serve(server):
        pass
    (error,) = call_tools(reach(server), "echo")
    assert isinstance(error, ServerUnavailable)
    assert "MCP server 'tracker' cannot be reached (ConnectError" in str(error)


@ERAS
def test_broken_call_is_not_repeated(is_modern: bool) -> None:
    """A connection that breaks in a call fails that call, which is not made again."""
    server = HostileHttp(is_modern, misbehave=on_call((0, {}, b"")))
    (error,) = call_echo(server)
    assert isinstance(error, ConnectionLost)
    assert "was lost while 'echo' ran (RemoteProtocolError" in str(error)
    assert len(server.calls) == 1


@ERAS
@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        ((200, JSON, b"x" * 2_000_000), "its answer is too large: more than 1,000,000 bytes"),
        ((200, JSON, b"{"), "cannot be read, and it may have run: it is not JSON"),
        ((200, JSON, b'{"jsonrpc":"2.0","id":1,"result":{"x":"\xff"}}'), "UTF-8 text (byte 39"),
        ((200, {"content-type": "text/html"}, b"<p>Hello"), "Unexpected content type: text/html"),
        (write_result(99, {"content": "none"}), "does not follow the protocol"),
        (write_json({"jsonrpc": "2.0", "id": None, "error": {"code": -32602, "message": "bad n"}}),
            "bad n"),
        (write_json({"jsonrpc": "2.0", "id": 77, "result": {}}), "it answers another request"),
        (write_json({"jsonrpc": "2.0", "id": 99, "method": "log"}), "not a JSON-RPC response"),
        (write_json([1, 2]), "not a JSON-RPC response"),
        (write_json({"jsonrpc": "2.0", "id": 99, "error": {"code": -1, "message": "oops"}}, 500),
            "oops"),
    ],
)  # fmt: skip
def test_bad_answer_fails_its_call_alone(is_modern: bool, reply: Reply, problem: str) -> None:
    """An answer that cannot be used is told to the model, and the next call is made."""

    def misbehave(server: HostileHttp, message: dict[str, Any]) -> Reply | None:
        is_first = message["method"] == "tools/call" and len(server.calls) == 1
        if not is_first:
            return None
        status, headers, body = reply
        if b'"id": 99' in body:
            body = body.replace(b'"id": 99', b'"id": %d' % message["id"])
        return status, headers, body

    server = HostileHttp(is_modern, misbehave=misbehave)
    limits = McpLimits(seconds=20.0, start_seconds=20.0, bytes=1_000_000)
    error, echo = call_echo(server, 2, limits=limits)
    assert isinstance(error, ToolFailed), error
    assert problem in str(error)
    assert echo == '{"text": "hi"}'
    assert len(server.calls) == 2


@ERAS
def test_refused_call_ran_nowhere(is_modern: bool) -> None:
    """A call that a proxy refuses did not run, and the next one is made."""

    def misbehave(server: HostileHttp, message: dict[str, Any]) -> Reply | None:
        if message["method"] == "tools/call" and len(server.calls) == 1:
            return 503, {"content-type": "text/plain"}, b"busy"
        return None

    error, echo = call_echo(HostileHttp(is_modern, misbehave=misbehave), 2)
    assert isinstance(error, ServerUnavailable)
    assert "refused the request: 503 Service Unavailable" in str(error)
    assert echo == '{"text": "hi"}'


@ERAS
def test_stream_answers_call(is_modern: bool) -> None:
    """An answer may come as a stream of events; one that is too large or ends early is told."""

    def misbehave(server: HostileHttp, message: dict[str, Any]) -> Reply | None:
        if message["method"] != "tools/call":
            return None
        content = [{"type": "text", "text": "y" * (2_000_000 if len(server.calls) == 2 else 3)}]
        result = {"content": content, "resultType": "complete"}
        answer = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result})
        events = f"event: message\ndata: {answer}\n\n" if len(server.calls) != 3 else ": bye\n\n"
        return 200, {"content-type": "text/event-stream"}, events.encode()

    limits = McpLimits(seconds=20.0, start_seconds=20.0, bytes=1_000_000)
    server = HostileHttp(is_modern, misbehave=misbehave)
    whole, large, short, last = call_echo(server, 4, limits=limits)
    assert whole == last == "yyy"
    assert isinstance(large, ConnectionLost)
    assert "SSE stream failed" in str(large)
    assert isinstance(short, ConnectionLost)
    assert "SSE stream ended without a response" in str(short)
    assert len(server.calls) == 4


@ERAS
def test_silent_call_is_given_up(is_modern: bool) -> None:
    """A call without an answer ends after its time, and the next one is made."""

    async def work(server: McpServer) -> list[str | McpError]:
        return [await try_tool(server, "echo", text=text) for text in ("a", "b")]

    server = HostileHttp(is_modern, misbehave=delay_calls(0.5))
    with serve(server):
        first, second = use(reach(server, seconds=0.2), work)
    assert isinstance(first, CallTimedOut)
    assert isinstance(second, CallTimedOut)
    assert server.calls == [{"text": "a"}, {"text": "b"}]


def test_lost_session_is_opened_anew() -> None:
    """A server that forgot the session took no call, so the call is made in a new session."""

    def misbehave(server: HostileHttp, message: dict[str, Any]) -> Reply | None:
        if message["method"] == "initialize":
            status, headers, body = HostileHttp().answer(message)
            session = f"s{server.methods.count('initialize')}"
            return status, {**headers, "mcp-session-id": session}, body
        if message["method"] == "tools/call" and server.headers[-1]["mcp-session-id"] == "s1":
            return 404, {}, b""
        return None

    server = HostileHttp(misbehave=misbehave)
    assert call_echo(server, 2) == ['{"text": "hi"}'] * 2
    assert server.methods.count("initialize") == 2
    assert server.methods.count("tools/call") == 3
    assert server.methods.count("DELETE") == 2


def test_foreign_redirect_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A redirect to another server would send it the token, so it is an error."""
    monkeypatch.setenv("TRACKER_TOKEN", "tk-123456")
    thief = HostileHttp()
    with serve(thief):
        server = HostileHttp(misbehave=lambda s, m: (307, {"location": thief.url}, b""))
        (error,) = call_echo(server, bearer_env="TRACKER_TOKEN")
    assert isinstance(error, ServerUnavailable)
    assert "not followed" in str(error)
    assert not thief.headers


@ERAS
def test_calls_run_side_by_side(is_modern: bool) -> None:
    """Ten calls of a slow server take the time of one."""

    async def work(server: McpServer) -> tuple[list[str | McpError], float]:
        await server.take_listing()
        began = asyncio.get_running_loop().time()
        calls = [try_tool(server, "echo", text=str(number)) for number in range(10)]
        results = await asyncio.gather(*calls)
        return [*results], asyncio.get_running_loop().time() - began

    server = HostileHttp(is_modern, misbehave=delay_calls(0.3))
    with serve(server):
        results, seconds = use(reach(server), work)
    assert results == [json.dumps({"text": str(number)}) for number in range(10)]
    assert seconds < 2.4

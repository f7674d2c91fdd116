"""An MCP server over HTTP on loopback that misbehaves as a test says."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, dict[str, str], bytes]
"""Status, headers and body."""
Misbehave = Callable[["HostileHttp", dict[str, Any]], Reply | None]

SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}}
JSON = {"content-type": "application/json"}


def write_json(message: Any, status: int = 200, **headers: str) -> Reply:
    return status, {**JSON, **headers}, json.dumps(message).encode()


def write_result(number: Any, result: Any) -> Reply:
    return write_json({"jsonrpc": "2.0", "id": number, "result": result})


@dataclass
class HostileHttp:
    """The server: `misbehave` may answer a message in place of what is right.

    `calls` are the arguments of the calls that it took, `headers` those of every message.
    """

    is_modern: bool = False
    misbehave: Misbehave = lambda server, message: None
    url: str = ""
    calls: list[Any] = field(default_factory=list[Any])
    methods: list[str] = field(default_factory=list[str])
    headers: list[dict[str, str]] = field(default_factory=list[dict[str, str]])

    def answer(self, message: dict[str, Any]) -> Reply:
        """Return the reply to a message."""
        self.methods.append(message["method"])
        if message["method"] == "tools/call":
            self.calls.append(message["params"].get("arguments"))
        return self.misbehave(self, message) or self._answer_well(message)

    def _answer_well(self, message: dict[str, Any]) -> Reply:
        method, number = message["method"], message.get("id")
        if number is None:
            return 202, {}, b""
        if method == "server/discover" and self.is_modern:
            versions = {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}
            return write_result(number, {**versions, **self._hints()})
        if method == "initialize":
            info = {"name": "hostile", "version": "1"}
            version = message["params"]["protocolVersion"]
            result = {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": info}
            return write_result(number, result)
        if method == "tools/list":
            tools = [{"name": "echo", "description": "Say it again.", "inputSchema": SCHEMA}]
            return write_result(
                number, {"tools": tools, **(self._hints() if self.is_modern else {})}
            )
        if method == "tools/call":
            text = json.dumps(message["params"].get("arguments"), sort_keys=True)
            result = {"content": [{"type": "text", "text": text}]}
            done = {"resultType": "complete"} if self.is_modern else {}
            return write_result(number, {**result, **done})
        error = {"code": -32601, "message": f"unknown method {method}"}
        return write_json({"jsonrpc": "2.0", "id": number, "error": error})

    def _hints(self) -> dict[str, Any]:
        return {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}


@contextmanager
def serve(server: HostileHttp) -> Generator[HostileHttp]:
    """Serve on a free port of loopback until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            server.headers.append({key.lower(): value for key, value in self.headers.items()})
            status, headers, content = server.answer(json.loads(body))
            if status == 0:  # the connection breaks
                self.close_connection = True
                return
            self._write(status, headers, content)

        def do_GET(self) -> None:
            self._write(405, {}, b"")

        def do_DELETE(self) -> None:
            server.methods.append("DELETE")
            self._write(200, {}, b"")

        def _write(self, status: int, headers: dict[str, str], content: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            try:
                self.wfile.write(content)
            except OSError:
                self.close_connection = True  # the client has read enough

        def log_message(self, format: str, *args: object) -> None: ...

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None: ...

    with Server(("127.0.0.1", 0), Handler) as http:
        server.url = f"http://127.0.0.1:{http.server_port}/mcp"
        thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()


def on_call(reply: Reply) -> Misbehave:
    """Answer calls of tools with a reply."""
    return lambda server, message: reply if message["method"] == "tools/call" else None


def delay_calls(seconds: float) -> Misbehave:
    """Answer calls of tools after a while."""

    def wait(server: HostileHttp, message: dict[str, Any]) -> Reply | None:
        if message["method"] == "tools/call":
            time.sleep(seconds)
        return None

    return wait

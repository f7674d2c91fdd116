"""OTLP receiver on 127.0.0.1: traces, metrics and logs over HTTP, in protobuf or JSON."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

_TYPES: dict[str, Any] = {
    "/v1/traces": ExportTraceServiceRequest,
    "/v1/metrics": ExportMetricsServiceRequest,
    "/v1/logs": ExportLogsServiceRequest,
}


@dataclass(slots=True)
class Collector:
    """Requests received: bodies as plain data by path, raw bytes and headers.

    `status` is the HTTP status of every answer, unless `statuses` has one for the path, or `judge`
    says one for a path and a body. `answers` are bodies of successes by path, and `kind` is their
    content type. `times` are those of all requests by path.
    """

    url: str = ""
    bodies: dict[str, list[Any]] = field(default_factory=lambda: {path: [] for path in _TYPES})
    raw: list[bytes] = field(default_factory=list[bytes])
    headers: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    status: int = 200
    statuses: dict[str, int] = field(default_factory=dict[str, int])
    judge: Callable[[str, Any], int] | None = None
    answers: dict[str, bytes] = field(default_factory=dict[str, bytes])
    kind: str = "application/json"
    answer_headers: dict[str, str] = field(default_factory=dict[str, str])
    times: dict[str, list[float]] = field(default_factory=lambda: {path: [] for path in _TYPES})
    counted: int = 0
    may_answer: threading.Event = field(default_factory=threading.Event)

    def spans(self) -> list[dict[str, Any]]:
        return [
            span
            for body in self.bodies["/v1/traces"]
            for item in body["resourceSpans"]
            for scope in item["scopeSpans"]
            for span in scope["spans"]
        ]

    def logs(self) -> list[dict[str, Any]]:
        return [
            record
            for body in self.bodies["/v1/logs"]
            for item in body["resourceLogs"]
            for scope in item["scopeLogs"]
            for record in scope["logRecords"]
        ]

    def metrics(self) -> dict[str, dict[str, Any]]:
        last = self.bodies["/v1/metrics"][-1]
        return {
            metric["name"]: metric
            for item in last["resourceMetrics"]
            for scope in item["scopeMetrics"]
            for metric in scope["metrics"]
        }


def attributes(span: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes of a span as values."""
    return {item["key"]: next(iter(item["value"].values())) for item in span["attributes"]}


@contextmanager
def collecting(*, decodes: bool = True) -> Iterator[Collector]:
    """A collector for the length of a test; it answers at once unless `may_answer` is cleared.

    One that does not decode counts the spans alone, which is quick.
    """
    collector = Collector()
    collector.may_answer.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["content-length"]))
            data = gzip.decompress(data) if self.headers.get("content-encoding") == "gzip" else data
            collector.may_answer.wait(10)
            collector.times[self.path].append(time.monotonic())
            if not decodes:
                message = ExportTraceServiceRequest.FromString(data)
                collector.counted += len(message.resource_spans[0].scope_spans[0].spans)
            kind = self.headers["content-type"]
            body = _decoded(self.path, data, kind) if decodes else None
            status = collector.statuses.get(self.path, collector.status)
            if collector.judge is not None:
                status = collector.judge(self.path, body)
            if status == 200:
                collector.raw.append(data)
                collector.headers.append(
                    {name.lower(): value for name, value in self.headers.items()}
                )
                collector.bodies[self.path].append(body)
            answer = collector.answers.get(self.path, b"") if status == 200 else b""
            self.send_response(status)
            for name, value in collector.answer_headers.items():
                self.send_header(name, value)
            self.send_header("content-type", collector.kind)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        collector.may_answer.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _decoded(path: str, data: bytes, kind: str) -> Any:
    if kind == "application/json":
        return json.loads(data)
    message = _TYPES[path]()
    message.ParseFromString(data)
    return MessageToDict(message)

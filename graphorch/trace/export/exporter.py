"""Sends spans, metrics and logs to an OpenTelemetry collector over HTTP, from the recorder's thread.

The collector may be slow, refuse, or not be there: what does not fit into a bounded buffer is dropped and counted, and it is told once.
"""

from __future__ import annotations

import gzip
import http.client
import logging
import os
import ssl
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from graphorch._version import __version__
from graphorch.errors import InputError
from graphorch.trace.conversation.turns import Turn
from graphorch.trace.export.metrics import Metrics
from graphorch.trace.export.otlp import (
    Signal,
    as_json,
    as_protobuf,
    check_protobuf,
    encode_events,
    encode_span,
    logs_request,
    metrics_request,
    spans_request,
)
from graphorch.trace.spans.model import Span, Trace
from graphorch.trace.spans.redaction import Redaction

_LOG = logging.getLogger(__name__)
_MOST = 20_000  # spans, and log records, that may wait
_AT_ONCE = 500
_AGAIN = frozenset({429, 502, 503, 504})
_LONGEST_PAUSE = 30.0


@dataclass(slots=True)
class Sent:
    """What became of it: how many spans and log records were taken by the collector, and how many were dropped, and why the last time."""

    spans: int = 0
    logs: int = 0
    dropped: int = 0
    failures: int = 0
    last_error: str = ""


class Otlp:
    """A sink that exports to one collector.

    `endpoint` is its base, such as `http://localhost:4318`; without one, OTEL_EXPORTER_OTLP_ENDPOINT counts, as OTEL_EXPORTER_OTLP_HEADERS,
    OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES do. `content` sends prompts and answers too. `interval` is the seconds between two exports.
    Raises `InputError` for an address that is none, and for `http/protobuf` without the extra `otel`.
    """

    def __init__(
        self,
        endpoint: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        service: str = "",
        protocol: Literal["http/protobuf", "http/json"] = "http/protobuf",
        content: bool = False,
        interval: float = 1.0,
        timeout: float = 5.0,
        redaction: Redaction | None = None,
        environment: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        known = os.environ if environment is None else environment
        self._url = urlsplit(
            (
                endpoint or known.get("OTEL_EXPORTER_OTLP_ENDPOINT", "") or "http://localhost:4318"
            ).rstrip("/")
        )
        if self._url.scheme not in ("http", "https") or not self._url.hostname:
            raise InputError(
                f"Otlp({self._url.geturl()!r}): an endpoint is an address such as http://localhost:4318."
            )
        if protocol == "http/protobuf":
            check_protobuf()
        self._protocol = protocol
        self._headers = (
            dict(headers)
            if headers is not None
            else _pairs(known.get("OTEL_EXPORTER_OTLP_HEADERS", ""))
        )
        name = service or known.get("OTEL_SERVICE_NAME", "") or "graphorch"
        extra = _pairs(known.get("OTEL_RESOURCE_ATTRIBUTES", ""))
        self._resource = {
            "service.name": name,
            "telemetry.sdk.name": "graphorch",
            "telemetry.sdk.version": __version__,
            **extra,
        }
        self._content = content
        self._interval = interval
        self._timeout = timeout
        self._redaction = redaction or Redaction()
        self._clock = clock
        self._spans: deque[dict[str, Any]] = deque()
        self._logs: deque[dict[str, Any]] = deque()
        self._metrics = Metrics(clock())
        self._has_news = False
        self._next = 0.0
        self.sent = Sent()

    @property
    def needs_content(self) -> bool:
        """See `Sink.needs_content`."""
        return self._content

    def take(self, trace: Trace, spans: Sequence[Span], turns: dict[str, Turn]) -> None:
        """See `Sink.take`."""
        for span in spans:
            self._metrics.add(span, trace)
            self._put(
                self._spans,
                encode_span(
                    span, trace, self._redaction, turns.get(span.id) if self._content else None
                ),
            )
            for event in encode_events(span, trace, self._redaction):
                self._put(self._logs, event)
        self._has_news = True

    def flush(self, *, is_last: bool) -> None:
        """See `Sink.flush`."""
        now = time.monotonic()
        if not self._has_news or (now < self._next and not (is_last and not self.sent.failures)):
            return
        self._next = now + self._interval
        is_up = self._drain("traces", self._spans, spans_request)
        is_up = is_up and self._drain("logs", self._logs, logs_request)
        if is_up and self._send(
            "metrics", metrics_request(self._resource, self._metrics.encoded(self._clock()))
        ):
            self._has_news = False
        if self.sent.failures:
            self._next = now + min(_LONGEST_PAUSE, self._interval * 2 ** min(self.sent.failures, 8))

    def _put(self, queue: deque[dict[str, Any]], item: dict[str, Any]) -> None:
        if len(queue) >= _MOST:
            queue.popleft()
            self.sent.dropped += 1
        queue.append(item)

    def _drain(
        self,
        signal: Signal,
        queue: deque[dict[str, Any]],
        request: Callable[[Mapping[str, Any], Sequence[Any]], dict[str, Any]],
    ) -> bool:
        """Send all that waits, some hundred at once; False if the collector does not take it now."""
        while queue:
            batch = [queue[number] for number in range(min(_AT_ONCE, len(queue)))]
            if not self._send(signal, request(self._resource, batch)):
                return False
            for _ in batch:
                queue.popleft()
            if signal == "traces":
                self.sent.spans += len(batch)
            else:
                self.sent.logs += len(batch)
        return True

    def _send(self, signal: Signal, body: dict[str, Any]) -> bool:
        """One export. What the collector refuses for good is dropped, so that it cannot stand in the way of what follows."""
        is_binary = self._protocol == "http/protobuf"
        data = as_protobuf(signal, body) if is_binary else as_json(body)
        kind = "application/x-protobuf" if is_binary else "application/json"
        headers = {
            **self._headers,
            "content-type": kind,
            "content-encoding": "gzip",
            "user-agent": f"graphorch/{__version__}",
        }
        try:
            status = self._post(f"{self._url.path}/v1/{signal}", gzip.compress(data, 1), headers)
        except (OSError, http.client.HTTPException) as error:
            return self._failed(f"{type(error).__name__}: {error}")
        if status in _AGAIN:
            return self._failed(f"status {status}")
        if status >= 400:
            self._failed(f"status {status}")
            self.sent.dropped += 1
            return True
        self.sent.failures = 0
        return True

    def _post(self, path: str, data: bytes, headers: Mapping[str, str]) -> int:
        host, port = self._url.hostname or "", self._url.port
        if self._url.scheme == "https":
            connection = http.client.HTTPSConnection(
                host, port, timeout=self._timeout, context=ssl.create_default_context()
            )
        else:
            connection = http.client.HTTPConnection(host, port, timeout=self._timeout)
        try:
            connection.request("POST", path, data, dict(headers))
            response = connection.getresponse()
            response.read(65_536)
            return response.status
        finally:
            connection.close()

    def _failed(self, why: str) -> bool:
        self.sent.failures += 1
        self.sent.last_error = why
        if self.sent.failures == 1:
            place = f"{self._url.scheme}://{self._url.hostname}"
            _LOG.warning(
                "the collector at %s does not take traces (%s); runs go on, and it is tried again",
                place,
                why,
            )
        return False


def _pairs(text: str) -> dict[str, str]:
    """`a=1,b=2` as OpenTelemetry writes it, percent-encoded."""
    found = [part.partition("=") for part in text.split(",") if "=" in part]
    return {
        unquote(name.strip()): unquote(value.strip()) for name, _, value in found if name.strip()
    }

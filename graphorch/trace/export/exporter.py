"""A sink that sends spans, metrics and logs to an OpenTelemetry collector over HTTP.

It works in the recorder's thread. The collector may be slow, refuse, or be down: what does not fit
into a bounded buffer is dropped and counted, and a warning is logged once.
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
    build_logs_request,
    build_metrics_request,
    build_spans_request,
    check_protobuf,
    encode_events,
    encode_json,
    encode_protobuf,
    encode_span,
)
from graphorch.trace.spans.model import Span, Trace
from graphorch.trace.spans.redaction import Redaction

_LOG = logging.getLogger(__name__)
_MOST_WAITING = 20_000  # spans, and log records, that may wait
_BATCH_SIZE = 500
_RETRYABLE = frozenset({429, 502, 503, 504})
_LONGEST_PAUSE = 30.0
_DEFAULT_ENDPOINT = "http://localhost:4318"


@dataclass(slots=True)
class ExportCount:
    """Counts of spans and log records that the collector took or that were dropped.

    `failures` counts failed exports in a row, and `last_error` is the reason of the last one.
    """

    spans: int = 0
    logs: int = 0
    dropped: int = 0
    failures: int = 0
    last_error: str = ""


class Otlp:
    """A sink that exports to a collector.

    `endpoint` is its base address, such as `http://localhost:4318`; without one,
    OTEL_EXPORTER_OTLP_ENDPOINT counts, as OTEL_EXPORTER_OTLP_HEADERS, OTEL_SERVICE_NAME and
    OTEL_RESOURCE_ATTRIBUTES do. `content` sends prompts and answers too. `interval` is the seconds
    between two exports. Raises `InputError` for an invalid address, and for `http/protobuf` without
    the extra `otel`.
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
        variables = os.environ if environment is None else environment
        address = endpoint or variables.get("OTEL_EXPORTER_OTLP_ENDPOINT", "") or _DEFAULT_ENDPOINT
        self._url = urlsplit(address.rstrip("/"))
        if self._url.scheme not in ("http", "https") or not self._url.hostname:
            raise InputError(
                f"Otlp({self._url.geturl()!r}): an endpoint is an address such as "
                f"{_DEFAULT_ENDPOINT}."
            )
        if protocol == "http/protobuf":
            check_protobuf()
        self._protocol = protocol
        if headers is None:
            headers = _parse_pairs(variables.get("OTEL_EXPORTER_OTLP_HEADERS", ""))
        self._headers = dict(headers)
        self._resource = {
            "service.name": service or variables.get("OTEL_SERVICE_NAME", "") or "graphorch",
            "telemetry.sdk.name": "graphorch",
            "telemetry.sdk.version": __version__,
            **_parse_pairs(variables.get("OTEL_RESOURCE_ATTRIBUTES", "")),
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
        self.sent = ExportCount()

    @property
    def needs_content(self) -> bool:
        """See `Sink.needs_content`."""
        return self._content

    def take(self, trace: Trace, spans: Sequence[Span], turns: dict[str, Turn]) -> None:
        """See `Sink.take`."""
        for span in spans:
            self._metrics.add(span, trace)
            turn = turns.get(span.id) if self._content else None
            self._put(self._spans, encode_span(span, trace, self._redaction, turn))
            for event in encode_events(span, trace, self._redaction):
                self._put(self._logs, event)
        self._has_news = True

    def flush(self, *, is_last: bool) -> None:
        """See `Sink.flush`."""
        now = time.monotonic()
        # The last flush does not wait for the next interval, unless the collector is down.
        is_due = now >= self._next or (is_last and not self.sent.failures)
        if not self._has_news or not is_due:
            return
        self._next = now + self._interval
        if self._export_all():
            self._has_news = False
        if self.sent.failures:
            pause = self._interval * 2 ** min(self.sent.failures, 8)
            self._next = now + min(_LONGEST_PAUSE, pause)

    def _export_all(self) -> bool:
        """Send all that waits; return False if the collector does not take it now."""
        if not self._drain("traces", self._spans, build_spans_request):
            return False
        if not self._drain("logs", self._logs, build_logs_request):
            return False
        metrics = self._metrics.encode(self._clock())
        return self._send("metrics", build_metrics_request(self._resource, metrics))

    def _put(self, queue: deque[dict[str, Any]], item: dict[str, Any]) -> None:
        if len(queue) >= _MOST_WAITING:
            queue.popleft()
            self.sent.dropped += 1
        queue.append(item)

    def _drain(
        self,
        signal: Signal,
        queue: deque[dict[str, Any]],
        request: Callable[[Mapping[str, Any], Sequence[Any]], dict[str, Any]],
    ) -> bool:
        """Send a queue in batches; return False if the collector does not take it now."""
        while queue:
            batch = [queue[number] for number in range(min(_BATCH_SIZE, len(queue)))]
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
        """Export once; return False if it has to be tried again.

        What the collector refuses for good is dropped, so that it does not block what follows.
        """
        is_binary = self._protocol == "http/protobuf"
        data = encode_protobuf(signal, body) if is_binary else encode_json(body)
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
            return self._note_failure(f"{type(error).__name__}: {error}")
        if status in _RETRYABLE:
            return self._note_failure(f"status {status}")
        if status >= 400:
            self._note_failure(f"status {status}")
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

    def _note_failure(self, why: str) -> bool:
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


def _parse_pairs(text: str) -> dict[str, str]:
    """Return the pairs of `a=1,b=2`, percent-encoded as in variables of OpenTelemetry."""
    pairs: dict[str, str] = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if equals and name.strip():
            pairs[unquote(name.strip())] = unquote(value.strip())
    return pairs

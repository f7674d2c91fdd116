"""A sink that sends spans, metrics and logs to an OpenTelemetry collector over HTTP.

It works in the recorder's thread. The collector may be slow, refuse, or be down: what it does not
take waits in bounded queues (see `delivery.py`), and what is lost is counted and logged.
"""

from __future__ import annotations

import functools
import os
import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from graphorch._version import __version__
from graphorch.errors import InputError
from graphorch.trace.conversation.turns import Turn
from graphorch.trace.export.delivery import Delivery, SignalCount
from graphorch.trace.export.metrics import Metrics
from graphorch.trace.export.otlp import (
    SIGNALS,
    Protocol,
    Signal,
    build_request,
    check_protobuf,
    encode_events,
    encode_span,
)
from graphorch.trace.export.transport import Transport
from graphorch.trace.spans.model import Span, Trace
from graphorch.trace.spans.redaction import Redaction

_DEFAULT_ENDPOINT = "http://localhost:4318"


@dataclass(frozen=True, slots=True)
class ExportCounts:
    """Counts of spans, of log records, and of data points of metrics."""

    traces: SignalCount
    logs: SignalCount
    metrics: SignalCount


class Otlp:
    """A sink that exports to a collector.

    `endpoint` is its base address, such as `http://localhost:4318`; without one,
    OTEL_EXPORTER_OTLP_ENDPOINT counts, as OTEL_EXPORTER_OTLP_HEADERS, OTEL_SERVICE_NAME and
    OTEL_RESOURCE_ATTRIBUTES do. `signals` are sent, unless OTEL_TRACES_EXPORTER and its like are
    `none`. `interval` is the seconds between two exports, `timeout` those of one request. While the
    collector takes nothing, at most `most_waiting` spans and as many log records wait.

    By default names, times, statuses, models, tokens, dollars, the tags of the run, and types and
    messages of errors are sent; messages may quote what a node worked on. `content=True` sends
    prompts, answers and the arguments of tool calls too. All texts pass the rules of `redaction`;
    `Redaction(content=False)` hides messages and tags, and `fields` hides single tags. A signal
    that is left out of `signals` is not sent at all.

    `counts` says what became of everything. Raises `InputError` for an invalid address or signal,
    and for `http/protobuf` without the extra `otel`.
    """

    def __init__(
        self,
        endpoint: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        service: str = "",
        protocol: Protocol = "http/protobuf",
        signals: Collection[Signal] = SIGNALS,
        content: bool = False,
        interval: float = 1.0,
        timeout: float = 10.0,
        most_waiting: int = 20_000,
        redaction: Redaction | None = None,
        environment: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        variables = os.environ if environment is None else environment
        address = endpoint or variables.get("OTEL_EXPORTER_OTLP_ENDPOINT", "") or _DEFAULT_ENDPOINT
        url = urlsplit(address.rstrip("/"))
        if url.scheme not in ("http", "https") or not url.hostname:
            raise InputError(
                f"Otlp({url.geturl()!r}): an endpoint is an address such as {_DEFAULT_ENDPOINT}."
            )
        if protocol == "http/protobuf":
            check_protobuf()
        if headers is None:
            headers = _parse_pairs(variables.get("OTEL_EXPORTER_OTLP_HEADERS", ""))
        self._signals = _choose_signals(signals, variables)
        self._resource = {
            "service.name": service or variables.get("OTEL_SERVICE_NAME", "") or "graphorch",
            # Names this process among those of the service.
            "service.instance.id": str(uuid.uuid4()),
            "telemetry.sdk.name": "graphorch",
            "telemetry.sdk.language": "python",
            "telemetry.sdk.version": __version__,
            **_parse_pairs(variables.get("OTEL_RESOURCE_ATTRIBUTES", "")),
        }
        transport = Transport(url, dict(headers), protocol, timeout)
        self._deliveries = {
            signal: Delivery(
                signal,
                transport,
                functools.partial(build_request, signal, self._resource),
                most_waiting=most_waiting,
                interval=interval,
            )
            for signal in SIGNALS
        }
        self._content = content
        self._interval = interval
        self._redaction = redaction or Redaction()
        self._clock = clock
        self._metrics = Metrics(clock())
        self._has_news = False
        self._next = 0.0
        self.counts = ExportCounts(
            **{signal: delivery.count for signal, delivery in self._deliveries.items()}
        )

    @property
    def needs_content(self) -> bool:
        """See `Sink.needs_content`."""
        return self._content

    def take(self, trace: Trace, spans: Sequence[Span], turns: dict[str, Turn]) -> None:
        """See `Sink.take`."""
        for span in spans:
            if "metrics" in self._signals:
                self._metrics.add(span, trace)
            if "traces" in self._signals:
                turn = turns.get(span.id) if self._content else None
                encoded = encode_span(span, trace, self._redaction, turn)
                self._deliveries["traces"].put(encoded)
            if "logs" in self._signals:
                for event in encode_events(span, trace, self._redaction):
                    self._deliveries["logs"].put(event)
        self._has_news = True

    def flush(self, *, is_last: bool) -> None:
        """See `Sink.flush`."""
        now = time.monotonic()
        if now < self._next and not is_last:
            return
        self._next = now + self._interval
        if self._has_news and "metrics" in self._signals:
            self._deliveries["metrics"].replace(self._metrics.encode(self._clock()))
        self._has_news = False
        for delivery in self._deliveries.values():
            delivery.send(is_last=is_last)


def _choose_signals(signals: Collection[Signal], variables: Mapping[str, str]) -> frozenset[Signal]:
    """Return the signals to send. Raises `InputError` for an unknown one."""
    for signal in signals:
        if signal not in SIGNALS:
            raise InputError(
                f"Otlp(signals={list(signals)!r}): there is no signal {signal!r}. "
                f"Known: {', '.join(SIGNALS)}."
            )
    return frozenset(
        signal
        for signal in SIGNALS
        if signal in signals
        and variables.get(f"OTEL_{signal.upper()}_EXPORTER", "").strip().lower() != "none"
    )


def _parse_pairs(text: str) -> dict[str, str]:
    """Return the pairs of `a=1,b=2`, percent-encoded as in variables of OpenTelemetry."""
    pairs: dict[str, str] = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if equals and name.strip():
            pairs[unquote(name.strip())] = unquote(value.strip())
    return pairs

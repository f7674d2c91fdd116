"""One HTTP request of an export, and what the answer of the collector means.

Source: OTLP 1.x, "OTLP/HTTP response". It is written with the standard library: the exporter of
OpenTelemetry's SDK (1.45) drops a batch after six tries or ten seconds and counts nothing, takes a
redirect for a success, does not halve what is too large, and does not read a partial success.
"""

from __future__ import annotations

import email.utils
import gzip
import http.client
import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast
from urllib.parse import SplitResult

from graphorch._version import __version__
from graphorch.text import clean
from graphorch.trace.export.otlp import Protocol, Signal, encode_json, encode_protobuf, read_answer

Verdict: TypeAlias = Literal["taken", "later", "too_large", "refused", "not_supported"]
"""`later`: worth another try. `refused`: this batch never. `not_supported`: this signal never."""

_LATER = frozenset({408, 429, 502, 503, 504})
_NOT_SUPPORTED = frozenset({404, 405, 410, 415, 501})
_LONGEST_BODY = 65_536  # bytes of an answer that are read
_LONGEST_MESSAGE = 200


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a batch.

    `pause` is how many seconds the collector asks to wait, None if it says nothing. `rejected`
    counts items of a batch that was taken in part; `message` says why, or what is wrong.
    `timed_out`: there was no answer in time, as happens where a batch is much work.
    """

    verdict: Verdict
    message: str = ""
    pause: float | None = None
    rejected: int = 0
    timed_out: bool = False


class Transport:
    """The way to a collector."""

    def __init__(
        self, url: SplitResult, headers: Mapping[str, str], protocol: Protocol, timeout: float
    ) -> None:
        self._url = url
        self._headers = headers
        self._protocol: Protocol = protocol
        self._timeout = timeout

    @property
    def place(self) -> str:
        """Address of the collector, without what it may hold beside."""
        port = f":{self._url.port}" if self._url.port is not None else ""
        return f"{self._url.scheme}://{self._url.hostname}{port}"

    def send(self, signal: Signal, body: Mapping[str, Any]) -> Answer:
        """Export one batch."""
        is_binary = self._protocol == "http/protobuf"
        try:
            data = encode_protobuf(signal, body) if is_binary else encode_json(body)
        # Halved until the one item is left that cannot be written.
        except (ValueError, TypeError, OverflowError) as error:
            return Answer("too_large", clean(f"{type(error).__name__}: {error}", _LONGEST_MESSAGE))
        headers = {
            **self._headers,
            "content-type": "application/x-protobuf" if is_binary else "application/json",
            "content-encoding": "gzip",
            "user-agent": f"graphorch/{__version__}",
        }
        path = f"{self._url.path}/v1/{signal}"
        try:
            return self._post(signal, path, gzip.compress(data, 1), headers)
        except (OSError, http.client.HTTPException) as error:
            message = clean(f"{type(error).__name__}: {error}", _LONGEST_MESSAGE)
            return Answer("later", message, timed_out=isinstance(error, TimeoutError))

    def _post(self, signal: Signal, path: str, data: bytes, headers: Mapping[str, str]) -> Answer:
        connection = self._connect()
        try:
            connection.request("POST", path, data, dict(headers))
            response = connection.getresponse()
            body = response.read(_LONGEST_BODY)
        finally:
            connection.close()
        if 200 <= response.status < 300:
            kind = response.getheader("content-type", "")
            rejected, message = read_answer(signal, body, kind)
            return Answer("taken", clean(message, _LONGEST_MESSAGE), rejected=rejected)
        message = f"status {response.status}"
        if place := response.getheader("location"):
            message += f", which points to {clean(place, _LONGEST_MESSAGE)}"
        elif text := _read_message(body, response.getheader("content-type", "")):
            message += f": {text}"
        pause = parse_retry_after(response.getheader("retry-after", ""), time.time())
        return Answer(_judge(response.status), message, pause)

    def _connect(self) -> http.client.HTTPConnection:
        host, port, timeout = self._url.hostname or "", self._url.port, self._timeout
        if self._url.scheme == "https":
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(host, port, timeout=timeout, context=context)
        return http.client.HTTPConnection(host, port, timeout=timeout)


def _judge(status: int) -> Verdict:
    if status in _LATER:
        return "later"
    if status == 413:
        return "too_large"
    return "not_supported" if status in _NOT_SUPPORTED else "refused"


def _read_message(body: bytes, kind: str) -> str:
    """Return the reason that an error in JSON or plain text gives."""
    text = body.decode("utf-8", "replace")
    if "json" in kind:
        try:
            described: Any = json.loads(text)
        except ValueError:
            return ""
        fields = cast("dict[str, Any]", described) if isinstance(described, dict) else {}
        text = str(fields.get("message", ""))
    elif not kind.startswith("text/plain"):
        return ""
    return clean(" ".join(text.split()), _LONGEST_MESSAGE)


def parse_retry_after(value: str, now: float) -> float | None:
    """Return the seconds of a `Retry-After`, which is a number or a date; None for anything else.

    Source: RFC 9110, section 10.2.3.
    """
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, OverflowError):
        return None

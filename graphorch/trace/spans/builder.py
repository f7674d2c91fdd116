"""From the records of a run to its spans: one record after the other, so that a run can be followed while it goes on.

Theory of operation. A record names its activation by path and id, and one activation of a path is open at a time. So the span around a
record is the open one at the path above, and at the top the run's. An activation that is tried again after a resume keeps its id: its span
is opened again, and only its last outcome counts. Records that came over from another run (a fork) make spans that are marked as copies.

A record of a kind that is not known, or that lacks something, is passed over: what can be read of a damaged or newer run is shown.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

from graphorch.journal.records import Record, RunHead
from graphorch.trace.spans.flow_map import FlowMap
from graphorch.trace.spans.model import (
    Span,
    SpanStatus,
    Trace,
    remote_parent,
    run_span_id,
    span_id,
    strip_index,
)

Body: TypeAlias = dict[str, Any]

_KINDS = {"map": "flow", "sub": "flow", "ask": "ask"}


@dataclass(slots=True)
class _Open:
    """An activation under way: its span, the one of its attempt, and the tool calls that a model asked for."""

    span: Span
    attempt: Span | None = None
    began: float = 0.0  # of the attempt
    calls: int = 0
    tools: dict[str, tuple[Span, str, float]] = field(
        default_factory=dict[str, tuple[Span, str, float]]
    )


class SpanBuilder:
    """Builds the spans of one run. Feed it with `take`; `trace` is what is known so far, `finished` what ended since it was last emptied."""

    def __init__(self, head: RunHead) -> None:
        self._open: dict[str, _Open] = {}
        self._by_id: dict[str, _Open] = {}
        # the last activation of each path, for what follows its end
        self._last: dict[str, Span] = {}
        self._copied_until = 0
        self.flow = FlowMap(None)
        _, above = remote_parent(head.tags)
        self._root = Span(
            run_span_id(head.run_id), above, "run", "", "", head.flow, 0, 1, head.created_at
        )
        self.trace = Trace(
            head.run_id, head.flow, head.status, "", dict(head.tags), head.parent, head.created_at, None, None, 0, [self._root]
        )  # fmt: skip
        self.finished: list[Span] = []  # what ended since somebody last emptied it

    def take_all(self, records: Iterable[Record]) -> None:
        """Read records, in order."""
        for record in records:
            self.take(record)

    def take(self, record: Record) -> None:
        """Read one record."""
        make = _MAKERS.get(record.kind)
        body: object = record.body
        if make is not None and isinstance(body, dict):
            # a damaged or newer record
            with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError):
                make(self, cast("Body", body))
        self.trace.seq = record.seq

    def close(self, head: RunHead, now: float) -> Trace:
        """The trace as the head of the run says it stands; what is open is running, or lost if nobody has the run any more."""
        trace = self.trace
        trace.status = head.status
        is_gone = head.status == "running" and (head.lease is None or head.lease.expires_at < now)
        if is_gone:
            trace.status = trace.reason = "crashed"
        ended = head.status not in ("running", "waiting") or is_gone
        for item in self._open.values():
            for span in (item.span, item.attempt):
                if span is not None and span.status in ("running", "lost"):
                    span.status = "lost" if ended else "running"
        self._root.status = _RUN_STATUS.get(trace.status, "failed")
        self._root.error = trace.reason if self._root.status == "failed" else ""
        return trace

    # ---- one maker per kind of record ----------------------------------------------------------------
    def forked(self, body: Body) -> None:
        self._copied_until = 1 + int(body["copied"])

    def started(self, body: Body) -> None:
        self.flow = FlowMap(body.get("flow"))
        self._root.began = self.trace.began = float(body["at"])
        budget = body.get("budget")
        if isinstance(budget, dict):
            usd = cast("Body", budget).get("usd")
            self.trace.budget = None if usd is None else float(usd)

    def entered(self, body: Body) -> None:
        item = self._at(body)
        item.span.began = item.span.began or float(body["at"])
        self._touch(body)

    def commit(self, body: Body) -> None:
        item = self._at(body, body.get("began"))
        self._end(item, body, "ok")
        if "route" in body:
            self._routed(body["path"], body["route"])

    def routed(self, body: Body) -> None:
        self._touch(body)
        self._routed(body["path"], body)

    def _routed(self, path: str, route: Body) -> None:
        span = self._last.get(path)
        if span is not None:
            _, span.loop = self.flow.taken(
                path, int(route["loop"]), int(route["exhausted"]), route["edges"]
            )

    def failed(self, body: Body) -> None:
        item = self._at(body, body.get("began"))
        error, message = str(body["error"]), str(body["message"])
        if item.span.kind == "node":
            self._end_attempt(
                item, float(body["at"]), "failed", int(body["attempt"]), error, message
            )
        if body["retry_after"] is None:
            item.span.error, item.span.message = error, message
            self._end(
                item, body, "handled" if int(body["handler"]) >= 0 else "failed", has_attempt=False
            )

    def retry(self, body: Body) -> None:
        item = self._at(body)
        item.began = float(body["at"])
        self._touch(body)

    def skipped(self, body: Body) -> None:
        item = self._at(body, body["at"])
        item.span.message = str(body["reason"])
        self._end(item, body, "skipped", has_attempt=False)

    def cancelled(self, body: Body) -> None:
        self._end(self._at(body, body.get("began")), body, "cancelled")

    def asked(self, body: Body) -> None:
        item = self._at(body, body.get("began") or body["at"])
        item.span.status, item.span.message = "waiting", str(body["text"])
        self._touch(body)

    def approved(self, body: Body) -> None:
        item = self._at(body)
        item.span.status, item.span.message, item.began = "running", "", float(body["at"])
        self._touch(body)

    def starting(self, body: Body) -> None:
        self._at(body)

    def resumed(self, body: Body) -> None:
        self.trace.status = self._root.status = "running"
        for item in self._open.values():
            item.began = float(body["at"])
        self._touch(body)

    def stopping(self, body: Body) -> None:
        self._touch(body)

    def ended(self, body: Body) -> None:
        self.trace.status, self.trace.reason = str(body["status"]), str(body["reason"])
        self._root.status = _RUN_STATUS.get(self.trace.status, "failed")
        self._root.error = self.trace.reason if self._root.status == "failed" else ""
        self.trace.seconds = self._root.seconds = self._root.seconds or 0.0
        if self._root.status != "waiting":
            self.finished.append(self._root)

    def call(self, body: Body) -> None:
        item, span = self._called(body)
        response: Body = body["response"]
        usage: Body = response["usage"]
        self._tool_results(item, body)
        span.status, span.model, span.seconds = (
            "ok",
            str(response["model"]),
            float(response["seconds"]),
        )
        span.began = float(body.get("began") or item.span.began)
        span.input_tokens, span.output_tokens, span.cached_tokens = (
            usage["input_tokens"],
            usage["output_tokens"],
            usage["cached_tokens"],
        )
        span.usd, span.usd_source = float(response["usd"]), str(response["usd_source"])
        span.first_token, span.sent = response["first_token_seconds"], int(response["attempts"])
        span.from_cache = span.sent == 0
        span.findings = [finding for finding in response["findings"] if isinstance(finding, dict)]
        self._decided(span, response["decision"])
        for number, tool in enumerate(response["tool_calls"]):
            item.tools[str(tool["id"])] = (
                self._tool(span, str(tool["name"]), number),
                str(tool["name"]),
                float(body.get("at") or 0.0),
            )
        self._finish(span)

    def unanswered(self, body: Body) -> None:
        item, span = self._called(body)
        self._tool_results(item, body)
        usage: Body = body["usage"] or {}
        span.status, span.error, span.message = "failed", str(body["error"]), str(body["message"])
        span.model, span.began, span.seconds = (
            str(body["model"]),
            float(body["began"]),
            float(body["at"]) - float(body["began"]),
        )
        span.input_tokens, span.output_tokens = (
            int(usage.get("input_tokens", 0)),
            int(usage.get("output_tokens", 0)),
        )
        span.usd = float(body.get("usd") or 0.0)
        span.sent = 1
        self._decided(span, body["decision"])
        self._finish(span)

    # ---- spans ---------------------------------------------------------------------------------------
    def _at(self, body: Body, began: Any = None) -> _Open:
        """The open activation that a record is about; the first record that names one opens its span."""
        path, id_ = str(body["path"]), str(body["id"])
        item = self._open.get(path)
        if item is None or item.span.id != id_[:16]:
            item = self._by_id.get(id_)
            if item is None:
                item = self._opened(path, id_)
            elif item.span.seconds is not None:  # it is tried again, in a run that was resumed
                item.span.seconds, item.span.status = None, "running"
            self._open[path] = item
        if began and not item.span.began:
            item.span.began = float(began)
        return item

    def _opened(self, path: str, id_: str) -> _Open:
        step = strip_index(path)
        above = path.rpartition("/")[0]
        if above.endswith("]"):
            above = above.rpartition("[")[0]
        around = self._open.get(above)
        parent = around.span.id if around is not None and above else self._root.id
        role = self.flow.kind(path)
        kind = _KINDS.get(role, "node")
        node = path.rpartition("/")[2]
        span = Span(id_[:16], parent, kind, path, step, node, path.count("/") + 1, 1, 0.0)  # pyright: ignore[reportArgumentType]
        span.is_copy, span.role = self.trace.seq < self._copied_until, role
        self.trace.spans.append(span)
        item = self._by_id[id_] = _Open(span)
        return item

    def _attempt(self, item: _Open, number: int) -> Span:
        """The span of the attempt that is under way."""
        attempt = item.attempt
        if attempt is None or attempt.attempt != number or attempt.seconds is not None:
            above = item.span
            began = item.began or above.began
            attempt = Span(
                span_id(above.id, number),
                above.id,
                "attempt",
                above.path,
                above.step,
                above.node,
                above.level,
                number,
                began,
            )
            attempt.is_copy = above.is_copy
            item.attempt = attempt
            self.trace.spans.append(attempt)
        return attempt

    def _end_attempt(
        self,
        item: _Open,
        at: float,
        status: SpanStatus,
        number: int,
        error: str = "",
        message: str = "",
    ) -> None:
        attempt = self._attempt(item, number)
        attempt.began = attempt.began or item.span.began
        attempt.seconds, attempt.status, attempt.error, attempt.message = (
            max(0.0, at - attempt.began),
            status,
            error,
            message,
        )
        item.span.attempt = number
        item.began = 0.0
        item.tools.clear()
        self._finish(attempt)

    def _end(
        self, item: _Open, body: Body, status: SpanStatus, *, has_attempt: bool = True
    ) -> None:
        at = float(body["at"])
        span = item.span
        if has_attempt and span.kind == "node":
            self._end_attempt(item, at, status, _number(item))
        span.began = span.began or at
        span.seconds, span.status = max(0.0, at - span.began), status
        if status == "ok":
            span.error = span.message = ""
        self._last[span.path] = span
        self._open.pop(span.path, None)
        self._touch(body)
        self._finish(span)

    def _called(self, body: Body) -> tuple[_Open, Span]:
        item = self._at(body, body.get("began"))
        attempt = self._attempt(item, int(body["attempt"]))
        attempt.began = attempt.began or float(body.get("began") or 0.0)
        item.calls += 1
        span = Span(
            span_id(item.span.id, attempt.attempt, item.calls), attempt.id, "call", attempt.path, attempt.step, attempt.node, attempt.level,
            attempt.attempt, 0.0,
        )  # fmt: skip
        span.is_copy = attempt.is_copy
        self.trace.spans.append(span)
        self._touch(body)
        return item, span

    def _tool(self, call: Span, name: str, number: int) -> Span:
        span = Span(
            span_id(call.id, "tool", number),
            call.id,
            "tool",
            call.path,
            call.step,
            name,
            call.level,
            call.attempt,
            0.0,
        )
        span.is_copy = call.is_copy
        self.trace.spans.append(span)
        return span

    def _tool_results(self, item: _Open, body: Body) -> None:
        """What a request tells the model of the tools that it asked for. Tools of one answer share the time between the two calls."""
        asked: Body = body.get("asked") or {}
        for message in asked.get("messages", ()):
            found = item.tools.pop(str(message.get("answers", "")), None)
            if found is not None:
                span, _, since = found
                span.began, span.seconds = since, max(0.0, float(body["began"]) - since)
                failed = str(message["content"]).startswith("Error:")
                span.status, span.error = ("failed", "tool") if failed else ("ok", "")
                self._finish(span)

    def _decided(self, call: Span, decision: Mapping[str, Any] | None) -> None:
        """What a policy did for a call: where it went, how often, and a span for each request."""
        if not decision:
            call.retries = max(0, call.sent - 1)
            return
        call.policy = str(decision["policy"])
        requests = list(_requests(decision))
        before: set[str] = set()
        for number, attempt in enumerate(requests):
            target = str(attempt["target"])
            if attempt["is_hedge"]:
                call.hedges += 1
            elif target in before:
                call.retries += 1
            elif before:
                call.fallbacks += 1
            before.add(target)
            self._request(call, attempt, number)
        if call.status == "ok":
            call.endpoint = next(
                (
                    str(mapping["target"])
                    for mapping in reversed(requests)
                    if mapping["outcome"] == "ok"
                ),
                str(decision["answered_by"]),
            )
        else:
            call.endpoint = str(requests[-1]["target"]) if requests else ""
            call.usd = sum(float(mapping["usd"] or 0.0) for mapping in requests)
            call.input_tokens = sum(int(mapping["input_tokens"] or 0) for mapping in requests)
            call.output_tokens = sum(int(mapping["output_tokens"] or 0) for mapping in requests)
            call.sent = len(requests)

    def _request(self, call: Span, attempt: Mapping[str, Any], number: int) -> None:
        span = Span(
            span_id(call.id, "request", number), call.id, "request", call.path, call.step, call.node, call.level, call.attempt, call.began,
            float(attempt["seconds"]), "ok" if attempt["outcome"] == "ok" else "cancelled" if attempt["outcome"] == "cancelled" else "failed",
        )  # fmt: skip
        span.error = "" if span.status == "ok" else str(attempt["outcome"])
        span.message = str(attempt["error"])
        span.model = span.endpoint = str(attempt["target"])
        span.policy, span.first_token, span.hedges = (
            call.policy,
            attempt["first_token_seconds"],
            int(attempt["is_hedge"]),
        )
        span.input_tokens, span.output_tokens = (
            int(attempt["input_tokens"] or 0),
            int(attempt["output_tokens"] or 0),
        )
        span.usd, span.usd_source, span.sent = (
            float(attempt["usd"] or 0.0),
            str(attempt["usd_source"]),
            1,
        )
        span.is_copy = call.is_copy
        self.trace.spans.append(span)
        self._finish(span)

    def _finish(self, span: Span) -> None:
        if not span.is_copy:
            self.finished.append(span)

    def _touch(self, body: Body) -> None:
        """The run lasted at least until this record."""
        at = body.get("at")
        if isinstance(at, int | float) and self.trace.seq >= self._copied_until:
            self._root.seconds = max(self._root.seconds or 0.0, float(at) - self._root.began)
            self.trace.seconds = self._root.seconds


def build_trace(head: RunHead, records: Iterable[Record], now: float) -> Trace:
    """The trace of a run as its records tell it."""
    builder = SpanBuilder(head)
    builder.take_all(records)
    return builder.close(head, now)


def _number(item: _Open) -> int:
    """The number of the attempt that ends: the one under way, else the one after the last that ended."""
    last = item.attempt
    return 1 if last is None else last.attempt + (last.seconds is not None)


def _requests(decision: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    """Every request of a decision, those of policies within policies instead of what stands for them."""
    for attempt in decision["attempts"]:
        if attempt.get("inner"):
            yield from _requests(attempt["inner"])
        else:
            yield attempt


_RUN_STATUS: Mapping[str, SpanStatus] = {
    "running": "running", "succeeded": "ok", "partial": "ok", "waiting": "waiting", "cancelled": "cancelled", "crashed": "lost"
}  # fmt: skip
_MAKERS: Mapping[str, Callable[[SpanBuilder, Body], None]] = {
    maker.__name__: maker
    for maker in (
        SpanBuilder.forked, SpanBuilder.started, SpanBuilder.entered, SpanBuilder.commit, SpanBuilder.routed, SpanBuilder.failed,
        SpanBuilder.retry, SpanBuilder.skipped, SpanBuilder.cancelled, SpanBuilder.asked, SpanBuilder.approved, SpanBuilder.starting,
        SpanBuilder.resumed, SpanBuilder.stopping, SpanBuilder.ended, SpanBuilder.call, SpanBuilder.unanswered,
    )
}  # fmt: skip

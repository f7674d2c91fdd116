"""From the records of a run to its spans, one record after the other, also while the run goes on.

Theory of operation. A record names its activation by path and id, and one activation of a path is
open at a time. So the span around a record is the open one at the path above, and at the top the
run's. Records copied from another run (a fork) make spans marked as copies.

A span ends once and is never opened again, since receivers keep what they got first. So each
engagement of a run has a span of the run, what is open at its end ends there, and what continues
afterwards (also a node inside of a sub-flow that is tried again) gets a span of its own with a link
to the one before, which is marked as continued: of an activation only the last outcome counts.
Questions alone stay open: a person's time belongs to no process.

A record of an unknown kind, or one that is not what its kind declares, is passed over and noted in
`Trace.faults`: the readable part of a damaged or newer run is shown.

Calls of tools are activations inside of their agent from format 5 on. A call that was not made,
such as one with wrong arguments, is known only by what the model read next; in older formats all
are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeAlias, cast

from graphorch.core.tree import EventWait
from graphorch.journal.engagements import EngagementReader
from graphorch.journal.errors import JournalDamaged
from graphorch.journal.record_kinds import RecordKind
from graphorch.journal.record_reader import read_body
from graphorch.journal.records import Record, RunHead
from graphorch.models.pricing.metering import is_uncharged
from graphorch.statuses import FINAL_STATUSES, SUCCESS_STATUSES, UNFINISHED_STATUSES
from graphorch.trace.spans.call_requests import CallRequest, find_answering, list_requests
from graphorch.trace.spans.flow_map import FlowMap
from graphorch.trace.spans.model import Span, SpanKind, SpanStatus, Trace, strip_index
from graphorch.trace_context import (
    PARENT,
    derive_activation_span_id,
    derive_attempt_span_id,
    derive_call_span_id,
    derive_run_span_id,
    derive_span_id,
    derive_trace_id,
    parse_parent,
    shorten_activation_id,
)

Body: TypeAlias = dict[str, Any]

_KINDS: Mapping[str, SpanKind] = {
    "map": "flow",
    "sub": "flow",
    "ask": "ask",
    "signal": "wait",
    "timer": "wait",
    "tool": "tool",
}
_TOOL_STATUSES: Mapping[str, SpanStatus] = {"failed": "handled", "refused": "skipped"}
_TOLD = "told"
"""Error of a tool call whose failure the model was told."""
_RUN_STATUSES: Mapping[str, SpanStatus] = {
    "running": "running",
    "succeeded": "ok",
    "partial": "ok",
    "waiting": "waiting",
    "cancelled": "cancelled",
    "crashed": "lost",
}


class _Misplaced(Exception):
    """A record that does not fit those before it."""


class _PendingTool(NamedTuple):
    """A tool call, number `number` of an answer, that no record of its round names (yet)."""

    call: Span
    number: int
    id: str
    name: str
    arguments: str
    asked_at: float


class _CalledTool(NamedTuple):
    """A tool call that is an activation: its step, and what is known of it before it runs."""

    step: str
    name: str
    arguments: str
    tool_call: str


class _AnnouncedCall(NamedTuple):
    """A model call whose end is not recorded, and the record that announced its last request."""

    span: Span
    body: Body


@dataclass(slots=True)
class _OpenActivation:
    """An activation: its last span, that of its attempt, and the tool calls in between.

    `seen` is the time of its last record, and `spans` counts its spans. `is_cut`: that record is of
    a model call that was cancelled.
    """

    span: Span
    attempt: Span | None = None
    attempt_began: float = 0.0
    seen: float = 0.0
    spans: int = 1
    calls: int = 0
    is_cut: bool = False
    tools: dict[str, _PendingTool] = field(default_factory=dict[str, _PendingTool])


class SpanBuilder:
    """Builds the spans of one run.

    Feed it with `take`; `trace` is what is known so far, and `take_finished` returns the spans that
    ended since its last call.
    """

    def __init__(self, head: RunHead) -> None:
        self._open: dict[str, _OpenActivation] = {}
        self._by_id: dict[str, _OpenActivation] = {}
        # Calls that were announced and have not ended, by number.
        self._announced: dict[int, _AnnouncedCall] = {}
        self._guessed: set[str] = set()  # ids of those whose requests are shown
        # The last activation of each sub-flow, map or agent with tool calls, by path.
        self._flows: dict[str, _OpenActivation] = {}
        # The last span that ended at each path: its routing may follow its end.
        self._last: dict[str, Span] = {}
        self._copied_until = 0
        self._engagements = EngagementReader()
        # Calls of tools that are activations, by path.
        self._tool_calls: dict[str, _CalledTool] = {}
        # Questions at gates, by the id of their activation.
        self._questions: dict[str, Span] = {}
        self._finished: list[Span] = []
        self.last_call: Span | None = None
        """The model call whose end was read last."""
        self.flow = FlowMap(None)
        self._head = head
        parent = parse_parent(head.tags.get(PARENT, ""))
        self._remote_parent = "" if parent is None else parent.span_id
        self._root = self._build_root(1)
        self.trace = Trace(
            run_id=head.run_id,
            flow=head.flow,
            status=head.status,
            reason="",
            tags=dict(head.tags),
            parent=head.parent,
            began=head.created_at,
            seconds=None,
            budget=None,
            seq=0,
            spans=[self._root],
        )

    def take_all(self, records: Iterable[Record]) -> None:
        """Read records, in order."""
        for record in records:
            self.take(record)

    def take(self, record: Record) -> Body | None:
        """Read one record, and return its body; None if it was erased or does not fit its kind."""
        body = None if record.is_erased else self._read(record)
        self.trace.seq = record.seq
        return body

    def _read(self, record: Record) -> Body | None:
        try:
            body = read_body(self.trace.run_id, record)
        except JournalDamaged as error:
            self.trace.faults.append(str(error))
            return None
        kind = cast("RecordKind", record.kind)
        if record.seq > self._copied_until:
            self._take_time(kind, body)
        handle = HANDLERS.get(kind)
        try:
            if handle is not None:
                handle(self, body)
        except _Misplaced as error:
            self.trace.faults.append(f"Run '{self.trace.run_id}', record {record.seq}: {error}")
            return None
        return body

    def find_last(self, path: str) -> Span | None:
        """Return the span of the activation at a path that ended last."""
        return self._last.get(path)

    def find_activation(self, id: str) -> Span | None:
        """Return the last span of an activation, by its id."""
        activation = self._by_id.get(shorten_activation_id(id))
        return None if activation is None else activation.span

    def list_open(self) -> list[str]:
        """Return the beginnings of the ids of the activations that are open, or ask something."""
        asking = [span.activation for span in self._questions.values() if span.seconds is None]
        return [*(each.span.activation for each in self._open.values()), *asking]

    def name_step(self, path: str) -> str:
        """Return the path without the indices of map items and of tool calls."""
        call = self._tool_calls.get(path)
        if call is not None:
            return call.step
        above, slash, name = path.rpartition("/")
        if "#" in above:
            # It may be inside of a flow that is called as a tool.
            return f"{self.name_step(above)}{slash}{strip_index(name)}"
        return strip_index(path)

    def take_finished(self) -> list[Span]:
        """Return the spans that ended since the last call, without copies."""
        finished, self._finished = self._finished, []
        return finished

    def close(self, head: RunHead) -> Trace:
        """Return the trace with the status of the head of the run.

        An open span is running, or lost if the run is over or no process holds its lease any more.
        """
        trace = self.trace
        trace.status = head.status
        has_crashed = is_crashed(head)
        if has_crashed:
            trace.status = trace.reason = "crashed"
        is_over = has_crashed or head.status not in UNFINISHED_STATUSES
        for activation in self._open.values():
            for span in (activation.span, activation.attempt):
                if span is not None and span.status in ("running", "lost"):
                    span.status = "lost" if is_over else "running"
        for call in self._announced.values():
            self._show_announced(call, "lost" if is_over else "running")
        self._set_root_status()
        return trace

    # ---- one handler per kind of record --------------------------------------------------------
    def on_forked(self, body: Body) -> None:
        """Note how many records were copied from another run, and link to it."""
        self._copied_until = 1 + int(body["copied"])
        origin = parse_parent(body.get("trace", ""))
        if origin is not None:
            self._root.origin = origin.trace_id, origin.span_id
        else:
            # Formats before 4 do not say in which trace it was: its own, most likely.
            self._root.origin = derive_trace_id(body["from"]), derive_run_span_id(body["from"])

    def on_started(self, body: Body) -> None:
        """Read the flow, the beginning and the budget of the run."""
        self.flow = FlowMap(body.get("flow"))
        self.on_rules(body)

    def on_rules(self, body: Body) -> None:
        """Read the budget that the run has from here on."""
        budget = body.get("budget")
        if isinstance(budget, dict):
            usd = cast("Body", budget).get("usd")
            self.trace.budget = None if usd is None else float(usd)

    def on_entered(self, body: Body) -> None:
        """Open the span of a sub-flow or map."""
        self._activation(body, body["at"])

    def on_tools(self, body: Body) -> None:
        """Note the calls of a round, which have spans of their own once a record is about them."""
        agent = self._flows[body["path"]] = self._activation(body)
        pending = {tool.number: tool for tool in agent.tools.values()}
        for call in body["calls"]:
            name, index = str(call["tool"]), int(call["index"])
            asked = pending.pop(index, None)
            if asked is not None:
                del agent.tools[asked.id]
            path = f"{body['path']}/{body['label']}/{name}#{index}"
            arguments = json.dumps(call["arguments"], ensure_ascii=False)
            id_ = "" if asked is None else asked.id
            step = f"{self.name_step(body['path'])}/{name}"
            self._tool_calls[path] = _CalledTool(step, name, arguments, id_)

    def on_commit(self, body: Body) -> None:
        """End an activation that succeeded."""
        activation = self._activation(body, body.get("began"))
        if activation.span.is_copy:
            # A fork does not know the pauses of the old run; the commit says when it went on.
            activation.span.began = max(activation.span.began, float(body.get("began") or 0.0))
        if activation.span.role == "tool":
            self._end_tool_call(activation, body)
        else:
            self._end(activation, body, "ok")
        if "route" in body:
            self._set_loop(body["path"], body["route"])

    def _end_tool_call(self, activation: _OpenActivation, body: Body) -> None:
        """End a tool call with what the model reads of it; a person may have taken its place."""
        span = activation.span
        update: Body = body["update"]
        # A value that is the default of its field is not part of an update.
        span.outcome = str(update.get("outcome", "ok"))
        is_decided = self._end_question(body, "ok")
        if is_decided:
            # Nothing ran: a person's time is not that of the call.
            span.began = float(body["at"])
        if span.outcome in ("failed", "refused"):
            span.error = _TOLD if span.outcome == "failed" else span.outcome
            span.message = str(update.get("text", ""))
        status = _TOOL_STATUSES.get(span.outcome, "ok")
        self._end(activation, body, status, has_attempt=not is_decided)

    def on_routed(self, body: Body) -> None:
        """Note the loop that an activation went back to after its commit."""
        self._set_loop(body["path"], body)

    def on_failed(self, body: Body) -> None:
        """End an attempt that failed, and its activation unless a retry follows."""
        self._end_question(body, "failed")
        activation = self._activation(body, body.get("began"))
        span = activation.span
        error, message = str(body["error"]), str(body["message"])
        if span.has_attempts:
            number = int(body["attempt"])
            hedge = body.get("hedge")
            at = float(body["at"])
            self._end_attempt(activation, number, at, "failed", error, message, hedge=hedge)
        if body["retry_after"] is None:
            span.error, span.message = error, message
            is_handled = int(body["handler"]) >= 0
            status: SpanStatus = "handled" if is_handled else "failed"
            self._end(activation, body, status, has_attempt=False)

    def on_retry(self, body: Body) -> None:
        """Begin the next attempt of an activation."""
        self._activation(body).attempt_began = float(body["at"])

    def on_skipped(self, body: Body) -> None:
        """End an activation that could not start."""
        activation = self._activation(body, body["at"])
        activation.span.message = str(body["reason"])
        self._end(activation, body, "skipped", has_attempt=False)

    def on_cancelled(self, body: Body) -> None:
        """End an activation that was cancelled."""
        self._end(self._activation(body, body.get("began")), body, "cancelled")

    def on_asked(self, body: Body) -> None:
        """Open the span of a question: of a node that asks, or of a gate before or after a node."""
        if self.flow.kind(body["path"]) == "ask":
            span = self._activation(body, body["at"]).span
        else:
            span = self._open_question(body)
        span.status, span.message = "waiting", str(body["text"])

    def on_waiting(self, body: Body) -> None:
        """Begin the wait of a node for a signal, or for a time."""
        span = self._activation(body, body["at"]).span
        signal = body.get("signal", "")
        span.status = "waiting"
        span.message = EventWait(signal, body.get("key", ""), body["due"]).describe()

    def on_approved(self, body: Body) -> None:
        """End the question of a gate; a tool call may go on with other arguments."""
        self._end_question(body, "ok")
        if "arguments" in body:
            span = self._activation(body).span
            span.arguments = json.dumps(body["arguments"], ensure_ascii=False)

    def on_starting(self, body: Body) -> None:
        """Open the span of an activation whose effect must not happen twice."""
        self._activation(body)

    def on_ended(self, body: Body) -> None:
        """End the engagement, and what is still open in it."""
        self.trace.status, self.trace.reason = str(body["status"]), str(body["reason"])
        self._set_root_status()
        self._end_engagement("cancelled", self._engagements.last)

    def on_sending(self, body: Body) -> None:
        """Open the span of a model call, whose cost is not known unless its end is recorded."""
        announced = self._announced.get(body["call"])
        span = self._open_call(body)[1] if announced is None else announced.span
        self._announced[body["call"]] = _AnnouncedCall(span, body)
        span.model = span.asked = str(body["model"])
        span.began = span.began or float(body.get("began") or 0.0)
        self._set_charge(span, body["charge"], "")

    def on_call(self, body: Body) -> None:
        """Add a model call with its requests and the tool calls that it asks for."""
        activation, span = self._open_call(body)
        self.last_call = span
        response: Body = body["response"]
        usage: Body = response["usage"]
        self._end_tools(activation, body)
        self._describe_request(span, body["asked"])
        span.finish_reason, span.server = str(response["finish_reason"]), str(response["server"])
        span.status = "ok"
        span.model = str(response["model"])
        span.seconds = float(response["seconds"])
        span.began = float(body.get("began") or activation.span.began)
        span.input_tokens = usage["input_tokens"]
        span.output_tokens = usage["output_tokens"]
        span.cached_tokens = usage["cached_tokens"]
        span.estimated = int(usage["is_estimated"])
        span.usd, span.usd_source = float(response["usd"]), str(response["usd_source"])
        span.first_token, span.sent = response["first_token_seconds"], int(response["attempts"])
        span.from_cache = span.sent == 0
        # Records before format 3 have no charge.
        span.unpriced = int(span.usd_source == "none" and span.sent > 0)
        span.booked_usd, span.booked_tokens = span.usd, span.input_tokens + span.output_tokens
        if "charge" in body:
            self._set_charge(span, body["charge"], span.usd_source)
        span.findings = [finding for finding in response["findings"] if isinstance(finding, dict)]
        for request in self._add_requests(span, body, response["decision"]):
            self._finish(request)
        asked_at = float(body.get("at") or 0.0)
        for number, tool in enumerate(response["tool_calls"]):
            id_, name, arguments = str(tool["id"]), str(tool["name"]), str(tool["arguments"])
            pending = _PendingTool(span, number, id_, name, arguments, asked_at)
            activation.tools[id_] = pending
        self._finish(span)

    def on_unanswered(self, body: Body) -> None:
        """Add a model call that failed."""
        activation, span = self._open_call(body)
        self.last_call = span
        self._end_tools(activation, body)
        self._describe_request(span, body["asked"])
        span.server = str(body.get("server", ""))
        usage: Body = body["usage"] or {}
        error = str(body["error"])
        activation.is_cut = error == "cancelled"
        span.status = "cancelled" if activation.is_cut else "failed"
        span.error, span.message = error, str(body["message"])
        span.model = str(body["model"])
        span.began = float(body["began"])
        span.seconds = float(body["at"]) - span.began
        span.input_tokens = int(usage.get("input_tokens", 0))
        span.output_tokens = int(usage.get("output_tokens", 0))
        span.estimated = int(usage.get("is_estimated", False))
        span.usd, span.sent = float(body.get("usd") or 0.0), 1
        # Records before format 3 have no charge.
        is_priced = body.get("usd") is not None or is_uncharged(body["status"])
        span.unpriced, span.usd_source = int(not is_priced), "" if is_priced else "none"
        span.booked_usd, span.booked_tokens = span.usd, span.input_tokens + span.output_tokens
        if "charge" in body:
            self._set_charge(span, body["charge"], "")
        for request in self._add_requests(span, body, body["decision"]):
            self._finish(request)
        self._finish(span)

    def _describe_request(self, call: Span, asked: Body) -> None:
        """Note what a model was asked for."""
        call.asked, call.output = str(asked["model"]), str(asked["output"] or "")
        call.max_tokens, call.temperature = asked.get("max_tokens"), asked.get("temperature")

    # ---- activations and attempts --------------------------------------------------------------
    def _activation(self, body: Body, began: Any = None) -> _OpenActivation:
        """Return the activation that a record is about; the first such record opens its span."""
        path, id_ = str(body["path"]), shorten_activation_id(str(body["id"]))
        activation = self._by_id.get(id_)
        if activation is None:
            span = self._open_span(path, id_, 1)
            activation = self._by_id[id_] = _OpenActivation(span)
        # Otherwise a span could come to lie inside of itself.
        elif activation.span.path != path:
            raise _Misplaced(
                f"it gives '{path}' the id of '{activation.span.path}'. The journal is damaged."
            )
        elif activation.span.seconds is not None:
            self._continue(activation)
        self._open[path] = activation
        if activation.span.kind == "flow":
            self._flows[path] = activation
        span, question = activation.span, self._questions.get(id_)
        if began and not span.began:
            span.began = max(float(began), self._engagements.began)
            if question is not None:
                span.began = max(span.began, question.ended or 0.0)
        activation.seen = max(activation.seen, float(body.get("at") or 0.0))
        activation.is_cut = False
        return activation

    def _open_span(self, path: str, activation: str, number: int) -> Span:
        """Open span `number` of an activation, inside of the open span around it."""
        call = self._tool_calls.get(path)
        role = self.flow.kind(path) if call is None else "tool"
        kind = _KINDS.get(role, "node")
        id_ = derive_activation_span_id(self.trace.run_id, activation, number)
        span = self._build_span(path, activation, kind, id_)
        span.role = role
        if call is not None:
            span.arguments, span.tool_call = call.arguments, call.tool_call
        return span

    def _build_span(self, path: str, activation: str, kind: SpanKind, id_: str) -> Span:
        above, _, node = path.rpartition("/")
        call = self._tool_calls.get(path)
        if call is not None:
            above, node = above.rpartition("/")[0], call.name
        elif above.endswith("]"):
            above = above.rpartition("[")[0]
        parent = self._find_around(above) or self._root.id
        step = self.name_step(path)
        span = Span(id_, parent, kind, path, step, node, step.count("/") + 1, 1, 0.0)
        span.activation = activation
        span.engagement = self._root.engagement
        span.is_copy = self.trace.seq < self._copied_until
        self.trace.spans.append(span)
        return span

    def _find_around(self, path: str) -> str:
        """Return the id of the open span of what is around a node or tool call, "" without one."""
        activation = self._open.get(path) or self._flows.get(path)
        if activation is None:
            return ""
        last = activation.span
        if last.seconds is not None and last.status not in ("ok", "handled", "skipped"):
            # It failed, and what is inside of it runs again before it is heard of itself.
            self._continue(activation)
            activation.span.began = max(self._engagements.began, last.ended or 0.0)
            self._open[path] = activation
        return activation.span.id

    def _continue(self, activation: _OpenActivation) -> None:
        """Open another span of an activation whose last one has ended."""
        last = activation.span
        activation.spans += 1
        span = self._open_span(last.path, last.activation, activation.spans)
        span.attempt = last.attempt
        if not last.is_copy:
            span.link, last.is_continued = (last.engagement, last.id), True
        activation.span, activation.attempt_began = span, 0.0
        attempt = activation.attempt
        if attempt is not None and last.is_copy and not span.is_copy:
            # A fork counts attempts anew: this one is its own from here on, the calls before not.
            attempt.parent, attempt.engagement = span.id, span.engagement
            attempt.is_copy, attempt.began = False, 0.0
            attempt.seconds, attempt.status = None, "running"

    # ---- questions at gates --------------------------------------------------------------------
    def _open_question(self, body: Body) -> Span:
        """Open the span of a question that a gate asks: its time is not that of the node."""
        path, id_ = str(body["path"]), shorten_activation_id(str(body["id"]))
        seq = self.trace.seq
        span = self._build_span(
            path, id_, "ask", derive_span_id(self.trace.run_id, id_, "ask", seq)
        )
        span.began = float(body["at"])
        self._questions[id_] = span
        return span

    def _end_question(self, body: Body, status: SpanStatus) -> bool:
        """End the question at a gate; return whether there was an open one."""
        span = self._questions.get(shorten_activation_id(str(body["id"])))
        if span is None or span.seconds is not None:
            return False
        self._end_span(span, float(body["at"]), status)
        return True

    def _add_child(
        self, parent: Span, kind: SpanKind, id_: str, *, node: str = "", began: float = 0.0
    ) -> Span:
        """Open a span inside of an activation's, at its path."""
        span = Span(
            id_,
            parent.id,
            kind,
            parent.path,
            parent.step,
            node or parent.node,
            parent.level,
            parent.attempt,
            began,
            activation=parent.activation,
            engagement=parent.engagement,
            is_copy=parent.is_copy,
        )
        self.trace.spans.append(span)
        return span

    def _attempt(self, activation: _OpenActivation, number: int) -> Span:
        """Return the span of attempt `number`, which may have to be opened."""
        attempt = activation.attempt
        is_at_rest = attempt is not None and attempt.status == "waiting"
        if attempt is None or attempt.attempt != number or is_at_rest:
            span = activation.span
            began = activation.attempt_began or span.began
            id_ = derive_attempt_span_id(self.trace.run_id, span.activation, number)
            if is_at_rest:
                # The same attempt goes on, in a span of another engagement.
                id_ = derive_span_id(id_, span.engagement)
            attempt = self._add_child(span, "attempt", id_, began=began)
            attempt.attempt = number
            activation.attempt = attempt
        return attempt

    def _end_attempt(
        self,
        activation: _OpenActivation,
        number: int,
        at: float,
        status: SpanStatus,
        error: str = "",
        message: str = "",
        hedge: Body | None = None,
    ) -> None:
        attempt = self._attempt(activation, number)
        attempt.began = attempt.began or activation.span.began
        attempt.seconds, attempt.status = max(0.0, at - attempt.began), status
        attempt.error, attempt.message = error, message
        if hedge is not None:
            self._add_hedge(activation.span, attempt, hedge, at)
        activation.span.attempt = number
        activation.attempt_began = 0.0
        activation.tools.clear()
        self._finish(attempt)

    def _add_hedge(self, activation: Span, attempt: Span, hedge: Body, at: float) -> None:
        """Add the second copy of an attempt, which ran beside it; one of both was cancelled."""
        is_taken, began = bool(hedge["is_taken"]), float(hedge["began"])
        id_ = derive_span_id(attempt.id, "hedge")
        copy = self._add_child(activation, "attempt", id_, began=began)
        copy.attempt, copy.hedges, copy.seconds = attempt.attempt, 1, max(0.0, at - began)
        outcome = attempt.status
        if outcome == "ok":
            copy.status, attempt.status = ("ok", "cancelled") if is_taken else ("cancelled", "ok")
        else:
            copy.status = outcome
        self._finish(copy)

    def _end(
        self,
        activation: _OpenActivation,
        body: Body,
        status: SpanStatus,
        *,
        has_attempt: bool = True,
    ) -> None:
        """End an activation, and its attempt if it `has_attempt` that has not ended yet."""
        at = float(body["at"])
        span = activation.span
        if has_attempt and span.has_attempts:
            number = int(body.get("attempt") or 0) or _number_attempt(activation)
            self._end_attempt(activation, number, at, status, hedge=body.get("hedge"))
        if "held" in body:
            span.held = max(0.0, span.began - float(body["held"]))
        if status == "ok":
            span.error = span.message = ""
        span.is_late = bool(body.get("late"))
        self._last[span.path] = span
        self._open.pop(span.path, None)
        self._end_span(span, at, status)

    def _end_span(self, span: Span, at: float, status: SpanStatus) -> None:
        span.began = span.began or at
        span.seconds, span.status = max(0.0, at - span.began), status
        self._finish(span)

    def _set_loop(self, path: str, route: Body) -> None:
        span = self._last.get(path)
        if span is not None:
            loop, exhausted = int(route["loop"]), int(route["exhausted"])
            _, span.loop = self.flow.taken(path, loop, exhausted, route["edges"])

    # ---- model calls ---------------------------------------------------------------------------
    def _set_charge(self, call: Span, charge: Mapping[str, Any], source: str) -> None:
        """Note what all requests of a call were charged, as far as it is known."""
        call.usd = float(charge["usd"])
        call.usd_source = "none" if charge["unpriced"] else source
        call.input_tokens = int(charge["input_tokens"])
        call.output_tokens = int(charge["output_tokens"])
        call.sent = int(charge["requests"])
        call.unpriced = int(charge["unpriced"])
        call.booked_usd = float(charge["booked_usd"])
        call.booked_tokens = int(charge["booked_tokens"])

    def _open_call(self, body: Body) -> tuple[_OpenActivation, Span]:
        """Return the span of a call: the one that was announced, else a new one."""
        number = int(body["attempt"])
        activation = self._find_ended(body, number) or self._activation(body, body.get("began"))
        if (announced := self._announced.pop(body.get("call", 0), None)) is not None:
            self._hide_announced(announced)
            return activation, announced.span
        attempt = self._attempt(activation, number)
        attempt.began = attempt.began or float(body.get("began") or 0.0)
        activation.calls += 1
        run_id, id_ = self.trace.run_id, attempt.activation
        if (call := body.get("call")) is not None:
            return activation, self._add_child(attempt, "call", derive_call_span_id(run_id, call))
        # Formats before 3 do not number the calls of a run.
        id_ = derive_span_id(run_id, id_, number, activation.calls)
        return activation, self._add_child(attempt, "call", id_)

    def _find_ended(self, body: Body, number: int) -> _OpenActivation | None:
        """Return an activation whose attempt has ended already; its call was cancelled by that."""
        activation = self._by_id.get(shorten_activation_id(str(body["id"])))
        if activation is None or activation.span.seconds is None or activation.attempt is None:
            return None
        if activation.span.status == "waiting":
            return None  # it goes on after its tool calls waited for people
        if activation.span.is_copy and self.trace.seq >= self._copied_until:
            return None  # a fork makes this call in an attempt of its own
        return activation if number <= activation.attempt.attempt else None

    def _show_announced(self, call: _AnnouncedCall, status: SpanStatus) -> list[Span]:
        """Show a call whose end is not known as its announcement says, with its requests."""
        self._hide_announced(call)
        self._guessed.add(call.span.id)
        call.span.status = status
        call.span.hedges = call.span.retries = call.span.fallbacks = 0
        requests = self._add_requests(call.span, call.body, None)
        for request in requests:
            if request.status == "lost":
                request.status = status
        return requests

    def _hide_announced(self, call: _AnnouncedCall) -> None:
        """Take out what `_show_announced` added, now that more is known."""
        if call.span.id in self._guessed:
            self._guessed.remove(call.span.id)
            self.trace.spans[:] = [item for item in self.trace.spans if item.parent != call.span.id]

    def _end_tools(self, activation: _OpenActivation, body: Body) -> None:
        """Add the tool calls that are no activations, and whose results a request holds.

        Journals before format 5 have no times of tools: those of one answer share the time between
        two calls of the model. From then on they are calls that were not made.
        """
        request: Body = body.get("asked") or {}
        for message in request.get("messages", ()):
            tool = activation.tools.pop(str(message.get("answers", "")), None)
            if tool is None:
                continue
            id_ = derive_span_id(tool.call.id, "tool", tool.number)
            span = self._add_child(tool.call, "tool", id_, node=tool.name, began=tool.asked_at)
            span.step = f"{tool.call.step}/{tool.name}"
            span.tool_call, span.arguments = tool.id, tool.arguments
            span.seconds = 0.0
            if not self.flow.records_tools:
                span.seconds = max(0.0, float(body["began"]) - tool.asked_at)
            text = str(message["content"])
            if text.startswith("Error:"):
                span.status, span.error, span.message = "handled", _TOLD, text
                span.outcome = "failed"
            else:
                span.status, span.outcome = "ok", "ok"
            self._finish(span)

    def _add_requests(
        self, call: Span, body: Body, decision: Mapping[str, Any] | None
    ) -> list[Span]:
        """Note whom a call asked; add and return a span for each request of a policy or of several.

        They are not finished yet.
        """
        requests = list_requests(body, decision, call)
        call.policy = str(decision["policy"]) if decision else ""
        call.failed_sent = sum(request.has_failed for request in requests)
        call.unusable = sum(request.is_unusable for request in requests)
        answering = find_answering(requests, decision)
        if answering is not None:
            call.endpoint = answering.target
            if call.status == "ok":
                answering.model = call.model
            elif "requests" in body:
                call.model = answering.model
        if not decision and len(requests) <= 1:
            self._count_plain(call, requests)
            return []
        call.has_requests = bool(requests)
        spans: list[Span] = []
        targets: set[str] = set()
        for number, request in enumerate(requests):
            span = self._add_request(call, request, number)
            if request.is_hedge:
                span.hedges = 1
            elif request.target in targets:
                span.retries = 1
            elif targets:
                span.fallbacks = 1
            if request is answering:
                span.estimated = call.estimated
            if request is answering and call.status == "ok":
                span.cached_tokens = call.cached_tokens
            call.hedges += span.hedges
            call.retries += span.retries
            call.fallbacks += span.fallbacks
            targets.add(request.target)
            spans.append(span)
        return spans

    def _count_plain(self, call: Span, requests: Sequence[CallRequest]) -> None:
        """Count the requests of a call that no policy made, and that stand for themselves."""
        call.retries = max(0, call.sent - 1)
        if not requests:
            call.failed_sent = call.retries + (call.status == "failed" and call.sent > 0)

    def _add_request(self, call: Span, request: CallRequest, number: int) -> Span:
        id_ = derive_span_id(call.id, "request", number)
        span = self._add_child(call, "request", id_, began=request.began)
        span.seconds, span.status = request.seconds, request.status
        span.error = "" if span.status == "ok" else request.outcome
        span.message = request.message
        span.model, span.endpoint, span.policy = request.model, request.target, call.policy
        span.first_token = request.first_token
        span.input_tokens, span.output_tokens = request.input_tokens, request.output_tokens
        span.usd, span.usd_source = request.usd, request.usd_source
        span.unpriced = request.unpriced
        span.booked_usd, span.booked_tokens = request.booked_usd, request.booked_tokens
        span.sent = request.sent
        span.failed_sent, span.unusable = int(request.has_failed), int(request.is_unusable)
        return span

    # ---- engagements ---------------------------------------------------------------------------
    def _take_time(self, kind: RecordKind, body: Body) -> None:
        """Let the run last until a record, and begin the engagement that begins with it."""
        engagements = self._engagements
        was_lost, last = engagements.is_open, engagements.last
        if engagements.take(kind, body):
            if engagements.number == 1:
                self._root.began = self.trace.began = engagements.began
            else:
                if was_lost:
                    self._lose_engagement(last)
                self._continue_run(engagements.number)
            self.trace.status, self.trace.reason = "running", ""
            for activation in list(self._open.values()):
                # What is inside of a sub-flow or map goes on inside of its new span.
                span = activation.span
                if span.kind != "flow" and span.is_copy:
                    # It begins anew in a fork, with the first record of its own.
                    span.seconds, span.status = 0.0, "cancelled"
                elif span.kind == "flow" and (span.is_copy or span.seconds is not None):
                    self._continue(activation)
                    activation.span.began = engagements.began
        self._root.seconds = engagements.last - engagements.began
        self.trace.seconds = engagements.seconds

    def _continue_run(self, number: int) -> None:
        last = self._root
        last.is_continued = True
        self._root = self._build_root(number)
        self._root.link, self._root.began = (number - 1, last.id), self._engagements.began
        self.trace.spans.append(self._root)

    def _build_root(self, number: int) -> Span:
        id_ = derive_run_span_id(self._head.run_id, number)
        flow, began = self._head.flow, self._head.created_at
        # A later engagement has a trace of its own.
        parent = self._remote_parent if number == 1 else ""
        return Span(id_, parent, "run", "", "", flow, 0, 1, began, engagement=number)

    def _lose_engagement(self, at: float) -> None:
        """End an engagement whose process went without a word, at the last sign of it."""
        self._root.status, self._root.error = "lost", "crashed"
        self._end_engagement("lost", at)

    def _end_engagement(self, status: SpanStatus, at: float) -> None:
        """End what is open, with a status for what was interrupted, and the span of the run."""
        for activation in list(self._open.values()):
            self._interrupt(activation, status, at)
        for call in self._announced.values():
            call.span.began = call.span.began or at
            for request in self._show_announced(call, "lost"):
                self._finish(request)
            self._end_span(call.span, at, "lost")
        self._announced.clear()
        if self.trace.status in FINAL_STATUSES:
            for question in self._questions.values():
                if question.seconds is None:
                    self._end_span(question, at, "cancelled")
        self._finish(self._root)

    def _interrupt(self, activation: _OpenActivation, status: SpanStatus, at: float) -> None:
        span, attempt = activation.span, activation.attempt
        is_final = self.trace.status in FINAL_STATUSES
        if span.kind in ("ask", "wait") and span.status == "waiting" and not is_final:
            return
        if self.trace.status in SUCCESS_STATUSES or activation.is_cut:
            # A join that needed others only has cancelled it earlier: at least it lasted so long.
            at = max(activation.seen, span.began)
        if span.kind == "flow":
            # It stays in `_open`: what is inside may continue.
            self._end_span(span, at, "waiting" if self.trace.status == "waiting" else status)
            return
        if self.trace.status == "waiting":
            # An agent at rest: its tool calls wait for people. It is continued with one of them.
            status = "waiting"
        self._open.pop(span.path)
        if attempt is not None and attempt.status == "failed" and not activation.attempt_began:
            # It waited for its next attempt.
            span.error, span.message = attempt.error, attempt.message
            self._end_span(span, attempt.ended or at, "failed")
            return
        if attempt is not None:
            self._end_attempt(activation, _number_attempt(activation), at, status)
        self._end_span(span, at, status)

    # ---- the run -------------------------------------------------------------------------------
    def _finish(self, span: Span) -> None:
        if not span.is_copy:
            self._finished.append(span)

    def _set_root_status(self) -> None:
        root = self._root
        root.status = _RUN_STATUSES.get(self.trace.status, "failed")
        root.error = self.trace.reason if root.status == "failed" else ""


def build_trace(head: RunHead, records: Iterable[Record]) -> Trace:
    """Return the trace of a run from its records."""
    builder = SpanBuilder(head)
    builder.take_all(records)
    return builder.close(head)


def is_crashed(head: RunHead) -> bool:
    """Return whether a run is under way by its status, but no process holds its lease."""
    return head.status == "running" and not head.is_under_way


def _number_attempt(activation: _OpenActivation) -> int:
    """Return the number of the attempt that ends: the open one, or the next after a closed one."""
    last = activation.attempt
    if last is None:
        return 1
    if last.status == "waiting":
        return last.attempt  # it rested while its tool calls waited for people
    return last.attempt if last.seconds is None else last.attempt + 1


HANDLERS: Final[Mapping[RecordKind, Callable[[SpanBuilder, Body], None]]] = {
    "started": SpanBuilder.on_started,
    "rules": SpanBuilder.on_rules,
    "forked": SpanBuilder.on_forked,
    "commit": SpanBuilder.on_commit,
    "routed": SpanBuilder.on_routed,
    "entered": SpanBuilder.on_entered,
    "tools": SpanBuilder.on_tools,
    "failed": SpanBuilder.on_failed,
    "skipped": SpanBuilder.on_skipped,
    "cancelled": SpanBuilder.on_cancelled,
    "asked": SpanBuilder.on_asked,
    "waiting": SpanBuilder.on_waiting,
    "approved": SpanBuilder.on_approved,
    "retry": SpanBuilder.on_retry,
    "starting": SpanBuilder.on_starting,
    "sending": SpanBuilder.on_sending,
    "call": SpanBuilder.on_call,
    "unanswered": SpanBuilder.on_unanswered,
    "ended": SpanBuilder.on_ended,
}
"""Handlers by kind of record."""

IGNORED_KINDS: Final[frozenset[RecordKind]] = frozenset(
    {
        "stopping",
        "grace",
        "continued",
        "resumed",
        "listed",
        "migrated",
        "pinned",
        "reviewed",
        "signal",
    }
)
"""Kinds of records that change no span."""

"""Activations of a run as its records tell of them, without its flow: a row for each.

A record that is not what its kind declares is named and left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from graphorch.journal.errors import JournalDamaged
from graphorch.journal.record_kinds import RecordKind
from graphorch.journal.record_reader import read_body
from graphorch.journal.records import RunLog
from graphorch.statuses import TOOL_OUTCOMES
from graphorch.trace.spans.builder import build_trace
from graphorch.trace.spans.model import Span
from graphorch.trace.spans.redaction import Redaction
from graphorch.trace_context import shorten_activation_id
from graphorch.views.runs.waits import KeptSignals, SignalCount

_STATUS_AFTER: Mapping[RecordKind, str] = {
    "commit": "done",
    "asked": "waiting",
    "waiting": "waiting",
    "approved": "running",
    "starting": "running",
    "skipped": "skipped",
    "cancelled": "cancelled",
    "failed": "failed",
}


@dataclass(slots=True)
class StepRow:
    """An activation: its status so far, and what its model calls used, failed ones too.

    Of a tool call, `tool` is the name of the tool, `arguments` are what it runs with, and `result`
    is what the model reads. `asks`: its question is open. `waits`: for a `signal` with a `key`, or
    for a time if it has none; `due` is when the time has come (None: never), or a signal is not
    waited for any more.

    `unpriced` requests have an unknown price, and are not part of `usd`; `booked_usd` is what
    budgets count, with the worst case of those.
    """

    path: str
    activation: str
    status: str = "running"
    attempts: int = 1
    began: float = 0.0
    ended: float = 0.0
    calls: int = 0
    tokens: int = 0
    usd: float = 0.0
    unpriced: int = 0
    booked_usd: float = 0.0
    tool: str = ""
    agent: str = ""
    arguments: dict[str, Any] | None = None
    result: str = ""
    asks: bool = False
    question: str = ""
    waits: bool = False
    signal: str = ""
    key: str = ""
    due: float | None = None
    error: str = ""
    notes: list[str] = field(default_factory=list[str])


def build_step_rows(log: RunLog) -> tuple[list[StepRow], list[KeptSignals], list[str]]:
    """Return the activations of a run in the order in which records first name them.

    Calls of tools follow their agent, in the order in which the model made them. Also returns the
    signals that are kept, and what is wrong with records that had to be left out.
    """
    reader, faults = StepReader(), list[str]()
    for record in log.records:
        if record.is_erased:
            continue
        try:
            reader.take(record.kind, read_body(log.head.run_id, record))
        except JournalDamaged as error:
            faults.append(str(error))
    rows = reader.list_rows()
    _add_spans(log, rows)
    _redact(reader.secrets, rows)
    return rows, reader.signals.list_kept(), faults


class StepReader:
    """Makes rows of records, one record after the other.

    `secrets` are the names of the fields that the flow hides.
    """

    def __init__(self) -> None:
        self.signals = SignalCount()
        self.secrets: frozenset[str] = frozenset()
        self._rows: dict[str, StepRow] = {}
        # Calls of tools, by the activation of their agent.
        self._inside: dict[str, list[StepRow]] = {}
        self._called: dict[str, StepRow] = {}  # the last call of a tool at each path

    def take(self, kind: str, body: Mapping[str, Any]) -> None:
        """Read the body of a record, which is what its kind declares."""
        self.signals.feed(kind, body)
        if kind == "started":
            self.secrets = frozenset(body["flow"].get("secrets", ()))
        if "id" in body:
            id_ = body["id"]
            row = self._rows.get(id_) or self._called.get(body["path"])
            row = self._rows[id_] = row or StepRow(body["path"], "")
            row.activation = id_
            _apply(row, cast("RecordKind", kind), body)
        if kind == "tools":
            calls = _list_calls(body)
            self._inside.setdefault(body["id"], []).extend(calls)
            self._called |= {call.path: call for call in calls}

    def list_rows(self) -> list[StepRow]:
        """Return the rows so far, without times and model calls."""
        nodes = [row for row in self._rows.values() if not row.tool]
        return [item for row in nodes for item in (row, *self._inside.get(row.activation, ()))]


def _redact(secrets: frozenset[str], rows: Iterable[StepRow]) -> None:
    """Hide secrets in what tools were called with, and in what they returned."""
    redaction = Redaction(fields=secrets)
    for row in rows:
        if row.tool:
            row.arguments = redaction.data(row.arguments)
            row.result = redaction.json(row.result)


def _list_calls(body: Mapping[str, Any]) -> list[StepRow]:
    """Return a row for each call of a round, of which no more is known yet."""
    return [
        StepRow(
            f"{body['path']}/{body['label']}/{call['tool']}#{call['index']}",
            "",
            "called",
            tool=call["tool"],
            agent=body["path"],
            arguments=call["arguments"],
        )
        for call in body["calls"]
    ]


def _apply(row: StepRow, kind: RecordKind, body: Mapping[str, Any]) -> None:
    """Take a record of an activation into account."""
    row.status = _STATUS_AFTER.get(kind, row.status)
    if kind in _STATUS_AFTER:
        row.asks, row.waits = kind == "asked", kind == "waiting"
    if kind == "commit":
        row.notes = list(body.get("notes", ()))
        if row.tool:
            row.result = body["update"].get("text", "")
            row.status = TOOL_OUTCOMES.get(body["update"].get("outcome", ""), row.status)
    elif kind == "approved":
        row.arguments = body.get("arguments", row.arguments)
    elif kind == "asked":
        row.question = body["text"]
    elif kind == "waiting":
        row.signal, row.key, row.due = body.get("signal", ""), body.get("key", ""), body["due"]
    elif kind == "failed":
        row.attempts = body["attempt"] or row.attempts
        row.error = f"{body['error']}: {body['message']}"
        row.status = "failed"
        if body["retry_after"] is not None:
            row.status, row.due = "retrying", body["at"] + body["retry_after"]
    elif kind == "retry":
        row.attempts, row.status = row.attempts + 1, "running"


def _add_spans(log: RunLog, rows: Sequence[StepRow]) -> None:
    """Add times, and the model calls that the run paid for, to the rows of their activations."""
    trace = build_trace(log.head, log.records)
    by_activation = {shorten_activation_id(row.activation): row for row in rows}
    for span in trace.spans:
        row = by_activation.get(span.activation)
        if row is not None and span.is_activation:
            # The last one: what came before a pause of the run is over.
            row.began, row.ended = span.began, span.ended or 0.0
            if row.status != "retrying" or log.head.status != "waiting":  # it rests in the pause
                row.status = _find_status(row.status, span)
    for call in trace.paid_calls:
        row = by_activation.get(call.activation)
        if row is not None:
            row.calls += 1
            row.tokens += call.input_tokens + call.output_tokens
            row.usd += call.usd
            row.unpriced += call.unpriced
            row.booked_usd += call.booked_usd


def _find_status(status: str, span: Span) -> str:
    """Return the status of an activation that no record ended: that of its span, once that has."""
    is_open = span.status in ("ok", "running")
    # A question that is open waits, and so does an agent at rest; only that one's span has ended.
    is_open = is_open or (span.status == "waiting" and span.seconds is None)
    return status if status not in ("running", "retrying") or is_open else span.status

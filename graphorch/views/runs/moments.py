"""Moments of a run: the outcomes of its activations in their order, each with its record.

A commit that comes before its routing does not say yet where it led to. Its moment comes again with
the record that does: of two moments of one `seq`, the later one counts.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypeAlias, cast

from graphorch.core.tree import EventWait
from graphorch.journal.record_kinds import RecordKind
from graphorch.journal.records import Record
from graphorch.text import truncate
from graphorch.trace.spans.builder import SpanBuilder
from graphorch.trace.spans.model import Span
from graphorch.trace.spans.redaction import Redaction
from graphorch.views.runs.usage import Usage

Body: TypeAlias = Mapping[str, Any]

LONGEST_TEXT: Final = 500
"""Characters of the text of a moment."""

MomentKind: TypeAlias = Literal[
    "input",
    "forked",
    "done",
    "handled",
    "failed",
    "retried",
    "skipped",
    "cancelled",
    "asked",
    "approved",
    "waits",
    "entered",
    "called",
    "signal",
    "ended",
]
"""What happened. `entered`: a sub-flow or map began; `called`: an agent's model asked for tools;
`retried`: an attempt failed, and another follows; `handled`: an error edge carried on, or the model
was told. `input`, `forked`, `signal` and `ended` are about the run and have no path.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What became of an activation with one record.

    `seq` is the number of that record: with it the state, the picture and the selection of a page
    are addressed. `number` counts the moments of the run from 1, `round` the activations at this
    path from 1. `node` is the name of the node, and `step` its path without the numbers of map
    items. `at` is in seconds since 1970, `seconds` how long the activation took so far. `usage` is
    that of its model calls since its last moment. `writes` are the names of the fields that it
    wrote, `to` the paths of the nodes, or the calls of tools, that it led to. `text` is the error,
    the question, or what it waits for. Of a call of a tool, `tool` is its name and
    `outcome` what the model reads of it. `is_copy`: taken over from another run. `is_late`: it
    ended after a decision that was made without it.
    """

    seq: int
    number: int
    kind: MomentKind
    at: float
    path: str = ""
    node: str = ""
    step: str = ""
    activation: str = ""
    round: int = 0
    attempts: int = 1
    seconds: float = 0.0
    usage: Usage = field(default_factory=Usage)
    writes: list[str] = field(default_factory=list[str])
    to: list[str] = field(default_factory=list[str])
    tool: str = ""
    outcome: str = ""
    text: str = ""
    is_copy: bool = False
    is_late: bool = False


@dataclass(slots=True)
class _Known:
    """What is known of an activation: its round, and the calls since its last moment, if any."""

    round: int
    usage: Usage | None = None


class MomentReader:
    """Makes moments of records, one record after the other; `spans` has read each one before.

    `last_seqs` has the record of the last moment of each step, `last_seqs_of_paths` of each path.
    """

    def __init__(self, spans: SpanBuilder) -> None:
        self.last_seqs: dict[str, int] = {}
        self.last_seqs_of_paths: dict[str, int] = {}
        self.redaction = Redaction()
        self.total = 0
        self._spans = spans
        self._entries: list[tuple[int, Moment | None]] = []  # by the record that tells most of it
        self._seqs: list[int] = []
        self._known: dict[str, _Known] = {}
        self._rounds: Counter[str] = Counter()
        self._routing: dict[str, int] = {}  # entries of commits that are not routed yet, by path

    def take(self, record: Record, body: Body) -> None:
        """Read a record that is what its kind declares."""
        kind = cast("RecordKind", record.kind)
        if "id" in body and body["id"] not in self._known:
            path = str(body["path"])
            self._rounds[path] += 1
            self._known[body["id"]] = _Known(self._rounds[path])
        handle = _HANDLERS.get(kind)
        if handle is not None:
            handle(self, record.seq, body)

    def list_moments(self, after: int, limit: int) -> MomentPage:
        """Return the first moments that records after a number tell of."""
        first = bisect_right(self._seqs, after)
        moments: list[Moment] = []
        following = None
        for number in range(first, len(self._entries)):
            seq, moment = self._entries[number]
            if moment is None:
                continue
            if len(moments) >= limit and seq > self._seqs[number - 1]:
                following = self._seqs[number - 1]
                break
            moments.append(moment)
        return MomentPage(moments, following, self._spans.trace.seq, self.total)

    # ---- handlers ------------------------------------------------------------------------------
    def on_started(self, seq: int, body: Body) -> None:
        self._add_of_run(seq, "input", body["at"])

    def on_forked(self, seq: int, body: Body) -> None:
        text = f"fork of run {body['from']} at {body['at']}"
        self._add_of_run(seq, "forked", self._spans.trace.began, text)

    def on_signal(self, seq: int, body: Body) -> None:
        key = f" with key '{body['key']}'" if body.get("key") else ""
        self._add_of_run(seq, "signal", body["at"], f"signal '{body['name']}'{key}")

    def on_ended(self, seq: int, body: Body) -> None:
        status, reason = str(body["status"]), str(body["reason"])
        text = status if reason == status else f"{status}: {reason}"
        self._add_of_run(seq, "ended", body.get("at", self._spans.trace.began), text)

    def on_call(self, seq: int, body: Body) -> None:
        call = self._spans.last_call
        if call is not None and call.is_paid_call:
            known = self._known[body["id"]]
            known.usage = known.usage or Usage()
            known.usage.add(call)

    def on_commit(self, seq: int, body: Body) -> None:
        path: str = body["path"]
        span = self._spans.find_activation(body["id"])
        kind: MomentKind = "done"
        text = ""
        if span is not None and span.status == "handled":
            kind, text = "handled", span.message
        flow = self._spans.flow
        to: list[str] = []
        if "route" in body:
            to = self._list_targets(path, body["route"])
        elif not flow.has_route(path):
            to = _list_siblings(path, flow.readers(path))
        else:
            self._routing[path] = len(self._entries)
        is_call = span is not None and span.role == "tool"
        writes = [] if is_call else [str(name) for name in body["update"]]
        self._add(seq, kind, body, span, text, to=[] if is_call else to, writes=writes)

    def on_routed(self, seq: int, body: Body) -> None:
        number = self._routing.pop(body["path"], None)
        if number is None:
            return
        _, moment = self._entries[number]
        if moment is not None:
            self._entries[number] = (self._entries[number][0], None)
            self._append(seq, replace(moment, to=self._list_targets(moment.path, body)))

    def on_failed(self, seq: int, body: Body) -> None:
        path: str = body["path"]
        text = f"{body['error']}: {body['message']}"
        if body["retry_after"] is not None:
            self._add(seq, "retried", body, self._spans.find_activation(body["id"]), text)
            return
        is_handled = int(body["handler"]) >= 0
        handlers = _list_siblings(path, self._spans.flow.handlers(path)) if is_handled else []
        kind: MomentKind = "handled" if is_handled else "failed"
        span = self._spans.find_activation(body["id"])
        self._add(seq, kind, body, span, text, to=handlers)

    def on_asked(self, seq: int, body: Body) -> None:
        self._add_simple(seq, "asked", body, str(body["text"]))

    def on_waiting(self, seq: int, body: Body) -> None:
        wait = EventWait(body.get("signal", ""), body.get("key", ""), body["due"])
        self._add_simple(seq, "waits", body, wait.describe())

    def on_approved(self, seq: int, body: Body) -> None:
        self._add_simple(seq, "approved", body)

    def on_skipped(self, seq: int, body: Body) -> None:
        self._add_simple(seq, "skipped", body, str(body["reason"]))

    def on_cancelled(self, seq: int, body: Body) -> None:
        self._add_simple(seq, "cancelled", body)

    def on_entered(self, seq: int, body: Body) -> None:
        path: str = body["path"]
        first = [f"{path}/{name}" for name in self._spans.flow.first(path)]
        self._add(seq, "entered", body, self._spans.find_activation(body["id"]), to=first)

    def on_tools(self, seq: int, body: Body) -> None:
        above = f"{body['path']}/{body['label']}"
        calls = [f"{above}/{call['tool']}#{call['index']}" for call in body["calls"]]
        self.last_seqs_of_paths.update(dict.fromkeys(calls, seq))
        self._add(seq, "called", body, self._spans.find_activation(body["id"]), to=calls)

    # ---- parts ---------------------------------------------------------------------------------
    def _list_targets(self, path: str, route: Body) -> list[str]:
        loop, exhausted = int(route["loop"]), int(route["exhausted"])
        names, _ = self._spans.flow.taken(path, loop, exhausted, route["edges"])
        return _list_siblings(path, names)

    def _add_of_run(self, seq: int, kind: MomentKind, at: float, text: str = "") -> None:
        self.total += 1
        self._append(
            seq, Moment(seq=seq, number=self.total, kind=kind, at=at, text=self._cut(text))
        )

    def _add_simple(self, seq: int, kind: MomentKind, body: Body, text: str = "") -> None:
        self._add(seq, kind, body, self._spans.find_activation(body["id"]), text)

    def _add(
        self,
        seq: int,
        kind: MomentKind,
        body: Body,
        span: Span | None,
        text: str = "",
        *,
        to: list[str] | None = None,
        writes: list[str] | None = None,
    ) -> None:
        """Add a moment of an activation; its span is there unless the record is misplaced."""
        if span is None:
            return
        self.total += 1
        known = self._known[body["id"]]
        usage, known.usage = known.usage or Usage(), None
        at = float(body["at"])
        seconds = span.seconds if span.seconds is not None else max(0.0, at - (span.began or at))
        self.last_seqs[span.step] = self.last_seqs_of_paths[span.path] = seq
        moment = Moment(
            seq=seq,
            number=self.total,
            kind=kind,
            at=at,
            path=span.path,
            node=span.node,
            step=span.step,
            activation=body["id"],
            round=known.round,
            attempts=span.attempt,
            seconds=seconds,
            usage=usage,
            writes=writes or [],
            to=to or [],
            tool=span.node if span.role == "tool" else "",
            outcome=span.outcome,
            text=self._cut(text),
            is_copy=span.is_copy,
            is_late=span.is_late,
        )
        self._append(seq, moment)

    def _append(self, seq: int, moment: Moment) -> None:
        self._entries.append((seq, moment))
        self._seqs.append(seq)

    def _cut(self, text: str) -> str:
        if not text:
            return text
        # Redaction of a long text takes time, and only its beginning is kept.
        return truncate(self.redaction.text(text[: 16 * LONGEST_TEXT]), LONGEST_TEXT)


def _list_siblings(path: str, names: list[str]) -> list[str]:
    """Return the paths of nodes in the flow of the node at `path`."""
    above = path.rpartition("/")[0]
    return [f"{above}/{name}" if above else name for name in names]


_HANDLERS: Final[Mapping[RecordKind, Callable[[MomentReader, int, Body], None]]] = {
    "started": MomentReader.on_started,
    "forked": MomentReader.on_forked,
    "signal": MomentReader.on_signal,
    "ended": MomentReader.on_ended,
    "call": MomentReader.on_call,
    "unanswered": MomentReader.on_call,
    "commit": MomentReader.on_commit,
    "routed": MomentReader.on_routed,
    "failed": MomentReader.on_failed,
    "asked": MomentReader.on_asked,
    "waiting": MomentReader.on_waiting,
    "approved": MomentReader.on_approved,
    "skipped": MomentReader.on_skipped,
    "cancelled": MomentReader.on_cancelled,
    "entered": MomentReader.on_entered,
    "tools": MomentReader.on_tools,
}


@dataclass(frozen=True, slots=True)
class MomentPage:
    """Moments after a record; `next` is the `after` of the page that follows, None on the last.

    `seq` is the last record of the run that was read, and `total` the number of all its moments.
    """

    moments: list[Moment]
    next: int | None
    seq: int
    total: int

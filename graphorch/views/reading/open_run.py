"""A run whose records were read once; what comes after them is added, record by record.

Rule 1: the views of a run are made of what this holds, so that they agree with each other.
Rule 2: records are taken in their order, each once. Reading on gives what reading anew would.
Rule 3: it holds records, spans and moments. Long texts are cut when a view is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from graphorch.engine.replay import ReplayedRun
from graphorch.graph.plan import Plan
from graphorch.journal.record_kinds import RecordKind
from graphorch.journal.records import Record, RunHead
from graphorch.trace.spans.builder import SpanBuilder
from graphorch.trace.spans.model import Span, Trace
from graphorch.trace_context import derive_call_span_id, shorten_activation_id
from graphorch.views.reading.clipping import ClippedRedaction, CutCount
from graphorch.views.reading.conversations import ConversationReader
from graphorch.views.reading.rebuilder import Rebuilder
from graphorch.views.reading.weight import weigh
from graphorch.views.runs.moments import MomentReader
from graphorch.views.runs.questions import QuestionReader
from graphorch.views.runs.steps import StepReader

MANY_RECORDS: Final = 5_000
"""Records of a run that its flow takes long to rebuild; what needs that is not done by the way."""

_BEGINNING: Final = frozenset({"continued", "stopping"})
"""Kinds of records with which an engagement may begin: only then it is known when the last one
ended, and with it the time of the run at which anything happened."""

_OVERHEAD: Final = 200  # characters that a record and its spans weigh beside its texts


class OpenRun:
    """A run, as far as its records were read.

    `weight` is about how many characters it holds.
    """

    def __init__(self, head: RunHead) -> None:
        self.head = head
        self.records: list[Record] = []
        self.spans = SpanBuilder(head)
        self.steps = StepReader()
        self.questions = QuestionReader()
        self.moments = MomentReader(self.spans)
        self.weight = 0
        self.faults: dict[int, str] = {}
        self.calls: dict[int, Span] = {}  # model calls that ended, by record
        # The last record that changed an activation, by the beginning of its id.
        self.last_seqs: dict[str, int] = {}
        self.sent: dict[str, int] = {}  # records that announced a call, by the id of its span
        self._conversation: ConversationReader | None = None
        self._rebuilt: Rebuilder | None = None  # at the end of the run
        self._stepped: Rebuilder | None = None  # where somebody steps through it
        self._trace: Trace | None = None

    @property
    def seq(self) -> int:
        """Number of the last record that was read."""
        return len(self.records)

    def continues(self, head: RunHead) -> bool:
        """Return whether a head is of this same run, and not of another one of its id."""
        mine = self.head
        return (mine.created_at, mine.is_erased) == (head.created_at, head.is_erased)

    def take(self, head: RunHead, records: Sequence[Record]) -> None:
        """Read further records, and the head that was read with them."""
        self.head = head
        for record in records:
            self._take(record)
        self._trace = None

    def _take(self, record: Record) -> None:
        faults = len(self.spans.trace.faults)
        if record.kind == "ended":
            self.last_seqs.update(dict.fromkeys(self.spans.list_open(), record.seq))
        elif record.kind in _BEGINNING:
            self.last_seqs = dict.fromkeys(self.last_seqs, record.seq)
        body = self.spans.take(record)
        self.records.append(record)
        self.weight += _OVERHEAD + weigh(record.body)
        if body is None:
            if len(self.spans.trace.faults) > faults:
                self.faults[record.seq] = self.spans.trace.faults[-1]
            return
        self.steps.take(record.kind, body)
        if record.kind == "started":
            self.moments.redaction = replace(self.moments.redaction, fields=self.steps.secrets)
        if "id" in body:
            self.last_seqs[shorten_activation_id(str(body["id"]))] = record.seq
        self.questions.take(record, body)
        self.moments.take(record, body)
        if record.kind in ("call", "unanswered") and self.spans.last_call is not None:
            self.calls[record.seq] = self.spans.last_call
        elif record.kind == "sending":
            self.sent[derive_call_span_id(self.head.run_id, body["call"])] = record.seq

    @property
    def trace(self) -> Trace:
        """The spans so far, with the status of the head."""
        if self._trace is None:
            self._trace = self.spans.close(self.head)
        return self._trace

    def read_conversation(self) -> ConversationReader:
        """Return the conversation so far, which is made when it is asked for."""
        if self._conversation is None:
            self._conversation = ConversationReader(self.head)
        # Its texts are copies.
        self.weight += self._conversation.take(self.records[self._conversation.seq :])
        return self._conversation

    def is_whole(self, record: Record) -> bool:
        """Return whether a record has the body that its kind declares."""
        return not record.is_erased and record.seq not in self.faults

    def find_body(self, kind: RecordKind) -> dict[str, Any]:
        """Return the body of the first record of a kind; an empty one if it cannot be read."""
        found = next((record for record in self.records if record.kind == kind), None)
        return found.body if found is not None and self.is_whole(found) else {}

    @property
    def is_rebuilt(self) -> bool:
        """Whether its flow has rebuilt it up to some record, and only needs to go on."""
        return self._rebuilt is not None

    def rebuild(self, plan: Plan) -> ReplayedRun:
        """Return the run as its records left it. See `Rebuilder.move_to` for what it raises."""
        if self._rebuilt is None or self._rebuilt.plan is not plan:
            self._rebuilt = Rebuilder(plan)
        return self._rebuilt.move_to(self.head, self.records, self.seq)

    def step_to(self, plan: Plan, seq: int) -> ReplayedRun:
        """Return the run after a record, for as long as no other one is asked for."""
        if self._stepped is None or self._stepped.plan is not plan:
            self._stepped = Rebuilder(plan)
        return self._stepped.move_to(self.head, self.records, seq)

    def build_redaction(self, longest: int | None = None) -> ClippedRedaction:
        """Return a redaction that hides the secret fields of the flow, and cuts long texts."""
        redaction = ClippedRedaction(fields=self.steps.secrets, cut=CutCount())
        return redaction if longest is None else replace(redaction, longest=longest)

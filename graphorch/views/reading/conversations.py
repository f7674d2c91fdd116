"""The conversation of a run, made record by record, and its pages."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from graphorch.journal.records import Record, RunHead
from graphorch.trace.conversation.builder import ConversationBuilder
from graphorch.trace.conversation.turns import ToolUse, Turn, Utterance
from graphorch.trace.spans.model import Span
from graphorch.views.reading.clipping import ClippedRedaction, CutCount
from graphorch.views.reading.weight import weigh
from graphorch.views.runs.calls import AskedTool, Message
from graphorch.views.runs.conversation import TurnPage, TurnRow
from graphorch.views.runs.paths import is_inside
from graphorch.views.runs.usage import sum_usage


class _Completed(NamedTuple):
    """A turn, the record that completed it, and what was left out of its texts."""

    completed: int
    turn: Turn
    cut: int


@dataclass(frozen=True, slots=True)
class WantedTurns:
    """Turns after a record, at most about `limit`, of a `node` and what is inside it, or of all."""

    after: int
    limit: int
    node: str
    is_at_rest: bool


class ConversationReader:
    """Makes turns of records, one record after the other. `seq` is the last one that it read."""

    def __init__(self, head: RunHead) -> None:
        self.seq = 0
        self._cut = CutCount()
        self._builder = ConversationBuilder(head, ClippedRedaction(cut=self._cut))
        self._turns: list[_Completed] = []
        self._completed: list[int] = []
        self._cuts: dict[int, int] = {}  # what was left out, by the record of a turn

    def take(self, records: Sequence[Record]) -> int:
        """Read records, and return about how many characters the turns of them have."""
        weight = 0
        for record in records:
            before = self._cut.left_out
            turns = self._builder.take(record)
            self.seq = record.seq
            self._cuts[record.seq] = self._cut.left_out - before
            for turn in turns:
                self._turns.append(_Completed(record.seq, turn, self._cuts.get(turn.seq, 0)))
                self._completed.append(record.seq)
                weight += weigh([turn.text, [message.text for message in turn.prompt]])
        return weight

    def list_turns(self, wanted: WantedTurns, calls: Mapping[int, Span]) -> TurnPage:
        """Return the first turns that records after a number complete.

        Those whose receivers no record has named come last, once the run is at rest. `calls` are
        the model calls of the run by record.
        """
        rows: list[TurnRow] = []
        node, last = wanted.node, wanted.after
        following = None
        for each in self._turns[bisect_right(self._completed, last) :]:
            if node and not is_inside(each.turn.path, node):
                continue
            if len(rows) >= wanted.limit and each.completed > last:
                following = last
                break
            rows.append(_build_row(each.turn, each.cut, calls))
            last = each.completed
        if following is None and wanted.is_at_rest:
            held = self._builder.list_held()
            chosen = [turn for turn in held if not node or is_inside(turn.path, node)]
            rows += [_build_row(turn, self._cuts.get(turn.seq, 0), calls) for turn in chosen]
        return TurnPage(rows, following, self.seq)


def _build_row(turn: Turn, cut: int, calls: Mapping[int, Span]) -> TurnRow:
    call = calls.get(turn.seq)
    usage = None if call is None else sum_usage([call])
    return TurnRow(
        seq=turn.seq,
        kind=turn.kind,
        speaker=turn.speaker,
        to=list(turn.to),
        level=turn.level,
        at=turn.at,
        text=turn.text,
        path=turn.path,
        attempt=turn.attempt,
        messages=[_build_message(utterance) for utterance in turn.prompt],
        shared=turn.shared,
        tools=[_build_asked_tool(call) for call in turn.calls],
        model=turn.model,
        usage=usage,
        usd_source=turn.usd_source,
        seconds=turn.seconds,
        decision=turn.decision,
        masked=list(turn.masked),
        note=turn.note,
        arguments=turn.arguments,
        cut=cut,
    )


def _build_message(utterance: Utterance) -> Message:
    """Return a message of a prompt as a view shows it."""
    calls = [_build_asked_tool(call) for call in utterance.calls]
    return Message(utterance.role, utterance.text, calls, utterance.answers)


def _build_asked_tool(call: ToolUse) -> AskedTool:
    """Return a call that a model asked for as a view shows it."""
    return AskedTool(call.id, call.name, call.arguments)

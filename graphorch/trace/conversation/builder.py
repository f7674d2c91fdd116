"""A run as a conversation: who said what to whom, in causal order, with its cost.

It needs no configuration: the run is the session, the path names the speaker, and the order of the
journal respects causality. Every text went through the redaction.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, TypeAlias, cast

from graphorch.graph.payloads import is_unanswered
from graphorch.journal.record_kinds import RecordKind
from graphorch.journal.records import Record, RunHead
from graphorch.statuses import TOOL_OUTCOMES
from graphorch.trace.conversation.html import format_fragment
from graphorch.trace.conversation.text import diff_turns, format_headline, format_turns
from graphorch.trace.conversation.turns import (
    CALLER,
    OUTSIDE,
    PERSON,
    RUN,
    ToolUse,
    Turn,
    TurnKind,
    Utterance,
)
from graphorch.trace.spans.builder import SpanBuilder
from graphorch.trace.spans.model import Span, Trace, sum_calls
from graphorch.trace.spans.redaction import Redaction

Body: TypeAlias = dict[str, Any]

_DECIDED: Final[Mapping[str, str]] = {
    "refused": "no",
    "answered": "instead of the call",
}
"""Outcomes of tool calls in whose place a person answered, and what is noted then."""


@dataclass(slots=True)
class Conversation:
    """The conversation of one run."""

    trace: Trace
    turns: list[Turn] = field(default_factory=list[Turn])

    def as_data(self) -> dict[str, Any]:
        """Return the conversation as plain JSON data."""
        trace = self.trace
        head = {
            "run_id": trace.run_id,
            "flow": trace.flow,
            "status": trace.status,
            "reason": trace.reason,
            "seconds": trace.seconds,
        }
        return {**head, **sum_calls(trace), "turns": [asdict(turn) for turn in self.turns]}

    def diff(self, other: Conversation, *, full: bool = False) -> list[str]:
        """Return the lines in which this conversation and another one differ."""
        headlines = [f"- {format_headline(self.trace)}", f"+ {format_headline(other.trace)}"]
        return [*headlines, *diff_turns(self.turns, other.turns, full=full)]

    def _repr_html_(self) -> str:
        return format_fragment(self.trace, self.turns)

    def __str__(self) -> str:
        return format_turns(self.trace, self.turns)


def build_conversation(
    head: RunHead, records: Iterable[Record], redaction: Redaction | None = None
) -> Conversation:
    """Return the conversation of a run from its records."""
    builder = ConversationBuilder(head, redaction)
    turns: list[Turn] = []
    for record in records:
        turns += builder.take(record)
    trace = builder.close(head)
    return Conversation(trace, turns + builder.rest())


class ConversationBuilder:
    """Makes turns of records, one record after the other.

    A commit that comes before its routing does not name its receivers yet: its turn is held until
    the record that does.
    """

    def __init__(self, head: RunHead, redaction: Redaction | None = None) -> None:
        self.spans = SpanBuilder(head)
        self._redaction = redaction or Redaction()
        self._held: dict[str, Turn] = {}
        # All messages of the last request of each path.
        self._prompts: dict[str, tuple[Utterance, ...]] = {}
        # Tool calls whose results are turns: the step of the agent, and the id of the call.
        self._told: set[tuple[str, str]] = set()
        self._seq = 0
        self._at = head.created_at

    def take(self, record: Record) -> list[Turn]:
        """Return the turns that a record completes."""
        body = self.spans.take(record)
        self._seq = record.seq
        handle = HANDLERS.get(cast("RecordKind", record.kind))
        # A record that does not fit its kind makes no turn; the trace names it.
        if handle is None or body is None:
            return []
        at = body.get("at")
        # The `at` of a fork is a path.
        if at and record.kind != "forked":
            self._at = float(at)
        return handle(self, body)

    def list_held(self) -> list[Turn]:
        """Return the turns whose receivers no record has named yet."""
        return sorted(self._held.values(), key=lambda turn: turn.seq)

    def rest(self) -> list[Turn]:
        """Return the turns whose receivers no record has named, and forget them."""
        held = self.list_held()
        self._held.clear()
        return held

    def close(self, head: RunHead) -> Trace:
        """Return the trace of the run, with the status of its head; see `SpanBuilder.close`."""
        return self.spans.close(head)

    # ---- one handler per kind of record --------------------------------------------------------
    def on_started(self, body: Body) -> list[Turn]:
        """Turn the input of the run into a turn of its caller."""
        secrets: Sequence[str] = body["flow"].get("secrets", ())
        hidden = self._redaction.fields.union(secrets)
        self._redaction = replace(self._redaction, fields=hidden)
        first_nodes = tuple(self.spans.flow.first())
        return [self._run_turn("input", self._to_json(body["input"]), to=first_nodes)]

    def on_forked(self, body: Body) -> list[Turn]:
        """Name the run that this one was forked from."""
        return [self._run_turn("resumes", note=f"fork of run {body['from']} at {body['at']}")]

    def on_entered(self, body: Body) -> list[Turn]:
        """Show the inputs of a sub-flow or map."""
        path: str = body["path"]
        items: list[Any] = body["items"]
        flow = self.spans.flow
        first_nodes = tuple(f"{path}/{name}" for name in flow.first(path))
        shown = items[0] if len(items) == 1 else items
        note = f"{len(items)} items" if flow.kind(path) == "map" else ""
        return [self._turn("enters", body, first_nodes, self._to_json(shown), note=note)]

    def on_call(self, body: Body) -> list[Turn]:
        """Show a model call with its answer and cost."""
        spans = self.spans.trace.spans
        response: Body = body["response"]
        usage: Body = response["usage"]
        model = str(response["model"])
        turn = self._turn("calls", body, (model,), self._hide(response["text"]))
        turn.answer, turn.calls = turn.text, self._read_calls(response["tool_calls"])
        turn.text = "\n".join(filter(None, [turn.text, *(f"calls {call}" for call in turn.calls)]))
        self._add_prompt(turn, body)
        turn.model = model
        turn.input_tokens = usage["input_tokens"]
        turn.output_tokens = usage["output_tokens"]
        turn.usd = float(response["usd"])
        turn.usd_source = str(response["usd_source"])
        self._set_charge(turn, body)
        turn.seconds = float(response["seconds"])
        turn.masked = tuple(_format_finding(finding) for finding in response["findings"])
        turn.decision = self._hide(_format_decision(response["decision"]))
        turn.note = self._hide(response["note"])
        if spans and spans[-1].is_copy:
            notes = ["taken over, not paid again", turn.note]
            turn.note = "; ".join(note for note in notes if note)
        return [turn]

    def on_unanswered(self, body: Body) -> list[Turn]:
        """Show a model call that failed."""
        model = str(body["model"])
        error = self._hide(f"{body['error']}: {body['message']}")
        turn = self._turn("unanswered", body, (model,), error)
        self._add_prompt(turn, body)
        turn.model = model
        self._set_charge(turn, body)
        turn.seconds = float(body["at"]) - float(body["began"])
        turn.decision = self._hide(_format_decision(body["decision"]))
        return [turn]

    def _set_charge(self, turn: Turn, body: Body) -> None:
        """Note what all requests of a model call were charged; old records do not say it."""
        if "charge" in body:
            charge: Body = body["charge"]
            turn.input_tokens = int(charge["input_tokens"])
            turn.output_tokens = int(charge["output_tokens"])
            turn.usd = float(charge["usd"])
            turn.usd_source = "none" if charge["unpriced"] else turn.usd_source

    def on_commit(self, body: Body) -> list[Turn]:
        """Show the update that an activation wrote, or the answer of a person."""
        path: str = body["path"]
        self._prompts.pop(path, None)
        flow = self.spans.flow
        span = self.spans.find_last(path)
        if span is not None and span.role == "tool":
            return [self._tool_turn(span, body)]
        is_answer = flow.kind(path) == "ask"
        readers = self._siblings(path, flow.readers(path))
        kind: TurnKind = "answers" if is_answer else "writes"
        turn = self._turn(kind, body, readers, self._to_json(body["update"]))
        if is_answer:
            turn.speaker = PERSON
        turn.seconds = span.seconds or 0.0 if span is not None else 0.0
        if "route" in body:
            self._set_route(turn, body["route"])
        elif flow.has_route(path):
            self._held[path] = turn
            return []
        return [turn]

    def _tool_turn(self, span: Span, body: Body) -> Turn:
        """Return the result of a tool call, or what a person decided instead of it."""
        agent = span.step.removesuffix(f"/{span.node}")
        self._told.add((agent, span.tool_call))
        text = self._redaction.json(str(body["update"].get("text", "")))
        if span.outcome in _DECIDED and not is_unanswered(body["update"]):
            turn = self._turn("answers", body, (span.path,), text, note=_DECIDED[span.outcome])
            turn.speaker = PERSON
            return turn
        # The call is the last part of its path, and its round the one before.
        above = span.path.rpartition("/")[0].rpartition("/")[0]
        note = TOOL_OUTCOMES.get(span.outcome, "")
        turn = self._turn("returns", body, (above,), text, note=note)
        turn.arguments, turn.seconds = self._redaction.json(span.arguments), span.seconds
        return turn

    def on_routed(self, body: Body) -> list[Turn]:
        """Complete the turn of a commit that waited for its routing."""
        turn = self._held.pop(body["path"], None)
        if turn is None:
            return []
        self._set_route(turn, body)
        return [turn]

    def on_failed(self, body: Body) -> list[Turn]:
        """Show a failed attempt, and what follows it."""
        path: str = body["path"]
        retry_after = body["retry_after"]
        receivers: tuple[str, ...] = ()
        if retry_after is not None:
            note = f"tried again after {float(retry_after):g} s"
        elif int(body["handler"]) >= 0:
            note = "handled"
            receivers = self._siblings(path, self.spans.flow.handlers(path))
        else:
            note = "for good"
        error = self._hide(f"{body['error']}: {body['message']}")
        turn = self._turn("fails", body, receivers, error, note=note)
        turn.attempt = int(body["attempt"])
        return [turn]

    def on_skipped(self, body: Body) -> list[Turn]:
        """Show why a node could not start."""
        return [self._turn("skips", body, (), self._hide(body["reason"]))]

    def on_cancelled(self, body: Body) -> list[Turn]:
        """Show a cancelled attempt."""
        return [self._turn("cancelled", body, ())]

    def on_asked(self, body: Body) -> list[Turn]:
        """Show a question to a person."""
        return [self._turn("asks", body, (PERSON,), self._hide(body["text"]))]

    def on_signal(self, body: Body) -> list[Turn]:
        """Show a signal that came from outside, whether a node takes it now or later."""
        note = f"key {self._hide(body['key'])}" if body.get("key") else ""
        value, name = self._to_json(body["value"]), f"signal {body['name']}"
        return [self._run_turn("signals", value, speaker=OUTSIDE, to=(name,), note=note)]

    def on_approved(self, body: Body) -> list[Turn]:
        """Show that a person let an activation pass its gate."""
        text = "yes"
        if "arguments" in body:
            text = f"yes, with {self._to_json(body['arguments'])}"
        turn = self._turn("answers", body, (str(body["path"]),), text)
        turn.speaker = PERSON
        return [turn]

    def on_resumed(self, body: Body) -> list[Turn]:
        """Show that the run was resumed."""
        return [self._run_turn("resumes")]

    def on_stopping(self, body: Body) -> list[Turn]:
        """Show why the run was stopped; one that rests in a pause was not."""
        if body["status"] == "waiting":
            return []
        return [self._run_turn("stops", str(body["reason"]))]

    def on_ended(self, body: Body) -> list[Turn]:
        """Show the end of the run, after the turns that are still held."""
        status, reason = str(body["status"]), str(body["reason"])
        end = self._run_turn("ends", status, speaker=RUN, note="" if reason == status else reason)
        return [*self.rest(), end]

    # ---- parts ---------------------------------------------------------------------------------
    def _run_turn(
        self,
        kind: TurnKind,
        text: str = "",
        *,
        speaker: str = CALLER,
        to: tuple[str, ...] = (),
        note: str = "",
    ) -> Turn:
        """Return a turn about the run as a whole."""
        return Turn(self._seq, kind, speaker, to, 0, self._at, text, note=note)

    def _turn(
        self, kind: TurnKind, body: Body, to: tuple[str, ...], text: str = "", note: str = ""
    ) -> Turn:
        """Return a turn of the activation that a record is about."""
        path: str = body["path"]
        attempt = int(body.get("attempt") or 0)
        level = self.spans.name_step(path).count("/") + 1
        return Turn(self._seq, kind, path, to, level, self._at, text, path, attempt, note=note)

    def _set_route(self, turn: Turn, route: Body) -> None:
        loop, exhausted = int(route["loop"]), int(route["exhausted"])
        targets, loop_name = self.spans.flow.taken(turn.path, loop, exhausted, route["edges"])
        turn.to = self._siblings(turn.path, targets)
        turn.note = f"loop {loop_name}" if loop_name else "route"

    def _add_prompt(self, turn: Turn, body: Body) -> None:
        request: Body = body.get("asked") or {}
        turn.shared = int(request.get("shared", 0))
        messages: list[Body] = request.get("messages", ())
        turn.prompt = tuple(self._utterance(message, turn.path) for message in messages)
        # The previous request of the attempt, which a record does not repeat.
        turn.earlier = self._prompts.get(turn.path, ())[: turn.shared]
        self._prompts[turn.path] = turn.earlier + turn.prompt

    def _utterance(self, message: Body, path: str) -> Utterance:
        calls = self._read_calls(message.get("calls", ()))
        answers, text = str(message.get("answers", "")), self._hide(message["content"])
        step = self.spans.name_step(path)
        # A turn has shown the answer that made the calls, and one each of those that were made.
        is_known = (step, answers) in self._told or any(
            (step, call.id) in self._told for call in calls
        )
        return Utterance(str(message["role"]), text, calls, answers, is_known)

    def _read_calls(self, calls: Iterable[Mapping[str, Any]]) -> tuple[ToolUse, ...]:
        return tuple(
            ToolUse(str(call["id"]), str(call["name"]), self._redaction.json(call["arguments"]))
            for call in calls
        )

    def _siblings(self, path: str, names: Iterable[str]) -> tuple[str, ...]:
        """Return the paths of nodes in the flow of the node at `path`."""
        above = path.rpartition("/")[0]
        return tuple(f"{above}/{name}" if above else name for name in names)

    def _hide(self, text: object) -> str:
        return self._redaction.text(str(text))

    def _to_json(self, value: object) -> str:
        return json.dumps(self._redaction.data(value), ensure_ascii=False)


def _format_finding(finding: Mapping[str, Any]) -> str:
    return f"{finding['kind']} × {finding['count']} in the {finding['where']}: {finding['action']}"


def _format_decision(decision: Mapping[str, Any] | None, indent: str = "") -> str:
    """Return the record of a policy: a line for each target passed over and each attempt."""
    if not decision:
        return ""
    answered_by = decision["answered_by"]
    outcome = f"answered by {answered_by}" if answered_by else "no answer"
    lines = [f"{indent}{decision['policy']} ({decision['kind']}): {outcome}"]
    for candidate in decision["candidates"]:
        if candidate["skipped"]:
            lines.append(f"{indent}  {candidate['name']} was passed over: {candidate['skipped']}")
    for attempt in decision["attempts"]:
        lines.append(f"{indent}  {_format_attempt(attempt)}")
        if attempt.get("inner"):
            lines.append(_format_decision(attempt["inner"], indent + "    "))
    if decision["note"]:
        lines.append(f"{indent}  {decision['note']}")
    return "\n".join(lines)


def _format_attempt(attempt: Mapping[str, Any]) -> str:
    hedge = " (hedge)" if attempt["is_hedge"] else ""
    error = f": {attempt['error']}" if attempt["error"] else ""
    seconds = float(attempt["seconds"])
    return f"→ {attempt['target']}{hedge}: {attempt['outcome']} after {seconds:.3g} s{error}"


HANDLERS: Final[Mapping[RecordKind, Callable[[ConversationBuilder, Body], list[Turn]]]] = {
    "started": ConversationBuilder.on_started,
    "forked": ConversationBuilder.on_forked,
    "commit": ConversationBuilder.on_commit,
    "routed": ConversationBuilder.on_routed,
    "entered": ConversationBuilder.on_entered,
    "failed": ConversationBuilder.on_failed,
    "skipped": ConversationBuilder.on_skipped,
    "cancelled": ConversationBuilder.on_cancelled,
    "asked": ConversationBuilder.on_asked,
    "signal": ConversationBuilder.on_signal,
    "approved": ConversationBuilder.on_approved,
    "stopping": ConversationBuilder.on_stopping,
    "resumed": ConversationBuilder.on_resumed,
    "call": ConversationBuilder.on_call,
    "unanswered": ConversationBuilder.on_unanswered,
    "ended": ConversationBuilder.on_ended,
}
"""Handlers by kind of record."""

IGNORED_KINDS: Final[frozenset[RecordKind]] = frozenset(
    {
        "pinned",
        "waiting",
        "retry",
        "grace",
        "continued",
        "starting",
        "sending",
        "rules",
        "listed",
        "migrated",
        "tools",
        "reviewed",
    }
)
"""Kinds of records in which nothing is said or done."""

"""A run as a conversation: who said what to whom, in causal order, with what it cost and why a model was chosen.

Nothing has to be set up for it: the run is the session, the path says who speaks, the journal's order respects causality. Everything that
is shown went through the redaction.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias, cast

from graphorch.journal.records import Record, RunHead
from graphorch.trace.spans.builder import SpanBuilder
from graphorch.trace.spans.model import Trace, totals
from graphorch.trace.spans.redaction import Redaction

Body: TypeAlias = dict[str, Any]
TurnKind: TypeAlias = Literal[
    "input",
    "enters",
    "calls",
    "unanswered",
    "writes",
    "fails",
    "skips",
    "cancelled",
    "asks",
    "answers",
    "resumes",
    "stops",
    "ends",
]
CALLER, PERSON = "caller", "person"


@dataclass(frozen=True, slots=True)
class Utterance:
    """One message of a prompt: the role that it has there, and its text. `calls` are tool calls as `name(arguments)`."""

    role: str
    text: str
    calls: tuple[str, ...] = ()


@dataclass(slots=True)
class Turn:
    """One thing that was said or done. `speaker` and `to` are paths of nodes, models, `caller` or `person`; `level` is how deep it is.

    For a model call `prompt` is what was new in the request and `text` the answer; for a node that wrote something `text` is that, as JSON.
    `shared` messages before the prompt were in the request before this one too. `masked` says what guardrails found, never the value.
    """

    seq: int
    kind: TurnKind
    speaker: str
    to: tuple[str, ...]
    level: int
    at: float
    text: str = ""
    path: str = ""
    attempt: int = 0
    prompt: tuple[Utterance, ...] = ()
    shared: int = 0
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    usd: float = 0.0
    usd_source: str = ""
    seconds: float | None = None
    decision: str = ""
    masked: tuple[str, ...] = ()
    note: str = ""


@dataclass(slots=True)
class Conversation:
    """The conversation of one run."""

    trace: Trace
    turns: list[Turn] = field(default_factory=list[Turn])

    def as_data(self) -> dict[str, Any]:
        """The same as plain JSON data."""
        trace = self.trace
        head = {
            "run_id": trace.run_id,
            "flow": trace.flow,
            "status": trace.status,
            "reason": trace.reason,
            "seconds": trace.seconds,
        }
        return {**head, **totals(trace), "turns": [asdict(turn) for turn in self.turns]}

    def _repr_html_(self) -> str:
        from graphorch.trace.conversation.html import fragment

        return fragment(self)

    def __str__(self) -> str:
        from graphorch.trace.conversation.text import format_turns

        return format_turns(self)


def build_conversation(
    head: RunHead, records: Iterable[Record], now: float, redaction: Redaction | None = None
) -> Conversation:
    """The conversation of a run as its records tell it."""
    builder = ConversationBuilder(head, redaction)
    turns: list[Turn] = []
    for record in records:
        turns += builder.take(record)
    return Conversation(builder.close(head, now), turns + builder.rest())


class ConversationBuilder:
    """Makes turns of records, one record after the other; a turn whose receivers are not known yet waits for the record that names them."""

    def __init__(self, head: RunHead, redaction: Redaction | None = None) -> None:
        self.spans = SpanBuilder(head)
        self._hide = redaction or Redaction()
        self._held: dict[str, Turn] = {}
        self._seq = 0
        self._at = head.created_at

    def take(self, record: Record) -> list[Turn]:
        """The turns that a record completes."""
        self.spans.take(record)
        self._seq = record.seq
        body: object = record.body
        make = _TURNS.get(record.kind)
        if make is None or not isinstance(body, dict):
            return []
        # a damaged or newer record
        with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError):
            known = cast("Body", body)
            self._at = float(known.get("at") or self._at)
            return make(self, known)
        return []

    def rest(self) -> list[Turn]:
        """The turns whose receivers nobody named."""
        held = sorted(self._held.values(), key=lambda turn: turn.seq)
        self._held.clear()
        return held

    def close(self, head: RunHead, now: float) -> Trace:
        """The trace beside it, as the head of the run says that it stands."""
        return self.spans.close(head, now)

    # ---- one maker per kind of record ----------------------------------------------------------------
    def started(self, body: Body) -> list[Turn]:
        starts = tuple(self.spans.flow.first())
        return [Turn(self._seq, "input", CALLER, starts, 0, self._at, self._json(body["input"]))]

    def forked(self, body: Body) -> list[Turn]:
        return [
            Turn(
                self._seq,
                "resumes",
                CALLER,
                (),
                0,
                self._at,
                note=f"fork of run {body['from']} at {body['at']}",
            )
        ]

    def entered(self, body: Body) -> list[Turn]:
        path: str = body["path"]
        items: list[Any] = body["items"]
        inside = tuple(f"{path}/{name}" for name in self.spans.flow.first(path))
        shown = items[0] if len(items) == 1 else items
        note = f"{len(items)} items" if self.spans.flow.kind(path) == "map" else ""
        return [self._turn("enters", body, inside, self._json(shown), note=note)]

    def call(self, body: Body) -> list[Turn]:
        span = self.spans.trace.spans
        response: Body = body["response"]
        usage: Body = response["usage"]
        turn = self._turn(
            "calls", body, (str(response["model"]),), self._hide.text(str(response["text"]))
        )
        asked = self._tools(response["tool_calls"])
        if asked:
            turn.text = "\n".join(
                [*([turn.text] if turn.text else []), *(f"calls {text}" for text in asked)]
            )
        self._ask(turn, body)
        turn.model = str(response["model"])
        turn.input_tokens, turn.output_tokens = usage["input_tokens"], usage["output_tokens"]
        turn.usd, turn.usd_source, turn.seconds = (
            float(response["usd"]),
            str(response["usd_source"]),
            float(response["seconds"]),
        )
        turn.masked = tuple(_finding(item) for item in response["findings"])
        turn.decision = self._hide.text(_decision(response["decision"]))
        turn.note = self._hide.text(str(response["note"]))
        if span and span[-1].is_copy:
            turn.note = "; ".join(
                part for part in ("taken over, not paid again", turn.note) if part
            )
        return [turn]

    def unanswered(self, body: Body) -> list[Turn]:
        turn = self._turn(
            "unanswered",
            body,
            (str(body["model"]),),
            self._hide.text(f"{body['error']}: {body['message']}"),
        )
        self._ask(turn, body)
        turn.model, turn.seconds = str(body["model"]), float(body["at"]) - float(body["began"])
        turn.decision = self._hide.text(_decision(body["decision"]))
        return [turn]

    def commit(self, body: Body) -> list[Turn]:
        path: str = body["path"]
        flow = self.spans.flow
        kind = flow.kind(path)
        turn = self._turn(
            "answers" if kind == "ask" else "writes",
            body,
            self._paths(path, flow.readers(path)),
            self._json(body["update"]),
        )
        if kind == "ask":
            turn.speaker = PERSON
        turn.seconds = max(0.0, float(body["at"]) - float(body.get("began") or body["at"]))
        if "route" in body:
            self._route(turn, body["route"])
        elif flow.has_route(path):
            self._held[path] = turn
            return []
        return [turn]

    def routed(self, body: Body) -> list[Turn]:
        turn = self._held.pop(body["path"], None)
        if turn is None:
            return []
        self._route(turn, body)
        return [turn]

    def _route(self, turn: Turn, route: Body) -> None:
        targets, loop = self.spans.flow.taken(
            turn.path, int(route["loop"]), int(route["exhausted"]), route["edges"]
        )
        turn.to = self._paths(turn.path, targets)
        turn.note = f"loop {loop}" if loop else "route"

    def failed(self, body: Body) -> list[Turn]:
        flow, path = self.spans.flow, body["path"]
        handled = int(body["handler"]) >= 0 and body["retry_after"] is None
        turn = self._turn(
            "fails",
            body,
            self._paths(path, flow.handlers(path)) if handled else (),
            self._hide.text(f"{body['error']}: {body['message']}"),
        )
        turn.attempt = int(body["attempt"])
        turn.note = (
            f"tried again after {float(body['retry_after']):g} s"
            if body["retry_after"] is not None
            else "handled"
            if handled
            else "for good"
        )
        return [turn]

    def skipped(self, body: Body) -> list[Turn]:
        return [self._turn("skips", body, (), self._hide.text(str(body["reason"])))]

    def cancelled(self, body: Body) -> list[Turn]:
        return [self._turn("cancelled", body, ())]

    def asked(self, body: Body) -> list[Turn]:
        return [self._turn("asks", body, (PERSON,), self._hide.text(str(body["text"])))]

    def approved(self, body: Body) -> list[Turn]:
        turn = self._turn("answers", body, (str(body["path"]),), "yes")
        turn.speaker = PERSON
        return [turn]

    def resumed(self, body: Body) -> list[Turn]:
        return [Turn(self._seq, "resumes", CALLER, (), 0, self._at)]

    def stopping(self, body: Body) -> list[Turn]:
        return [Turn(self._seq, "stops", CALLER, (), 0, self._at, str(body["reason"]))]

    def ended(self, body: Body) -> list[Turn]:
        return [
            *self.rest(),
            Turn(self._seq, "ends", "run", (), 0, self._at, str(body["status"]), note=_why(body)),
        ]

    # ---- parts ---------------------------------------------------------------------------------------
    def _turn(
        self, kind: TurnKind, body: Body, to: tuple[str, ...], text: str = "", note: str = ""
    ) -> Turn:
        path: str = body["path"]
        return Turn(
            self._seq,
            kind,
            path,
            to,
            path.count("/") + 1,
            self._at,
            text,
            path,
            int(body.get("attempt") or 0),
            note=note,
        )

    def _ask(self, turn: Turn, body: Body) -> None:
        asked: Body = body.get("asked") or {}
        turn.shared = int(asked.get("shared", 0))
        turn.prompt = tuple(
            Utterance(
                str(item["role"]),
                self._hide.text(str(item["content"])),
                self._tools(item.get("calls", ())),
            )
            for item in asked.get("messages", ())
        )

    def _tools(self, calls: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
        return tuple(
            f"{mapping['name']}({self._hide.text(str(mapping['arguments']))})" for mapping in calls
        )

    def _paths(self, path: str, names: Iterable[str]) -> tuple[str, ...]:
        above = path.rpartition("/")[0]
        return tuple(f"{above}/{name}" if above else name for name in names)

    def _json(self, value: object) -> str:
        return json.dumps(self._hide.data(value), ensure_ascii=False)


def _why(body: Body) -> str:
    return "" if body["reason"] == body["status"] else str(body["reason"])


def _finding(mapping: Mapping[str, Any]) -> str:
    return f"{mapping['kind']} × {mapping['count']} in the {mapping['where']}: {mapping['action']}"


def _decision(decision: Mapping[str, Any] | None, indent: str = "") -> str:
    """A policy's record for people, a line for each candidate that was passed over and each attempt."""
    if not decision:
        return ""
    answered = f"answered by {decision['answered_by']}" if decision["answered_by"] else "no answer"
    lines = [f"{indent}{decision['policy']} ({decision['kind']}): {answered}"]
    lines += [
        f"{indent}  {entry['name']} was passed over: {entry['skipped']}"
        for entry in decision["candidates"]
        if entry["skipped"]
    ]
    for item in decision["attempts"]:
        hedge, error = (
            " (hedge)" if item["is_hedge"] else "",
            f": {item['error']}" if item["error"] else "",
        )
        lines.append(
            f"{indent}  → {item['target']}{hedge}: {item['outcome']} after {float(item['seconds']):.3g} s{error}"
        )
        if item.get("inner"):
            lines.append(_decision(item["inner"], indent + "    "))
    if decision["note"]:
        lines.append(f"{indent}  {decision['note']}")
    return "\n".join(lines)


_TURNS: Mapping[str, Callable[[ConversationBuilder, Body], list[Turn]]] = {
    maker.__name__: maker
    for maker in (
        ConversationBuilder.started, ConversationBuilder.forked, ConversationBuilder.entered, ConversationBuilder.call,
        ConversationBuilder.unanswered, ConversationBuilder.commit, ConversationBuilder.routed, ConversationBuilder.failed,
        ConversationBuilder.skipped, ConversationBuilder.cancelled, ConversationBuilder.asked, ConversationBuilder.approved,
        ConversationBuilder.resumed, ConversationBuilder.stopping, ConversationBuilder.ended,
    )
}  # fmt: skip

"""The activations of a run as a comparison needs them: what they were given, did and led to.

Rule 1: whatever may differ by chance between equal runs is left out: times, ids of activations and
of calls of tools, and the order in which calls that ran at once ended.
Rule 2: values are those of the records, whole and with their secrets, so that a difference beyond
what is shown is found. Only what leaves this package is cleaned and cut.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, NamedTuple, TypeAlias, cast

from graphorch.journal.record_kinds import RecordKind
from graphorch.journal.record_reader import read_body
from graphorch.journal.records import Record
from graphorch.trace.spans.model import Span
from graphorch.trace_context import shorten_activation_id
from graphorch.views.reading.open_run import OpenRun
from graphorch.views.runs.usage import Usage

Body: TypeAlias = Mapping[str, Any]


class Place(NamedTuple):
    """Where an activation belongs in every run: its path, and which one it is there (from 1)."""

    path: str
    round: int


class Outcome(NamedTuple):
    """What came of a model call: the text and the calls of tools, or the error."""

    model: str
    answer: str
    tools: str
    error: str


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """A model call that ended, at record `seq`; `number` orders the calls by their beginning."""

    seq: int
    number: int
    prompt: str
    outcome: Outcome


@dataclass(slots=True)
class RecordedActivation:
    """An activation as far as it is recorded; JSON stands as text, so that it can be compared."""

    place: Place
    id: str
    seq: int = 0
    given: dict[str, Any] = field(default_factory=dict[str, Any])
    written: dict[str, Any] = field(default_factory=dict[str, Any])
    errors: list[str] = field(default_factory=list[str])
    calls: list[RecordedCall] = field(default_factory=list[RecordedCall])
    # Messages of the last request, which the next one does not repeat.
    messages: list[str] = field(default_factory=list[str])
    route: tuple[str, ...] = ()
    span: Span | None = None  # the last one
    seconds: float = 0.0
    usage: Usage = field(default_factory=Usage)


def write_value(value: Any) -> str:
    """Return a value as text: equal for equal values, other for `1`, `1.0` and `true`."""
    return json.dumps(value, sort_keys=True)


class RecordedRun:
    """The activations of a run by their places, in the order in which records first name them."""

    def __init__(self, run: OpenRun) -> None:
        self.run = run
        self.activations: dict[Place, RecordedActivation] = {}
        self._by_id: dict[str, RecordedActivation] = {}
        self._rounds: Counter[str] = Counter()
        self._arguments: dict[str, Any] = {}  # of the last call of a tool at each path
        for record in run.records:
            if run.is_whole(record):
                self._take(record)
        self._add_spans()
        self._add_routes()

    @cached_property
    def input(self) -> dict[str, Any]:
        """Input of the run."""
        return dict(self.run.find_body("started").get("input") or {})

    def _take(self, record: Record) -> None:
        body = cast("Body", record.body)
        if "id" not in body or "path" not in body:
            return
        activation = self._by_id.get(body["id"]) or self._begin(str(body["path"]), body["id"])
        activation.seq = record.seq
        handle = _HANDLERS.get(cast("RecordKind", record.kind))
        if handle is not None:
            handle(self, activation, record)

    def _begin(self, path: str, id_: str) -> RecordedActivation:
        self._rounds[path] += 1
        place = Place(path, self._rounds[path])
        activation = RecordedActivation(place, id_)
        if path in self._arguments:
            activation.given["arguments"] = self._arguments.pop(path)
        self.activations[place] = self._by_id[id_] = activation
        return activation

    # ---- handlers ------------------------------------------------------------------------------
    def on_commit(self, activation: RecordedActivation, record: Record) -> None:
        activation.written = dict(record.body["update"])

    def on_entered(self, activation: RecordedActivation, record: Record) -> None:
        items: list[Any] = record.body["items"]
        activation.given |= {str(number): item for number, item in enumerate(items)}

    def on_reviewed(self, activation: RecordedActivation, record: Record) -> None:
        body = record.body
        if body["items"]:
            activation.given |= {f"grown by {body['item']}": body["items"]}

    def on_tools(self, activation: RecordedActivation, record: Record) -> None:
        above = f"{record.body['path']}/{record.body['label']}"
        for call in record.body["calls"]:
            self._arguments[f"{above}/{call['tool']}#{call['index']}"] = call["arguments"]

    def on_asked(self, activation: RecordedActivation, record: Record) -> None:
        activation.given["question"] = record.body["text"]

    def on_approved(self, activation: RecordedActivation, record: Record) -> None:
        if "arguments" in record.body:
            activation.given["arguments"] = record.body["arguments"]

    def on_failed(self, activation: RecordedActivation, record: Record) -> None:
        activation.errors.append(f"{record.body['error']}: {record.body['message']}")

    def on_skipped(self, activation: RecordedActivation, record: Record) -> None:
        activation.errors.append(str(record.body["reason"]))

    def on_call(self, activation: RecordedActivation, record: Record) -> None:
        body = read_body(self.run.head.run_id, record)
        prompt = _add_prompt(activation, body)
        number = body.get("call", record.seq)
        call = RecordedCall(record.seq, number, prompt, _read_outcome(body))
        activation.calls.append(call)

    # ---- figures -------------------------------------------------------------------------------
    def _add_spans(self) -> None:
        by_short_id = {shorten_activation_id(id_): each for id_, each in self._by_id.items()}
        for span in self.run.trace.spans:
            activation = by_short_id.get(span.activation)
            if activation is None:
                continue
            if span.is_paid_call:
                activation.usage.add(span)
            elif span.is_activation:
                activation.span = span
                activation.seconds += span.seconds or 0.0

    def _add_routes(self) -> None:
        for moment in self.run.moments.list_moments(0, len(self.run.records) * 2 + 1).moments:
            activation = self._by_id.get(moment.activation)
            if activation is not None and moment.kind in ("done", "handled", "failed"):
                activation.route = tuple(sorted(moment.to))


def _add_prompt(activation: RecordedActivation, body: Body) -> str:
    """Return what a model was asked, as text, and keep its messages for the next request."""
    asked: Body = body["asked"]
    earlier = activation.messages[: int(asked.get("shared", 0))]
    activation.messages = [*earlier, *map(_write_message, asked.get("messages", ()))]
    rest = [asked.get(name) for name in _ASKED]
    return write_value([*activation.messages, *rest])


_ASKED: Final = ("max_tokens", "temperature", "tools", "tool_choice", "output", "left_out")


def _write_message(message: Body) -> str:
    return write_value([message["role"], message["content"], _write_tools(message.get("calls"))])


def _write_tools(calls: Iterable[Body] | None) -> list[list[str]]:
    """Return calls of tools without their ids, which a model makes up anew each time."""
    return [[str(call["name"]), str(call["arguments"])] for call in calls or ()]


def _read_outcome(body: Body) -> Outcome:
    response: Body | None = body.get("response")
    if response is None:
        return Outcome(str(body["model"]), "", "[]", f"{body['error']}: {body['message']}")
    tools = write_value(_write_tools(response.get("tool_calls")))
    return Outcome(str(response["model"]), str(response["text"]), tools, "")


_HANDLERS: Final[Mapping[RecordKind, Callable[[RecordedRun, RecordedActivation, Record], None]]] = {
    "commit": RecordedRun.on_commit,
    "entered": RecordedRun.on_entered,
    "reviewed": RecordedRun.on_reviewed,
    "tools": RecordedRun.on_tools,
    "asked": RecordedRun.on_asked,
    "approved": RecordedRun.on_approved,
    "failed": RecordedRun.on_failed,
    "skipped": RecordedRun.on_skipped,
    "call": RecordedRun.on_call,
    "unanswered": RecordedRun.on_call,
}

"""The events of a run for observers, read from its records instead of from the run itself.

Theory of operation. The records are replayed; what the core and the observers' translation say
about each of them are its events. So there is one decoder of records, and one translation.

1. A record gives its own event first, then what follows from it: activations that are cancelled,
   and those that begin. The run itself may name these in another order, since its nodes run side
   by side; at one path the order is the same.
2. An attempt counts as begun when the record that makes it ready says so: no record is written when
   it begins a moment later, or is stopped before that.
3. What no record holds has no event: pieces of text, and a node's own events.
4. That a run came to rest is said once, although an owner that does not know whether it was
   recorded may record it again.
5. What a fork took over from another run happened in that one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from graphorch.core.events import CancelNode, Command, Event
from graphorch.core.run import Run
from graphorch.core.state import OnFailure
from graphorch.core.tree import Activation, Status
from graphorch.engine.attempts.model_calls import build_answered_call, build_failed_call
from graphorch.engine.events import Cancelled, Ended, RunEvent, Started
from graphorch.engine.observers import to_run_event
from graphorch.engine.replay import Replay, ReplayedRun
from graphorch.graph.plan import Plan
from graphorch.journal.record_kinds import RecordKind, UnansweredBody
from graphorch.journal.records import Record


class EventReader(Replay):
    """Takes the records of a run in their order, and returns the events of each."""

    def __init__(self, plan: Plan, run_id: str, *, on_failure: OnFailure = "drain") -> None:
        self.replayed = ReplayedRun(Run(plan, run_id, on_failure=on_failure))
        super().__init__(plan, self.replayed, adopted=0)
        self._events: list[RunEvent] = []
        self._at = 0.0  # the time of the record that is read
        self._last_kind: RecordKind | None = None
        self._opens = False  # what is open begins with the next engagement, as it does in a fork

    def read(self, record: Record, *, is_adopted: bool = False) -> list[RunEvent]:
        """Return the events of a record.

        Activations of one that `is_adopted` have ids of an older graph, and keep them. Raises
        `ReplayDiverged` and `JournalDamaged` for a record that does not fit those before it.
        """
        if is_adopted:
            self._adopted = max(self._adopted, record.seq)
        self._events = []
        self.take(record)
        if record.seq <= self._copied:
            return []
        return [replace(event, seq=record.seq) for event in self._events]

    def _take_body(self, kind: RecordKind, body: Any) -> None:
        self._at = body.get("at", self._at)
        super()._take_body(kind, body)
        if kind == "call":
            self._add_answered()
        elif kind == "unanswered":
            self._add_unanswered(body)
        elif kind == "ended" and self._last_kind != "ended":
            run_id, at = self.replayed.run.run_id, self._at
            self._events.append(Ended(body["status"], body["reason"], run_id, at))
        elif kind == "forked":
            self._opens = True
        elif kind == "continued" and self._opens:
            self._opens = False
            self._open_started(self.replayed.run.list_open_commands(), self._at)
        self._last_kind = kind

    def _apply(self, event: Event) -> None:
        own = len(self._events)
        super()._apply(event)
        run_event = to_run_event(event)
        if run_event is not None:
            self._events.insert(own, run_event)

    def _open_started(self, commands: Iterable[Command], at: float) -> None:
        listed = list(commands)
        super()._open_started(listed, at)
        for command in listed:
            if isinstance(command, Activation):
                self._add_started(command)
            elif isinstance(command, CancelNode):
                activation = command.activation
                path, name = activation.path, activation.step.name
                self._events.append(Cancelled(path, name, command.reason, activation.tool))

    def _add_started(self, activation: Activation) -> None:
        """Add that an attempt begins, unless what came with it has cancelled the activation."""
        if activation.status is Status.RUNNING:
            path, name, tool = activation.path, activation.step.name, activation.tool
            self._events.append(Started(path, name, activation.attempt, self._at, tool))

    def _add_answered(self) -> None:
        activation, call = self.replayed.calls[-1]
        assert call.response is not None
        self._events.append(build_answered_call(activation, call.response, call.charge))

    def _add_unanswered(self, body: UnansweredBody) -> None:
        activation, call = self.replayed.calls[-1]
        error = body["message"] or body["error"]
        seconds, model = body["at"] - body["began"], body["asked"]["model"]
        self._events.append(build_failed_call(activation, model, call.charge, seconds, error))

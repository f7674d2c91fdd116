"""Those who watch a run, and what they are told: events of the core as events for people.

Events on their way from a run to a reader that may be slower than the run.
"""

from __future__ import annotations

import asyncio
import warnings
from collections import deque
from collections.abc import AsyncIterator, Sequence

from graphorch.core.events import Event, NodeFailed, NodeSkipped, NodeSucceeded, PersonAsked, Routed
from graphorch.core.tree import Activation
from graphorch.engine import events
from graphorch.engine.events import Observer, RunEvent, TextDelta


class Observers:
    """The watchers of one run. One that raises is dropped with a warning: it must not harm the run."""

    def __init__(self, run_id: str, watchers: Sequence[Observer]) -> None:
        self._run_id = run_id
        self._watchers = list(watchers)

    def notify(self, event: RunEvent) -> None:
        """Hand an event to every watcher."""
        for watcher in tuple(self._watchers):
            try:
                watcher(event)
            except Exception as error:
                self._watchers.remove(watcher)
                told = f"a watcher of run {self._run_id} raised {type(error).__name__}: {error}; it gets no further events"
                warnings.warn(told, RuntimeWarning, stacklevel=2)


def to_run_event(event: Event) -> RunEvent | None:
    """What watchers are told of an event of the core, once the core has taken it; None if it is none of their business."""
    match event:
        case NodeSucceeded(one) if not one.step.decides:
            return build_committed(one)
        case Routed(one):
            return build_committed(one)
        case NodeFailed(one, attempt, failure, retry, handler):
            error = f"{type(failure).__name__}: {failure}"
            return events.Failed(
                one.path,
                one.step.name,
                attempt,
                error,
                retry,
                handler >= 0 and retry is None,
                event.at,
            )
        case NodeSkipped(one, reason):
            return events.Skipped(one.path, one.step.name, reason)
        case PersonAsked(one, question):
            return events.QuestionAsked(one.path, one.step.name, question.text)
        case _:
            return None


def build_committed(activation: Activation) -> events.Committed:
    """What watchers are told of a result that counts from now on."""
    plan = activation.scope.plan
    fields, steps = plan.schema.fields, plan.steps
    update = {
        fields[index].name: fields[index].copy_value(value)
        for index, value in (activation.update or {}).items()
    }
    to = tuple([steps[edge.target].name for edge in activation.taken_edges])
    return events.Committed(
        activation.path,
        activation.step.name,
        update,
        to,
        max(0.0, activation.ended_at - activation.started_at),
        activation.ended_at,
    )


_FULL = 256  # events that may wait before the run does
# events that may wait before the reader gets a turn, while nothing that the run does waits for anything
_TURN = 32


class EventQueue:
    """A queue that slows the run down when it is full, and never loses an event; waiting tokens of one node are joined into one."""

    def __init__(self) -> None:
        self._events: deque[RunEvent] = deque()
        self._filled = asyncio.Event()
        self._drained = asyncio.Event()
        self._closed = False
        self._turn = 1  # the first event is read at once

    def put(self, event: RunEvent) -> None:
        """Take an event."""
        last = self._events[-1] if self._events else None
        if isinstance(event, TextDelta) and isinstance(last, TextDelta) and last.path == event.path:
            self._events[-1] = TextDelta(last.path, last.node, last.text + event.text)
        else:
            self._events.append(event)
        self._filled.set()

    async def room(self) -> None:
        """Wait until there is room: what a run does before its next node."""
        if len(self._events) >= self._turn:
            self._turn = _TURN
            await asyncio.sleep(0)
        while len(self._events) >= _FULL and not self._closed:
            self._drained.clear()
            await self._drained.wait()

    def close(self) -> None:
        """No event comes any more."""
        self._closed = True
        self._filled.set()
        self._drained.set()

    async def __aiter__(self) -> AsyncIterator[RunEvent]:
        while True:
            while self._events:
                event = self._events.popleft()
                if len(self._events) < _FULL:
                    self._drained.set()
                yield event
            if self._closed:
                return
            self._filled.clear()
            await self._filled.wait()

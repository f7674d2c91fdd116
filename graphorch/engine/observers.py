"""Observers of a run: events of the core become events for people, and reach readers in order."""

from __future__ import annotations

import asyncio
import warnings
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Final

from graphorch.callables import discard, is_unfinished
from graphorch.core.events import (
    Event,
    ItemReviewed,
    NodeFailed,
    NodeSkipped,
    NodeSucceeded,
    PersonAsked,
    Routed,
    ScopeEntered,
    WaitBegan,
)
from graphorch.core.tree import Activation
from graphorch.errors import as_failure
from graphorch.text import format_error

if TYPE_CHECKING:
    from graphorch.engine import events
    from graphorch.engine.events import Observer, RunEvent


class Observers:
    """Observers of one run. One that raises is dropped with a warning: it must not harm the run."""

    def __init__(self, run_id: str, observers: Sequence[Observer]) -> None:
        self._run_id = run_id
        self._observers = list(observers)

    def notify(self, event: RunEvent) -> None:
        """Hand an event to every observer."""
        for observer in tuple(self._observers):
            try:
                result: object = observer(event)
            # The border to the user's watchers.
            except BaseException as error:
                if as_failure(error) is None:
                    raise
                self._drop(observer, f"raised {type(error).__name__}: {error}")
                continue
            # Nothing awaits what a watcher returns, so it has not done what it should.
            if result is not None and is_unfinished(result):
                discard(result)
                self._drop(observer, f"returned a {type(result).__name__}, which nobody awaits")

    def _drop(self, observer: Observer, why: str) -> None:
        self._observers.remove(observer)
        warnings.warn(
            f"a watcher of run {self._run_id} {why}; it gets no further events",
            RuntimeWarning,
            stacklevel=3,
        )


def to_run_event(event: Event) -> RunEvent | None:
    """Return the event for observers once the core has taken an event; None if there is none.

    The success of a node that routes is not announced before its route is known.
    """
    from graphorch.engine import events

    match event:
        case NodeSucceeded(activation) if not activation.step.decides:
            return build_committed(activation)
        case Routed(activation):
            return build_committed(activation)
        case ScopeEntered(activation, updates, at) if activation.step.node.kind == "map":
            return _build_expanded(activation, len(updates), at)
        case ItemReviewed(activation, updates=updates, at=at) if updates:
            assert activation.children is not None
            return _build_expanded(activation, len(activation.children.updates), at)
        case NodeFailed():
            return _build_failed(event)
        case NodeSkipped(activation, reason):
            return events.Skipped(activation.path, activation.step.name, reason, activation.tool)
        case PersonAsked(activation, question):
            path, name, tool = activation.path, activation.step.name, activation.tool
            return events.QuestionAsked(path, name, question.text, tool)
        case WaitBegan(activation, wait):
            path, name = activation.path, activation.step.name
            return events.WaitBegan(path, name, wait.signal, wait.key, wait.due)
        case _:
            return None


def _build_expanded(activation: Activation, items: int, at: float) -> events.Expanded:
    from graphorch.engine import events

    spec = activation.step.map
    grows = spec is not None and spec.grow is not None
    return events.Expanded(activation.path, activation.step.name, items, at, grows)


def build_committed(activation: Activation) -> events.Committed:
    """Return the event of a result that counts from now on, with copies of what it wrote."""
    from graphorch.engine import events
    from graphorch.engine.invocation.secret_values import hide_fields

    plan = activation.scope.plan
    fields, steps = plan.schema.fields, plan.steps
    written = activation.update or {}
    update = {
        fields[index].name: fields[index].copy_value(value) for index, value in written.items()
    }
    shown = hide_fields(activation.scope, update)
    tool = activation.tool
    edges = () if tool else activation.taken_edges
    targets = tuple([steps[edge.target].name for edge in edges])
    seconds = max(0.0, activation.ended_at - activation.started_at)
    name, at = activation.step.name, activation.ended_at
    return events.Committed(activation.path, name, shown, targets, seconds, at, tool)


def _build_failed(event: NodeFailed) -> events.Failed:
    from graphorch.engine import events

    activation, failure = event.activation, event.failure
    return events.Failed(
        path=activation.path,
        node=activation.step.name,
        attempt=event.attempt,
        error=format_error(failure),
        retry_in=event.retry_after,
        handled=event.handler >= 0 and event.retry_after is None,
        at=event.at,
        tool=activation.tool,
    )


_CAPACITY: Final = 256  # events that may wait before the run does
_TURN: Final = 32  # events that may wait before the reader gets a turn, if the run never waits


class EventQueue:
    """A queue from a run to a reader that may be slower: it slows the run down when it is full.

    No event is lost; waiting text deltas of one node are joined into one.
    """

    def __init__(self) -> None:
        self._events: deque[RunEvent] = deque()
        self._filled = asyncio.Event()
        self._drained = asyncio.Event()
        self._closed = False
        self._turn = 1  # the first event is read at once

    def put(self, event: RunEvent) -> None:
        """Add an event."""
        from graphorch.engine.events import TextDelta

        last = self._events[-1] if self._events else None
        if isinstance(event, TextDelta) and isinstance(last, TextDelta) and last.path == event.path:
            self._events[-1] = TextDelta(last.path, last.node, last.text + event.text)
        else:
            self._events.append(event)
        self._filled.set()

    async def wait_for_room(self) -> None:
        """Wait until there is room, as a run does before its next node."""
        if len(self._events) >= self._turn:
            self._turn = _TURN
            await asyncio.sleep(0)
        while len(self._events) >= _CAPACITY and not self._closed:
            self._drained.clear()
            await self._drained.wait()

    def close(self) -> None:
        """End the iteration once the waiting events are read."""
        self._closed = True
        self._filled.set()
        self._drained.set()

    async def __aiter__(self) -> AsyncIterator[RunEvent]:
        while True:
            while self._events:
                event = self._events.popleft()
                if len(self._events) < _CAPACITY:
                    self._drained.set()
                yield event
            if self._closed:
                return
            self._filled.clear()
            await self._filled.wait()

"""Those who watch a run, and what they are told: events of the core as events for people."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from graphorch.core.activation import Activation
from graphorch.core.events import Asked, Event, NodeFailed, NodeSkipped, NodeSucceeded, Routed
from graphorch.engine import events
from graphorch.engine.events import RunEvent, Watcher


class Watchers:
    """The watchers of one run. One that raises is dropped with a warning: it must not harm the run."""

    def __init__(self, run_id: str, watchers: Sequence[Watcher]) -> None:
        self._run_id = run_id
        self._watchers = list(watchers)

    def tell(self, event: RunEvent) -> None:
        """Hand an event to every watcher."""
        for watcher in tuple(self._watchers):
            try:
                watcher(event)
            except Exception as error:
                self._watchers.remove(watcher)
                told = f"a watcher of run {self._run_id} raised {type(error).__name__}: {error}; it gets no further events"
                warnings.warn(told, RuntimeWarning, stacklevel=2)


def told_of(event: Event) -> RunEvent | None:
    """What watchers are told of an event of the core, once the core has taken it; None if it is none of their business."""
    match event:
        case NodeSucceeded(one) if not one.step.decides:
            return committed(one)
        case Routed(one):
            return committed(one)
        case NodeFailed(one, attempt, failure, retry, handler):
            error = f"{type(failure).__name__}: {failure}"
            return events.Failed(one.path, one.step.name, attempt, error, retry, handler >= 0 and retry is None, event.at)
        case NodeSkipped(one, reason):
            return events.Skipped(one.path, one.step.name, reason)
        case Asked(one, question):
            return events.Asked(one.path, one.step.name, question.text)
        case _:
            return None


def committed(one: Activation) -> events.Committed:
    """What watchers are told of a result that counts from now on."""
    plan = one.scope.plan
    fields, steps = plan.schema.fields, plan.steps
    update = {fields[index].name: fields[index].copied(value) for index, value in (one.update or {}).items()}
    to = tuple([steps[edge.target].name for edge in one.taken])
    return events.Committed(one.path, one.step.name, update, to, max(0.0, one.ended - one.began), one.ended)

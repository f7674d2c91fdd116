"""Replay of simulated runs: the events so far, told again to a run that knows nothing of the first.

Activations are named by their ids, as in records, so nothing of one run reaches the other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from graphorch.core.events import Event, NodeFailed, Resumed, RetryDue, ScopeEntered, StopRequested
from graphorch.core.run import Run
from graphorch.core.tree import Activation, Scope

MakeRun = Callable[[], Run]


class EventLog:
    """The events of a run, in order, with the ids of their activations."""

    def __init__(self, make_run: MakeRun) -> None:
        self.entries: list[tuple[Event, str]] = []
        self._make_run = make_run
        self._most = make_run().activations_left

    def add(self, event: Event) -> None:
        """Add an event before it is told to the run."""
        activation: Activation | None = getattr(event, "activation", None)
        self.entries.append((_copy(event), activation.id if activation is not None else ""))

    def replay(self, *, crash_at: int = -1) -> Run:
        """Return a run that was told all events; after `crash_at` of them it crashes, and resumes.

        What was under way then begins again, and ends with the events that follow.
        """
        run = self._make_run()
        for number, (event, id) in enumerate(self.entries):
            if number == crash_at and run.status == "running":
                run.handle(StopRequested("crashed"))
                run.handle(Resumed())
            if isinstance(event, Resumed):
                run.activations_left = self._most
            told = event if not id else _move(event, find_activation(run, id))
            run.handle(_copy(told))
        return run


def find_activation(run: Run, id: str) -> Activation:
    """Return the activation of an id, the open ones first."""
    for activation in (*run.unfinished(), *reversed(run.history)):
        if activation.id == id:
            return activation
    raise KeyError(id)


def _copy(event: Event) -> Event:
    """Return an event whose lists are its own: a map takes the inputs of its items away."""
    if isinstance(event, ScopeEntered):
        return dataclasses.replace(event, updates=list(event.updates))
    return event


def _move(event: Any, activation: Activation) -> Event:
    """Return an event about an activation of another run, in the attempt that runs there."""
    changes: dict[str, Any] = {"activation": activation}
    if isinstance(event, NodeFailed | RetryDue):
        lost = event.activation.attempt - event.attempt
        changes["attempt"] = activation.attempt if lost <= 0 else event.attempt
    if dataclasses.is_dataclass(event):
        return dataclasses.replace(event, **changes)  # pyright: ignore[reportArgumentType]
    return event._replace(**changes)


def describe(run: Run) -> Any:
    """Return all of a run that a signal could change."""
    return (
        run.status,
        run.reason,
        len(run.history),
        [_describe(activation) for activation in run.unfinished()],
        {address: list(values) for address, values in run.kept_signals.items()},
    )


def describe_result(run: Run, *, attempts: bool = True) -> Any:
    """Return what became of a run: its history in order with all ids, and what it keeps.

    Without `attempts`, how often it was tried does not count.
    """
    return (
        run.status,
        run.reason,
        [_describe(activation, attempts=attempts) for activation in run.history],
        sorted(_describe(activation, attempts=attempts) for activation in run.unfinished()),
        {address: list(values) for address, values in run.kept_signals.items() if values},
        _describe_scope(run.root),
    )


def _describe(activation: Activation, *, attempts: bool = True) -> tuple[Any, ...]:
    return (
        activation.path,
        activation.id,
        activation.status.name,
        repr(activation.received),
        repr(activation.wait),
        repr(activation.update),
        activation.attempt if attempts else 0,
        [edge.index for edge in activation.taken_edges],
        activation.story if attempts else None,
    )


def _describe_scope(scope: Scope) -> Any:
    waiting = sorted((index, len(tokens)) for index, tokens in scope.waiting.items())
    inner = [_describe_scope(child) for child in scope.child_scopes()]
    return scope.prefix, waiting, scope.busy_count, scope.closed, scope.finished, inner

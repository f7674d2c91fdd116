"""Waits for what comes from outside: signals by their name and key, timers by their time.

Rule 1: a node that waits is AWAITING_EVENT and keeps no driver busy. A signal wakes it, or the time
    at which its timer fires or its patience ends, which the driver reports as an outcome.
Rule 2: a signal goes to the first activation that waits for its name and key: by scope, node and
    item, so the order of signals decides and the moment of their arrival does not. A sub-flow or
    map that it ends comes before what is inside it (`early_ends.py`). If nothing waits, it is kept,
    and the next activation that begins to wait for it takes the oldest one.
Rule 3: an activation that was given a signal runs, and commits the value like a result.
Rule 4: of several events of which the first counts, the others are cancelled by name in the same
    step in which the first comes: when a signal is given, a timer fires, a person answers, or an
    error edge carries on after one of them.
Rule 5: a signal that comes to a closed scope is given at once, and committed when the run is
    resumed. Nothing is given twice, and nothing that was given is lost.

These are functions over the state of a run. The driver refuses signals that nothing can take.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from graphorch.core.early_ends import end_early, takes_signal
from graphorch.core.events import SignalReceived, WaitBegan, WaitUntil
from graphorch.core.firing import cancel_node, fire_ready
from graphorch.core.state import RunState
from graphorch.core.tree import Activation, Scope, Status


def begin_wait(run: RunState, event: WaitBegan) -> None:
    """Have an activation wait, or give it a signal that was kept for it."""
    activation, wait = event.activation, event.wait
    if activation.status is not Status.RUNNING or activation.received is not None:
        return
    activation.wait = wait
    kept = run.kept_signals.get((wait.signal, wait.key)) if wait.signal else None
    if kept:
        _give(run, activation, kept.pop(0))
        run.commands.append(activation)
        return
    activation.status = Status.AWAITING_EVENT
    if wait.due is not None:
        run.commands.append(WaitUntil(activation, wait.due))
    run.exit_busy(activation.scope)


def receive_signal(run: RunState, event: SignalReceived) -> None:
    """Give a signal to the first activation that waits for it, or keep it."""
    waiting = find_waiting(run.root, event.name, event.key)
    if waiting is None:
        if not run.kept_signals:
            run.kept_signals = {}
        run.kept_signals.setdefault((event.name, event.key), []).append(event.value)
        return
    run.leave_rest(waiting.scope)
    if waiting.status is Status.ENTERED:
        end_early(run, waiting, event.value)
        return
    _give(run, waiting, event.value)
    if waiting.scope.closed:
        waiting.status = Status.FAILED  # it commits when the run is resumed
        run.exit_busy(waiting.scope)
    else:
        waiting.status = Status.RUNNING
        run.commands.append(waiting)


def _give(run: RunState, activation: Activation, value: Any) -> None:
    activation.received = (value,)
    withdraw_rivals(run, activation)


def withdraw_rivals(run: RunState, activation: Activation) -> None:
    """Cancel by name the other events of which only the first counts, now that it has come.

    What waited for them alone starts now: a join behind one of them, or what they kept out of an
    exclusive region.
    """
    scope, step = activation.scope, activation.step
    if not step.rivals:
        return
    run.enter_busy(scope)  # held, so that it never becomes quiet
    for index in step.rivals:
        if index in scope.active or index in scope.waiting:
            cancel_node(run, scope, index, f"'{step.name}' came first")
    if scope.due:
        fire_ready(run, scope)
    run.exit_busy(scope)


def find_waiting(scope: Scope, name: str, key: str) -> Activation | None:
    """Return the first activation in a scope and inside that waits for a signal."""
    for activation in _walk(scope):
        wait = activation.wait
        if wait is None or wait.signal != name or wait.key != key:
            continue
        if activation.status is Status.AWAITING_EVENT or takes_signal(activation, name, key):
            return activation
    return None


def list_waits(scope: Scope) -> list[Activation]:
    """Return the activations in a scope and inside that wait for an event, by node and item."""
    return [each for each in _walk(scope) if each.status is Status.AWAITING_EVENT]


def _walk(scope: Scope) -> Iterator[Activation]:
    """Yield the active activations of a scope by node, each before what is inside it by item."""
    for _, activation in sorted(scope.active.items()):
        yield activation
        children = activation.children
        inner: Sequence[Scope] = () if children is None else children.list_unfinished()
        for each in inner:
            yield from _walk(each)
    for each in scope.detached:
        if not each.finished:
            yield from _walk(each)

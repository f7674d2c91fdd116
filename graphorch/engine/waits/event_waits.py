"""What nodes wait for, and what becomes of them when it comes or their time is over."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from graphorch.core.events import Event, NodeSucceeded, WaitBegan
from graphorch.core.run import Run
from graphorch.core.tree import Activation, EventWait, Status
from graphorch.engine import human_input
from graphorch.engine.invocation.invoker import NodeTimedOut
from graphorch.errors import Expired, WrongOutput
from graphorch.graph.options import LONGEST_WAIT
from graphorch.graph.plan import BoundFunction, SignalSpec, TimerSpec
from graphorch.text import blame, clean, format_value

LONGEST_KEY: Final = 200  # characters of the key of a signal


def build_wait(activation: Activation, now: float, clock: float) -> Event:
    """Return what an attempt of a signal or timer means: a wait, or the value that it was given.

    The time until which it waits is counted from what the clock shows. Raises what the function of
    its key or time raises.
    """
    step = activation.step
    if activation.received is not None:
        (value,) = activation.received
        return NodeSucceeded(activation, step.writes[0].update(value), now)
    if isinstance(step.event, SignalSpec):
        due = None if step.event.expires is None else clock + step.event.expires
        key = _compute_key(activation, step.over, step.name)
        return WaitBegan(activation, EventWait(step.name, key, due), now)
    assert step.event is not None
    return WaitBegan(activation, EventWait(due=_find_due(activation, step.event, clock)), now)


def build_early_end(activation: Activation, now: float) -> EventWait:
    """Return what ends a map or sub-flow from outside that is entered now.

    Raises what the function of the signal's key raises.
    """
    step = activation.step
    seconds = step.node.options.deadline
    key = _compute_key(activation, step.cancel_key, step.cancel_on)
    return EventWait(step.cancel_on, key, None if seconds is None else now + seconds)


def _compute_key(activation: Activation, function: BoundFunction | None, name: str) -> str:
    """Return the key of a signal, as its function says."""
    if function is None:
        return ""
    assert activation.version is not None
    try:
        key = function(activation.version)
        check_key(key, f"'{function.name}' returned")
    except Exception as error:
        blame(error, f"key of '{name}'")
        raise
    return key


def check_key(key: object, what: str) -> None:
    """Raise `WrongOutput` unless a value is the key of a signal: a short text."""
    if not isinstance(key, str) or len(key) > LONGEST_KEY or clean(key) != key:
        raise WrongOutput(
            f"{what} {format_value(key)}, which is not a key. "
            f"A key is a text of at most {LONGEST_KEY} characters."
        )


def _find_due(activation: Activation, timer: TimerSpec, now: float) -> float:
    """Return when a timer fires, in seconds since the epoch."""
    if timer.moment is not None:
        return timer.moment
    if timer.seconds is not None:
        return now + timer.seconds
    step = activation.step
    assert step.over is not None
    assert activation.version is not None
    try:
        value = step.over(activation.version)
        return _read_time(value, step.over.name, now, is_moment=timer.is_moment)
    except Exception as error:
        blame(error, f"time of '{step.name}'")
        raise


def _read_time(value: object, name: str, now: float, *, is_moment: bool) -> float:
    if is_moment:
        if isinstance(value, datetime) and value.tzinfo is not None:
            return value.timestamp()
        wanted = "a date with a time zone. Return datetime(…, tzinfo=UTC)"
    else:
        if isinstance(value, timedelta) and 0 <= value.total_seconds() <= LONGEST_WAIT:
            return now + value.total_seconds()
        wanted = "a duration from now on, of at most a thousand years. Return such a timedelta"
    raise WrongOutput(f"'{name}' returned {format_value(value)}, which is not {wanted}.")


def find_due(activation: Activation) -> float | None:
    """Return when something becomes of an activation that waits; None if nothing does by itself.

    That is also the time at which the deadline of a map or sub-flow is over.
    """
    wait = activation.wait
    if wait is not None and activation.status is Status.AWAITING_EVENT:
        return wait.due
    if wait is not None and activation.status is Status.ENTERED:
        # A flow whose deadline was taken away since then ends it no more.
        return None if activation.step.node.options.deadline is None else wait.due
    if activation.status is Status.AWAITING_ANSWER:
        due: float | None = getattr(activation.question, "expires", None)
        return due
    if activation.status is Status.FAILED and activation.retry_at:
        return activation.retry_at  # its run rests until the end of the pause before a retry
    return None


def find_next_due(run: Run) -> float | None:
    """Return the next time at which something becomes of what a run waits for; None if never."""
    activations = [*run.waits(), *run.ending_early()]
    if run.is_paused:  # its scopes are closed
        activations = run.unfinished()
    times = [find_due(activation) for activation in activations]
    return min((time for time in times if time is not None), default=None)


def build_expiry(activation: Activation) -> Expired | NodeTimedOut | None:
    """Return the error of an activation whose time is over; None for a timer, which has fired."""
    if activation.status is Status.ENTERED:
        return NodeTimedOut(
            f"It was not done within deadline={activation.step.node.options.deadline:g} s. "
            "Raise the deadline, or let less be done inside."
        )
    if activation.status is Status.AWAITING_ANSWER:
        return human_input.build_expiry(activation)
    event = activation.step.event
    if not isinstance(event, SignalSpec):
        return None
    return Expired(f"Signal '{activation.path}' did not come within {event.expires:g} s.")

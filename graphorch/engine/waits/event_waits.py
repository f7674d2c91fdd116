"""What nodes wait for, and what becomes of them when it comes or their time is over."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from graphorch.core.events import Event, NodeSucceeded, WaitBegan
from graphorch.core.run import Run
from graphorch.core.tree import Activation, EventWait, Status
from graphorch.engine import human_input
from graphorch.errors import Expired, WrongOutput
from graphorch.graph.plan import SignalSpec, TimerSpec
from graphorch.text import blame, clean, format_value

LONGEST_KEY: Final = 200  # characters of the key of a signal


def build_wait(activation: Activation, now: float) -> Event:
    """Return what an attempt of a signal or timer means: a wait, or the value that it was given.

    Raises what the function of its key or time raises.
    """
    step = activation.step
    if activation.received is not None:
        (value,) = activation.received
        return NodeSucceeded(activation, step.writes[0].update(value), now)
    if isinstance(step.event, SignalSpec):
        due = None if step.event.expires is None else now + step.event.expires
        return WaitBegan(activation, EventWait(step.name, _find_key(activation), due), now)
    assert step.event is not None
    return WaitBegan(activation, EventWait(due=_find_due(activation, step.event, now)), now)


def _find_key(activation: Activation) -> str:
    step = activation.step
    if step.over is None:
        return ""
    assert activation.version is not None
    try:
        key = step.over(activation.version)
        check_key(key, f"'{step.over.name}' returned")
    except Exception as error:
        blame(error, f"key of '{step.name}'")
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
        if isinstance(value, timedelta) and value.total_seconds() >= 0:
            return now + value.total_seconds()
        wanted = "a duration from now on. Return a timedelta that is not negative"
    raise WrongOutput(f"'{name}' returned {format_value(value)}, which is not {wanted}.")


def find_due(activation: Activation) -> float | None:
    """Return when something becomes of an activation that waits; None if nothing does by itself."""
    if activation.status is Status.AWAITING_EVENT and activation.wait is not None:
        return activation.wait.due
    if activation.status is Status.AWAITING_ANSWER:
        due: float | None = getattr(activation.question, "expires", None)
        return due
    return None


def find_next_due(run: Run) -> float | None:
    """Return the next time at which something becomes of what a run waits for; None if never."""
    times = [find_due(activation) for activation in run.waits()]
    return min((time for time in times if time is not None), default=None)


def build_expiry(activation: Activation) -> Expired | None:
    """Return the error of an activation whose time is over; None for a timer, which has fired."""
    if activation.status is Status.AWAITING_ANSWER:
        return human_input.build_expiry(activation)
    event = activation.step.event
    if not isinstance(event, SignalSpec):
        return None
    return Expired(f"Signal '{activation.path}' did not come within {event.expires:g} s.")

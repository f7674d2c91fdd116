"""Transitions of an activation: which status may follow which, and what causes it.

The handlers in `run.py` and the functions that they call make these changes; nothing runs this
table. A test follows random runs and fails if a handler makes a change that is not listed here, or
if no run makes a change that is. The diagram in `semantics.md` is drawn from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

from graphorch.core.events import (
    Approved,
    Event,
    NodeCancelled,
    NodeFailed,
    NodeSkipped,
    NodeSucceeded,
    PersonAsked,
    RetryDue,
    Routed,
    ScopeEntered,
    SignalReceived,
    WaitBegan,
)
from graphorch.core.tree import Status

Cause: TypeAlias = type[Event] | str
"""Event about the activation itself, or one of the causes below, which come from around it."""

CHILDREN_DONE: Final = "children done"  # nothing is left to do inside it, or enough is done
CANCELLED: Final = "cancelled"  # by the decision of a join or map, or with what is around it
INTERRUPTED: Final = "interrupted"  # by a stop, a failure or the end of the time of grace
CLOSED: Final = "scope closed"  # nothing new starts around it, so its retry has to wait
ONLY_QUESTIONS: Final = "only questions left"  # of its tool calls, all but those have ended
ANSWERED_INSIDE: Final = "answered inside"  # a person decided about one of its tool calls
ITS_TURN: Final = "its turn"  # its exclusive regions are free, or the tool calls before it ended
REGION_HELD: Final = "region held"  # as it is to start, something else holds its exclusive region
UNDONE: Final = "undone"  # all that was committed inside it was undone, after it had failed
RESUMED: Final = "resumed"  # with the run, or with the sub-flow or map around it

TRANSITIONS: Final[Mapping[Status, Mapping[Cause, tuple[Status, ...]]]] = {
    Status.RUNNING: {
        NodeSucceeded: (Status.ROUTING, Status.DONE),
        ScopeEntered: (Status.ENTERED,),
        NodeFailed: (
            Status.UNDOING,
            Status.RETRYING,
            Status.HANDLED,
            Status.SKIPPED,
            Status.FAILED,
        ),
        NodeSkipped: (Status.SKIPPED,),
        NodeCancelled: (Status.FAILED,),
        PersonAsked: (Status.AWAITING_ANSWER,),
        WaitBegan: (Status.AWAITING_EVENT,),
        ONLY_QUESTIONS: (Status.ENTERED,),
        REGION_HELD: (Status.HELD,),
        INTERRUPTED: (Status.FAILED,),
        CANCELLED: (Status.CANCELLED,),
    },
    Status.ROUTING: {
        Routed: (Status.DONE,),
        NodeFailed: (
            Status.UNDOING,
            Status.RETRYING,
            Status.HANDLED,
            Status.SKIPPED,
            Status.FAILED,
        ),
        NodeCancelled: (Status.FAILED,),
        PersonAsked: (Status.AWAITING_ANSWER,),
        INTERRUPTED: (Status.FAILED,),
        CANCELLED: (Status.CANCELLED,),
    },
    Status.UNDOING: {
        UNDONE: (Status.HANDLED, Status.SKIPPED, Status.FAILED),
        INTERRUPTED: (Status.FAILED,),
        CANCELLED: (Status.CANCELLED,),
    },
    Status.RETRYING: {
        RetryDue: (Status.RUNNING, Status.ROUTING, Status.ENTERED),
        CLOSED: (Status.FAILED,),
        CANCELLED: (Status.CANCELLED,),
    },
    Status.ENTERED: {
        CHILDREN_DONE: (Status.RUNNING,),
        ANSWERED_INSIDE: (Status.RUNNING,),
        RESUMED: (Status.RUNNING,),
        SignalReceived: (Status.FAILED,),
        NodeFailed: (Status.RUNNING,),  # its deadline is over, and it fails once its inside stops
        CANCELLED: (Status.CANCELLED,),
    },
    Status.AWAITING_ANSWER: {
        NodeSucceeded: (Status.ROUTING, Status.DONE),
        NodeFailed: (
            Status.UNDOING,
            Status.RETRYING,
            Status.HANDLED,
            Status.SKIPPED,
            Status.FAILED,
        ),
        Approved: (Status.RUNNING, Status.ROUTING, Status.HELD, Status.FAILED),
        CANCELLED: (Status.CANCELLED,),
    },
    Status.AWAITING_EVENT: {
        SignalReceived: (Status.RUNNING, Status.FAILED),
        NodeSucceeded: (Status.ROUTING, Status.DONE),
        NodeFailed: (Status.RETRYING, Status.HANDLED, Status.SKIPPED, Status.FAILED),
        CANCELLED: (Status.CANCELLED,),
    },
    Status.HELD: {
        ITS_TURN: (Status.RUNNING,),
        CANCELLED: (Status.CANCELLED,),
    },
    Status.FAILED: {
        RESUMED: (
            Status.RUNNING,
            Status.ROUTING,
            Status.RETRYING,
            Status.UNDOING,
            Status.ENTERED,
        ),
        # What failed stays a failure, though nobody repeats it: a dead path.
        CANCELLED: (Status.CANCELLED, Status.SKIPPED),
    },
    Status.DONE: {},
    Status.HANDLED: {},
    Status.SKIPPED: {},
    Status.CANCELLED: {},
}


def draw_transitions() -> str:
    """Return the table as a Mermaid state diagram, without a final newline."""
    lines = ["stateDiagram-v2", f"    [*] --> {Status.RUNNING.name}"]
    for status, causes in TRANSITIONS.items():
        labels: dict[Status, list[str]] = {}
        for cause, targets in causes.items():
            for target in targets:
                labels.setdefault(target, []).append(_label(cause))
        for target in sorted(labels):
            lines.append(f"    {status.name} --> {target.name}: {', '.join(labels[target])}")
        if not causes:
            lines.append(f"    {status.name} --> [*]")
    return "\n".join(lines)


def _label(cause: Cause) -> str:
    return cause if isinstance(cause, str) else cause.__name__

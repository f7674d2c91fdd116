"""Events that a driver gives to the core, and the commands that it gets back.

The driver evaluates all functions of users (nodes, selectors, predicates, `over`, `enter`, `leave`,
`gather`, questions) and puts their values into events. So the core needs none of them, and a replay
runs none of them. Times (`at`) are seconds since the epoch. Of those that are rare most are named
tuples, which are made faster than dataclasses when a program imports this module.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from graphorch.core.tree import Activation, EventWait, Scope, ToolCalled, ToolRound
from graphorch.graph.edges import Edge
from graphorch.statuses import RunStatus

Update: TypeAlias = dict[int, Any]  # field index -> validated value


# ---- events --------------------------------------------------------------------------------------
@dataclass(slots=True)
class RunStarted:
    """Start of the run, with its input."""

    update: Update
    at: float = 0.0


@dataclass(slots=True)
class NodeSucceeded:
    """End of an attempt, with its update; of a sub-flow or map, the value of `leave` or `gather`.

    `attempt` names the attempt where a lost one may still report; 0 means the one that runs.
    `notes` are remarks of the node for people; nothing follows from them. `served` says that the
    result was given to the node, or is an error that a model is told: there is nothing to undo.
    """

    activation: Activation
    update: Update
    at: float = 0.0
    attempt: int = 0
    notes: tuple[str, ...] = ()
    served: bool = False


@dataclass(slots=True)
class RouteDecision:
    """Values of the predicates and the selector of a node whose result is committed.

    `loop` and `exhausted` are indices into the exits of the step, or -1 for none: the loop that is
    taken, and the first one that has reached its bound. `edges` are the routed edges.
    """

    loop: int = -1
    exhausted: int = -1
    edges: tuple[Edge, ...] = ()


@dataclass(slots=True)
class Routed:
    """Route of an activation whose result is committed."""

    activation: Activation
    decision: RouteDecision
    at: float = 0.0


@dataclass(slots=True)
class ScopeEntered:
    """Inputs of the scopes inside a sub-flow (one) or map (one per item).

    `keys` are there if the items of the map are named by them: they tell what is in the items.
    `wait` is what ends it from outside, if anything does: a signal, or the time of its deadline.
    `at_once` is how many items may be under way at once, if the place of the run decides that.
    """

    activation: Activation
    updates: list[Update]
    at: float = 0.0
    keys: Sequence[str] = ()
    wait: EventWait | None = None
    at_once: int | None = None


class ItemReviewed(NamedTuple):
    """Values of `until` and `grow` of a map, after one of its items is done.

    `item` names the item as paths do, such as `2` or `2.0`. If it is `enough`, the rest of the map
    is cancelled; otherwise `updates` are the inputs of the items that it grows, with `keys` as in
    `ScopeEntered`. `failure` is what one of the functions raised: it fails the map.
    """

    activation: Activation
    item: str
    enough: bool = False
    updates: Sequence[Update] = ()
    failure: Any = None
    at: float = 0.0
    keys: Sequence[str] = ()


class ToolsCalled(NamedTuple):
    """Tool calls that a model asked for, in its order, while the attempt of an activation runs.

    `key` tells the round from every other one of the activation, in every process. `abandons` are
    the keys of rounds that the attempt does not come to any more, since it asks something else.
    """

    activation: Activation
    key: str
    label: str
    calls: Sequence[ToolCalled]
    at: float = 0.0
    abandons: Sequence[str] = ()


@dataclass(slots=True)
class NodeFailed:
    """Failure of an attempt.

    `failure` is opaque to the core; it comes back in errors and travels on error edges.
    `retry_after` is the pause in seconds before the next attempt, or None if there is none.
    `handler` is the index of the error edge that fits, or -1. `limit` names the limit that the
    attempt met: such a failure stops the run instead of failing it. `undoes` says that what was
    committed inside is undone first, and then the failure goes on.
    """

    activation: Activation
    attempt: int
    failure: Any
    retry_after: float | None = None
    handler: int = -1
    limit: str = ""
    at: float = 0.0
    undoes: bool = False


class NodeSkipped(NamedTuple):
    """A node that cannot start, because no path to it assigned a field that it requires."""

    activation: Activation
    reason: str
    at: float = 0.0


class NodeCancelled(NamedTuple):
    """An attempt that was stopped because the run is to stop; nothing of it counts."""

    activation: Activation
    at: float = 0.0


class PersonAsked(NamedTuple):
    """A question to a person.

    The activation waits for `NodeSucceeded` or `NodeFailed`, or for `Approved` at a gate.
    """

    activation: Activation
    question: Any
    at: float = 0.0


class WaitBegan(NamedTuple):
    """A wait for a signal or a time.

    The activation is given a signal, or waits for `NodeSucceeded` (its time has come) or
    `NodeFailed` (its patience is over).
    """

    activation: Activation
    wait: EventWait
    at: float = 0.0


@dataclass(slots=True)
class SignalReceived:
    """A signal from outside; `value` is an instance of the model that its node declares."""

    name: str
    key: str
    value: Any
    at: float = 0.0


class Approved(NamedTuple):
    """A person's approval at a gate: before the node runs, or before its result goes on.

    `update` replaces what a tool is called with, if the person changed that.
    """

    activation: Activation
    at: float = 0.0
    update: Update | None = None


class RetryDue(NamedTuple):
    """End of the pause before the next attempt."""

    activation: Activation
    attempt: int
    at: float = 0.0


class StopRequested(NamedTuple):
    """Request to stop the run.

    Nothing new starts; running attempts are cancelled (`now`) or may finish. The run ends with
    `status`: "cancelled" for good, "stopped" to be resumed. `undoes` says that what was committed
    is undone before the run is cancelled. It `keeps_pauses` if what is left of the pauses before
    further attempts is waited for after it is resumed.
    """

    reason: str
    status: RunStatus = "stopped"
    now: bool = True
    at: float = 0.0
    undoes: bool = False
    keeps_pauses: bool = False


class GraceExpired(NamedTuple):
    """End of the time in which running attempts may finish after a failure."""

    at: float = 0.0


@dataclass(slots=True)
class Resumed:
    """Request to continue a run: to repeat what failed, and start what waited."""

    at: float = 0.0


Event: TypeAlias = (
    RunStarted
    | NodeSucceeded
    | Routed
    | ScopeEntered
    | ItemReviewed
    | ToolsCalled
    | NodeFailed
    | NodeSkipped
    | NodeCancelled
    | PersonAsked
    | WaitBegan
    | SignalReceived
    | Approved
    | RetryDue
    | StopRequested
    | GraceExpired
    | Resumed
)


# ---- commands ------------------------------------------------------------------------------------
# An activation is itself a command: run an attempt of it (the node, `enter` or `over` of a sub-flow
# or map, or a person's question).


@dataclass(slots=True)
class EvaluateRoute:
    """Evaluate the predicates and the selector of a committed result; answer with `Routed`."""

    activation: Activation


class LeaveScope(NamedTuple):
    """Evaluate `leave` or `gather` of a sub-flow or map; answer with `NodeSucceeded`."""

    activation: Activation


class ReviewItem(NamedTuple):
    """Evaluate `until` and `grow` of a map for an item that is done; answer with `ItemReviewed`."""

    activation: Activation
    scope: Scope


class RoundEnded(NamedTuple):
    """Hand the outcomes of a round of tool calls, or its failure, to the attempt that waits."""

    activation: Activation
    round: ToolRound


class SuspendNode(NamedTuple):
    """End the attempt that runs, without an outcome: only people can continue its tool calls."""

    activation: Activation


class NodeHeld(NamedTuple):
    """Nothing to run yet: the activation waits for its exclusive regions.

    It may have got its turn by a later command of the same event.
    """

    activation: Activation


class CancelNode(NamedTuple):
    """Stop the attempt that runs; its result is not accepted any more."""

    activation: Activation
    reason: str


class ScheduleRetry(NamedTuple):
    """Answer with `RetryDue` after this many seconds."""

    activation: Activation
    seconds: float


class WaitUntil(NamedTuple):
    """Report what becomes of an activation that waits, if it still waits at this time."""

    activation: Activation
    due: float


@dataclass(slots=True)
class FinishRun:
    """Return the outcome: nothing is left to do, or the run waits (`waits`)."""

    status: RunStatus
    reason: str = ""
    waits: list[Activation] = field(default_factory=list[Activation])


Command: TypeAlias = (
    Activation
    | EvaluateRoute
    | LeaveScope
    | ReviewItem
    | RoundEnded
    | SuspendNode
    | NodeHeld
    | CancelNode
    | ScheduleRetry
    | WaitUntil
    | FinishRun
)

"""What a driver tells the core: one small value per thing that happened, each with its time (seconds since the epoch).

The driver evaluates everything that is a user's function (nodes, selectors, predicates, `over`, `enter`, `leave`, `gather`, questions)
and hands over what it said, so the core needs none of them and a replay runs none of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from graphorch.core.tree import Activation
from graphorch.graph.topology import Edge

Update: TypeAlias = dict[int, Any]  # field index -> validated value


@dataclass(slots=True)
class RunStarted:
    """The run begins with this input."""

    update: Update
    at: float = 0.0


@dataclass(slots=True)
class NodeSucceeded:
    """An attempt ended with a valid update. For a sub-flow or map: what `leave` or `gather` made of the inside.

    `attempt` says which one it was, where a lost one may still report; 0 is the one that runs.
    """

    activation: Activation
    update: Update
    at: float = 0.0
    attempt: int = 0


@dataclass(slots=True)
class RouteDecision:
    """What selectors and predicates said. `loop` and `exhausted` number the step's exits, -1 is none; `edges` are the routed ones."""

    loop: int = -1
    exhausted: int = -1
    edges: tuple[Edge, ...] = ()


@dataclass(slots=True)
class Routed:
    """Where an activation goes whose result is committed."""

    activation: Activation
    decision: RouteDecision
    at: float = 0.0


@dataclass(slots=True)
class ScopeEntered:
    """The inputs of what runs inside a sub-flow (one) or map (one per item)."""

    activation: Activation
    updates: list[Update]
    at: float = 0.0


@dataclass(slots=True)
class NodeFailed:
    """An attempt failed.

    `failure` is opaque to the core; it comes back in errors and travels on error edges. `retry_after` is the pause in seconds before the
    next attempt, or None if there is none; `handler` numbers the error edge that fits, or is -1. `limit` names the limit that
    was behind it: such a failure stops the run instead of failing it.
    """

    activation: Activation
    attempt: int
    failure: Any
    retry_after: float | None = None
    handler: int = -1
    limit: str = ""
    at: float = 0.0


@dataclass(slots=True)
class NodeSkipped:
    """A node could not be started, because a field that it requires was never assigned on the path that led to it."""

    activation: Activation
    reason: str
    at: float = 0.0


@dataclass(slots=True)
class NodeCancelled:
    """An attempt was stopped because the run was asked to stop; nothing of it counts."""

    activation: Activation
    at: float = 0.0


@dataclass(slots=True)
class PersonAsked:
    """A question was put to a person; the activation waits for its answer: `NodeSucceeded`, or `Approved` at a gate, or `NodeFailed`."""

    activation: Activation
    question: Any
    at: float = 0.0


@dataclass(slots=True)
class Approved:
    """A person let an activation pass its gate: before it runs, or before its result goes on."""

    activation: Activation
    at: float = 0.0


@dataclass(slots=True)
class RetryDue:
    """The pause before the next attempt is over."""

    activation: Activation
    attempt: int
    at: float = 0.0


@dataclass(slots=True)
class StopRequested:
    """The run shall stop: nothing new starts, and running attempts are cancelled (`now`) or may finish.

    `status` is what the run ends as: "cancelled" for good, "stopped" to be resumed.
    """

    reason: str
    status: str = "stopped"
    now: bool = True
    at: float = 0.0


@dataclass(slots=True)
class GraceExpired:
    """What was allowed to finish after a failure has had its time: it is cancelled."""

    at: float = 0.0


@dataclass(slots=True)
class Resumed:
    """A stopped run goes on: what failed is tried again, what waited starts."""

    at: float = 0.0


Event: TypeAlias = (
    RunStarted
    | NodeSucceeded
    | Routed
    | ScopeEntered
    | NodeFailed
    | NodeSkipped
    | NodeCancelled
    | PersonAsked
    | Approved
    | RetryDue
    | StopRequested
    | GraceExpired
    | Resumed
)


# ---- commands: what the core tells a driver ----------------------------------------------------
# An activation by itself is one: run an attempt of it (the node, `enter` or `over` of a sub-flow or map, or a person's question).


@dataclass(slots=True)
class EvaluateRoute:
    """Evaluate the predicates and the selector of an activation whose result is committed, and answer with `Routed`."""

    activation: Activation


@dataclass(slots=True)
class LeaveScope:
    """Everything inside a sub-flow or map is finished: evaluate `leave` or `gather`, and answer with `NodeSucceeded`."""

    activation: Activation


@dataclass(slots=True)
class CancelNode:
    """Stop the attempt that runs; its result will not be taken any more."""

    activation: Activation
    reason: str


@dataclass(slots=True)
class ScheduleRetry:
    """Answer with `RetryDue` after this many seconds."""

    activation: Activation
    seconds: float


@dataclass(slots=True)
class FinishRun:
    """Nothing is left to do: the run succeeded, failed, was stopped, or waits for people."""

    status: str
    reason: str = ""
    waits: list[Activation] = field(default_factory=list[Activation])


Command: TypeAlias = (
    Activation | EvaluateRoute | LeaveScope | CancelNode | ScheduleRetry | FinishRun
)

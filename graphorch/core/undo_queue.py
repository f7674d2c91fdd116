"""What is left to be undone in a run, in order, and what could not be undone."""

from __future__ import annotations

from dataclasses import dataclass, field

from graphorch.core.events import NodeFailed
from graphorch.core.tree import Activation, UndoScope
from graphorch.state.version import Version


@dataclass(slots=True)
class Compensation:
    """Undos that belong together, because of one failure or cancellation.

    `left` are the activations that are not undone yet, with what their undos read; the last one
    comes first. `region` is the sub-flow or map whose work that was, None for the whole run;
    `failure` is what follows for it afterwards.
    """

    reason: str
    left: list[tuple[Activation, Version]]
    region: Activation | None = None
    failure: NodeFailed | None = None


@dataclass(slots=True)
class Undoing:
    """Compensations of one run, which take place one after the other.

    `scope` is that of the undo under way. `failed` are the undos that failed for good, in order.
    `is_requested`: all that was committed is to be undone once nothing else runs; `is_whole`: that
    has begun, for `reason`. While it `is_stopped`, for `stop_reason`, no undo begins.
    """

    queue: list[Compensation] = field(default_factory=list[Compensation])
    scope: UndoScope | None = None
    failed: list[Activation] = field(default_factory=list[Activation])
    is_requested: bool = False
    is_whole: bool = False
    is_stopped: bool = False
    stop_reason: str = ""
    reason: str = ""

    def list_left(self) -> list[Activation]:
        """Return the activations that are to be undone and are not, in the order of their undos."""
        left = [self.scope.undone] if self.scope is not None else []
        for compensation in self.queue:
            left += [activation for activation, _ in reversed(compensation.left)]
        return left

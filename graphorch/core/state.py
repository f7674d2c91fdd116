"""State of a run: its counters, its history, the commands of the event at hand, and its questions.

`Run` changes it, and so do the functions in `firing.py`, `stopping.py`, `children.py` and
`resuming.py`. What they need of the run itself is declared here as methods: `on_limit_reached`,
`on_end_reached`, `cancel`, `cancel_scope`, `exit_busy` and `settle`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from graphorch.core.events import Command, NodeFailed
from graphorch.core.exclusive import ExclusiveRegions
from graphorch.core.tree import Activation, ReviewedScopes, Scope, Status, Token
from graphorch.graph.plan import Plan
from graphorch.state.version import Version
from graphorch.statuses import RunStatus

if TYPE_CHECKING:
    from graphorch.core.undo_queue import Undoing

T = TypeVar("T")

# Shared and never changed: most runs get no signal that has to be kept.
NOTHING_KEPT: dict[tuple[str, str], list[Any]] = {}

OnFailure: TypeAlias = Literal["drain", "cancel", "isolate"]
UNLIMITED = 1 << 62
# An activation that is this does not make the failures inside it failures of the run.
_ABSORBS_FAILURES = frozenset({Status.DONE, Status.HANDLED, Status.CANCELLED})


def append_to(sequence: Sequence[T], items: Iterable[T]) -> list[T]:
    """Append to a sequence that is usually empty; `()` until then saves a list per run."""
    if isinstance(sequence, list):
        sequence.extend(items)
        return sequence
    return [*sequence, *items]


class RunState:
    """State of a run: "running" until `FinishRun`. `history` holds what is over, in order."""

    __slots__ = (
        "activations_left",
        "cancelled_tokens",
        "commands",
        "errors",
        "exclusive",
        "exhausted",
        "has_gaps",
        "has_quorums",
        "has_tool_calls",
        "history",
        "kept_signals",
        "late_tokens",
        "on_failure",
        "plan",
        "reason",
        "root",
        "run_id",
        "started",
        "status",
        "stop_status",
        "stopping",
        "undoes",
        "undoing",
    )

    def __init__(
        self,
        plan: Plan,
        run_id: str,
        *,
        max_activations: int = UNLIMITED,
        on_failure: OnFailure = "drain",
    ) -> None:
        self.plan = plan
        self.has_quorums = plan.has_quorums
        # who holds the exclusive regions, if there are any in it
        self.exclusive = ExclusiveRegions() if plan.exclusive else None
        self.has_tool_calls = False  # a tool was called in it
        self.run_id = run_id
        self.root = Scope(plan, run_id)
        self.on_failure: OnFailure = on_failure
        self.activations_left = max_activations  # how many may still start, in all scopes together
        self.started = 0
        self.status: RunStatus = "running"
        self.reason = ""
        self.stopping = ""  # why nothing new starts in the whole run
        self.stop_status: RunStatus = "stopped"
        self.commands: list[Command] = []  # what the driver has to do about the event at hand
        self.history: list[Activation] = []
        # failed for good and not handled at once, in the order in which they failed
        self.errors: Sequence[Activation] = ()
        # loops that reached their bound: path of the source, name of the header
        self.exhausted: Sequence[tuple[str, str]] = ()
        self.cancelled_tokens: Sequence[Token] = ()
        # signals that nothing waits for yet, by name and key, oldest first
        self.kept_signals = NOTHING_KEPT
        # reached a join that had decided without them and lets its losers finish
        self.late_tokens: Sequence[Token] = ()
        # something did not happen that `build()` counted on: a failure was survived, or a join
        # fired without all its branches
        self.has_gaps = False
        self.undoes = plan.has_undos  # what a join or map cancels is undone, where that says so
        self.undoing: Undoing | None = None  # once something is to be undone

    # ---- what the functions over this state need of the run --------------------------------------
    def on_limit_reached(self) -> None:
        """Stop the run: the limit on activations does not let another one start."""
        raise NotImplementedError

    def on_end_reached(self, scope: Scope, output: Version | None) -> None:
        """Finish a scope whose END fired. END is not work, so it makes no activation."""
        raise NotImplementedError

    def cancel(self, activation: Activation, reason: str) -> None:
        """Cancel an activation and everything inside it, for good."""
        raise NotImplementedError

    def end_failure(self, event: NodeFailed) -> None:
        """Decide what follows from a failure that is not retried."""
        raise NotImplementedError

    def undo_scopes(self, around: Activation, scopes: Sequence[Scope], reason: str) -> None:
        """Undo what was committed in scopes inside an activation that is about to be cancelled."""
        raise NotImplementedError

    def cancel_scope(self, scope: Scope, reason: str) -> None:
        """Cancel everything in a scope, for good."""
        raise NotImplementedError

    def exit_busy(self, scope: Scope) -> None:
        """Count one unit of work less in `scope`, and settle it if it becomes quiet."""
        raise NotImplementedError

    def settle(self, scope: Scope) -> None:
        """Decide what follows from a quiet scope for the run, or for the activation around it."""
        raise NotImplementedError

    def leave_rest(self, scope: Scope) -> None:
        """Count one more unit of work in a scope, of a run that may have waited."""
        self.enter_busy(scope)
        if self.status == "waiting":
            self.status = "running"

    def enter_busy(self, scope: Scope | None) -> None:
        """Count one more unit of work in `scope` and, if it was quiet, around it."""
        while scope is not None:
            scope.busy_count += 1
            if scope.busy_count > 1:
                return
            scope = scope.outer

    # ---- questions about a run -------------------------------------------------------------------
    @property
    def is_paused(self) -> bool:
        """Return whether the run rests until the end of a pause before a retry.

        It has to be resumed before anything else happens to it.
        """
        return self.status == "waiting" and bool(self.stopping)

    def pauses(self) -> list[Activation]:
        """Return the activations of a run at rest whose next attempt comes after a pause."""
        if not self.is_paused:
            return []
        return [
            activation
            for activation in self.unfinished()
            if activation.status is Status.FAILED and activation.retry_at
        ]

    def failed(self) -> list[Activation]:
        """Return the failures that nothing made good, in order: causes, not their effects."""
        return [
            activation
            # One that was inside of several attempts of a node may have failed in each.
            for activation in dict.fromkeys(self.errors)
            if not _is_effect_of_child(activation) and not _is_absorbed(activation)
        ]

    def unfinished(self) -> list[Activation]:
        """Return the activations that are not over, at every level."""
        unfinished = self.root.active_activations()
        if self.undoing is not None and self.undoing.scope is not None:
            unfinished += self.undoing.scope.active.values()
        return unfinished

    def questions(self) -> list[Activation]:
        """Return the activations that wait for a person."""
        return self.root.open_questions()

    def waits(self) -> list[Activation]:
        """Return the activations that wait for a person, a signal or a time."""
        raise NotImplementedError

    def ending_early(self) -> list[Activation]:
        """Return the sub-flows and maps under way that something ends from outside."""
        raise NotImplementedError

    def story(self, node: str) -> list[str]:
        """Return the story of a node, by name or path: a line per activation and event."""
        lines: list[str] = []
        for activation in [*self.history, *self.unfinished()]:
            if node in (activation.step.name, activation.path):
                lines += activation.story or []
                status = activation.status.name.lower()
                lines.append(f"{activation.path} attempt {activation.attempt}: {status}")
        return lines


def _is_effect_of_child(activation: Activation) -> bool:
    """Return whether it failed because something inside did, which is listed itself."""
    children = activation.children
    if children is None or not children.failed:
        return False
    if isinstance(children, ReviewedScopes) and children.review_failure is not None:
        return False
    return any(scope.failures for scope in children.scopes)


def _is_absorbed(activation: Activation) -> bool:
    """Return whether an activation around it carried on despite the failure, or was cancelled.

    Nothing carries on despite a failure of late work: nothing has waited for that any more.
    """
    scope, is_late = activation.scope, False
    while True:
        is_late = is_late or scope.late is not None
        around = scope.parent
        if around is None:
            return False
        if around.status in _ABSORBS_FAILURES and not is_late:
            return True
        if around.status is Status.CANCELLED:
            return True
        scope = around.scope

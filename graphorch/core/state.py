"""How far a run is: what is over, what failed, what waits, and what people ask about it. Read by everybody, written by `Run` alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from graphorch.core.firing import Scope
from graphorch.core.tree import Activation, Status, Token
from graphorch.graph.plan import Plan

OnFailure: TypeAlias = Literal["drain", "cancel", "isolate"]
UNLIMITED = 1 << 62


class RunState:
    """The state of a run. `status` is "running" until a `FinishRun` says otherwise; `history` holds what is over, in order of its end."""

    __slots__ = (
        "cancelled_tokens", "errors", "exhausted", "has_gaps", "history", "left", "on_failure", "plan", "reason", "root", "run_id", "started", "status",
    )  # fmt: skip

    def __init__(
        self, plan: Plan, run_id: str, root: Scope, max_activations: int, on_failure: OnFailure
    ) -> None:
        self.plan = plan
        self.run_id = run_id
        self.root = root
        self.on_failure: OnFailure = on_failure
        self.left = max_activations  # how many activations may still start, in all scopes together
        self.started = 0
        self.status = "running"
        self.reason = ""
        self.history: list[Activation] = []
        # what failed for good and was not handled at once, in the order in which it failed
        self.errors: Sequence[Activation] = ()
        # loops that reached their bound: path of the source, name of the header
        self.exhausted: Sequence[tuple[str, str]] = ()
        self.cancelled_tokens: Sequence[Token] = ()
        # something did not happen that `build()` counted on: a failure was survived, or a join fired short
        self.has_gaps = False

    def failed(self) -> list[Activation]:
        """What failed for good and was made good by nothing around it, in the order in which it failed; causes, not what they brought down."""
        causes: list[Activation] = []
        for activation in self.errors:
            around: list[Activation] = []
            above = activation.scope.parent
            while above is not None:
                around.append(above)
                above = above.scope.parent
            brought_down = (
                activation.children is not None
                and activation.children.failed
                and any(scope.failures for scope in activation.children.scopes)
            )
            if not brought_down and not any(
                item.status in (Status.DONE, Status.HANDLED, Status.CANCELLED) for item in around
            ):
                causes.append(activation)
        return causes

    def unfinished(self) -> list[Activation]:
        """The activations that are not over, at every level."""
        return self.root.active_activations()

    def questions(self) -> list[Activation]:
        """The activations that wait for a person."""
        return self.root.open_questions()

    def story(self, node: str) -> list[str]:
        """What happened to a node in this run, one line per activation and event of it."""
        lines: list[str] = []
        for activation in [*self.history, *self.root.active_activations()]:
            if node in (activation.step.name, activation.path):
                lines += activation.story or []
                lines.append(
                    f"{activation.path} attempt {activation.attempt}: {activation.status.name.lower()}"
                )
        return lines

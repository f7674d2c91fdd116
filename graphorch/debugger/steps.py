"""Steps of a session: what each activation changed, where it led, and which models it called."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from graphorch.core.run import Run
from graphorch.core.tree import Activation, Status, ToolScope, ToolScopes
from graphorch.engine.attempts.model_calls import RecordedCall
from graphorch.engine.invocation.secret_values import find_marked
from graphorch.engine.report import read_outcome
from graphorch.errors import ReducerFailed, Unassigned
from graphorch.graph.payloads import ToolArguments
from graphorch.state.marks import HIDDEN
from graphorch.state.slices import Field
from graphorch.state.version import UNSET
from graphorch.text import format_error

StepKind: TypeAlias = Literal[
    "done", "handled", "skipped", "cancelled", "failed", "asked", "waits", "entered"
]

_KINDS: dict[Status, StepKind] = {
    Status.DONE: "done",
    Status.HANDLED: "handled",
    Status.SKIPPED: "skipped",
    Status.CANCELLED: "cancelled",
    Status.FAILED: "failed",
    Status.AWAITING_ANSWER: "asked",
    Status.AWAITING_EVENT: "waits",
    Status.ENTERED: "entered",
}


@dataclass(frozen=True, slots=True)
class DebugStep:
    """One activation that happened.

    `kind`: `done` committed, `handled` failed and an error edge carried on, `skipped` could not
    read its input or failed in isolation, `failed` stops the run, `asked` waits for a person,
    `waits` for a signal or a time, `entered` went into a sub-flow or map, or waits for tool calls.
    `how` names the cause: the node `ran`, or its output was `edited`, `pinned` or `answered`.
    `changed` holds fields before and after; a field without a value was None, and a secret is
    hidden. `to` names the nodes that its tokens went to. `tool` is the name of the tool of a call,
    `arguments` are what it runs with, and `outcome` is what the model reads of it.
    """

    path: str
    node: str
    kind: StepKind
    activation: str
    how: Literal["ran", "edited", "pinned", "answered"] = "ran"
    changed: Mapping[str, tuple[Any, Any]] = field(default_factory=dict[str, tuple[Any, Any]])
    to: tuple[str, ...] = ()
    seconds: float = 0.0
    attempts: int = 1
    error: str = ""
    failure: Exception | None = None
    calls: tuple[RecordedCall, ...] = ()
    tool: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    outcome: str = ""

    @property
    def usd(self) -> float:
        """Dollars spent on its model calls, failed ones too, as far as their price is known."""
        return sum(call.charge.usd for call in self.calls)

    @property
    def unpriced(self) -> int:
        """Requests to models whose dollars are not known, and not part of `usd`."""
        return sum(call.charge.unpriced for call in self.calls)

    @property
    def tokens(self) -> int:
        """Tokens of its model calls, input and output."""
        return sum(call.charge.tokens for call in self.calls)


class DebugRecorder:
    """Observes a run at its quiet points, and turns what happened between two into steps.

    An update does not hold what a field was before it, so the recorder keeps the fields that each
    open activation reads until it is over.
    """

    def __init__(self) -> None:
        self._recorded = 0  # activations of the run's history that are steps already
        self._values_before: dict[Activation, dict[int, Any]] = {}

    def start_at(self, run: Run) -> None:
        """Start at a quiet point: only what happens from here on becomes a step."""
        self._recorded = len(run.history)
        self._values_before = {}
        for activation in run.unfinished():
            self.remember(activation)

    def remember(self, activation: Activation) -> None:
        """Keep the fields that an activation reads, before it runs."""
        if activation.version is None or activation in self._values_before:
            return
        fields = activation.scope.plan.schema.fields
        self._values_before[activation] = {
            field.index: _read_stored(field, activation) for field in fields
        }

    def collect(
        self, run: Run, stepped: Activation | None, calls: Sequence[RecordedCall]
    ) -> list[DebugStep]:
        """Return the steps since the last quiet point; `stepped` was let through there."""
        activations = list(run.history[self._recorded :])
        self._recorded = len(run.history)
        # One that asked or entered a sub-flow is not over, so it is not part of the history.
        if stepped is not None and stepped not in activations and _find_kind(stepped) is not None:
            activations.append(stepped)
        return [self._build_step(activation, calls) for activation in activations]

    def _build_step(self, activation: Activation, calls: Sequence[RecordedCall]) -> DebugStep:
        before = self._values_before.get(activation, {})
        if activation.is_over:
            self._values_before.pop(activation, None)
        failure = activation.failure if isinstance(activation.failure, Exception) else None
        error = str(activation.failure or "") if failure is None else format_error(failure)
        seconds = 0.0
        if activation.ended_at and activation.started_at:
            seconds = max(0.0, activation.ended_at - activation.started_at)
        steps = activation.scope.plan.steps
        kind = _find_kind(activation)
        assert kind is not None
        return DebugStep(
            path=activation.path,
            node=activation.step.name,
            kind=kind,
            activation=activation.id,
            changed=_list_changes(activation, before),
            to=()
            if activation.tool
            else tuple(steps[edge.target].name for edge in activation.taken_edges),
            tool=activation.tool,
            arguments=_read_arguments(activation),
            outcome=read_outcome(activation),
            seconds=seconds,
            attempts=activation.attempt - activation.first_attempt + 1,
            error=error,
            failure=failure,
            calls=tuple(call for call in calls if call.activation == activation.id),
        )


def _read_arguments(activation: Activation) -> Mapping[str, Any]:
    """Return what a call of a tool runs with."""
    scope = activation.scope
    if not isinstance(scope, ToolScope):
        return {}
    version = scope.output or activation.version
    if version is None:
        return scope.call.arguments
    reader = scope.plan.schema.reader(ToolArguments)
    arguments: Mapping[str, Any] = reader.read(version).arguments
    return arguments


def _find_kind(activation: Activation) -> StepKind | None:
    """Return what happened to an activation; None if it is still running."""
    if activation.status is Status.RUNNING and isinstance(activation.children, ToolScopes):
        return "entered"  # its calls are next
    return _KINDS.get(activation.status)


def _list_changes(activation: Activation, before: Mapping[int, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the fields that an activation wrote, before and after."""
    fields = activation.scope.plan.schema.fields
    changes: dict[str, tuple[Any, Any]] = {}
    marked = find_marked(activation.scope)
    for index, written in (activation.update or {}).items():
        field = fields[index]
        if marked is not None and field.name in marked.secrets:
            changes[field.name] = (HIDDEN, HIDDEN)
            continue
        changes[field.name] = _pair(field, before.get(index, UNSET), written, activation)
    return changes


def _pair(field: Field, before: Any, written: Any, activation: Activation) -> tuple[Any, Any]:
    """Return copies of a field before and after an update."""
    old = field.default() if before is UNSET else before
    new = written
    # A reducer folds what was written into the value; at depth 0 the input is the value itself.
    if field.reduce is not None and old is not UNSET and activation.depth:
        with contextlib.suppress(ReducerFailed):  # a reader of the field will fail with it
            new = field.fold_one(_copy(field, old), _copy(field, written))
    return (None if old is UNSET else _copy(field, old)), _copy(field, new)


def _copy(field: Field, value: Any) -> Any:
    if field.copy is None:
        return value
    return field.copy(value)


def _read_stored(field: Field, activation: Activation) -> Any:
    assert activation.version is not None
    try:
        return field.stored(activation.version)
    except (Unassigned, ReducerFailed):
        return UNSET

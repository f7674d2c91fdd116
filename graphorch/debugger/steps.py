"""What happened between two quiet points of a run, one moment per activation: what it changed, where it led, and what it asked of models."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from graphorch.core.run import Run
from graphorch.core.tree import Activation, Status
from graphorch.engine.attempts.model_calls import RecordedCall
from graphorch.errors import Unassigned
from graphorch.state.slices import Field
from graphorch.state.version import UNSET

Kind = Literal["done", "handled", "skipped", "cancelled", "failed", "asked", "entered"]

_KINDS: dict[Status, Kind] = {
    Status.DONE: "done",
    Status.HANDLED: "handled",
    Status.SKIPPED: "skipped",
    Status.CANCELLED: "cancelled",
    Status.FAILED: "failed",
    Status.AWAITING_ANSWER: "asked",
    Status.ENTERED: "entered",
}


@dataclass(frozen=True, slots=True)
class DebugStep:
    """One thing that happened. `changed` holds fields with what they were and are; a field that nothing had assigned was None.

    `kind`: `done` committed, `handled` failed and an error edge carried on, `skipped` could not read what it needs or failed in isolation,
    `failed` stops the run, `asked` waits for a person, `entered` went into a sub-flow or map. `how` says what brought it about: it `ran`, or
    its output was `edited`, `pinned` or `answered`. `to` names the nodes that its tokens went to.
    """

    path: str
    node: str
    kind: Kind
    activation: str
    how: Literal["ran", "edited", "pinned", "answered"] = "ran"
    changed: Mapping[str, tuple[Any, Any]] = field(default_factory=dict[str, tuple[Any, Any]])
    to: tuple[str, ...] = ()
    seconds: float = 0.0
    attempts: int = 1
    error: str = ""
    failure: Exception | None = None
    calls: tuple[RecordedCall, ...] = ()

    def __await__(self) -> Generator[None, None, Self]:
        """Itself, at once: a command of a session is over when it returns, and a cell that says `await session.step()` is right too."""
        return self
        yield

    @property
    def usd(self) -> float:
        """Dollars spent on its model calls, as far as their price is known."""
        return sum(call.response.usd for call in self.calls if call.response is not None)

    @property
    def tokens(self) -> int:
        """Tokens of its model calls, input and output."""
        answered = [call.response.usage for call in self.calls if call.response is not None]
        return sum(usage.input_tokens + usage.output_tokens for usage in answered)


class DebugRecorder:
    """Sees a run at its quiet points, and tells what happened since the one before."""

    def __init__(self) -> None:
        self._seen = 0
        self._given: dict[Activation, dict[int, Any]] = {}

    def look(self, run: Run) -> None:
        """Begin at a point: what is over by now is not told, and what is open is remembered as it is."""
        self._seen = len(run.history)
        self._given = {}
        for activation in run.unfinished():
            self.remember(activation)

    def remember(self, activation: Activation) -> None:
        """Keep what an activation reads, before it goes on."""
        if activation.version is not None and activation not in self._given:
            self._given[activation] = {
                field.index: _stored(field, activation)
                for field in activation.scope.plan.schema.fields
            }

    def since(
        self, run: Run, stepped: Activation | None, calls: Sequence[RecordedCall]
    ) -> list[DebugStep]:
        """What happened since the last quiet point; `stepped` is the activation that was let through."""
        over = run.history[self._seen :]
        self._seen = len(run.history)
        found = list(over)
        if stepped is not None and stepped not in over and stepped.status in _KINDS:
            found.append(stepped)
        return [self._moment(activation, calls) for activation in found]

    def _moment(self, activation: Activation, calls: Sequence[RecordedCall]) -> DebugStep:
        given = self._given.get(activation, {})
        if activation.is_over:
            self._given.pop(activation, None)
        failure = activation.failure if isinstance(activation.failure, Exception) else None
        steps = activation.scope.plan.steps
        return DebugStep(
            path=activation.path,
            node=activation.step.name,
            kind=_KINDS[activation.status],
            activation=activation.id,
            changed={} if activation.update is None else _changed(activation, given),
            to=tuple(steps[edge.target].name for edge in activation.taken_edges),
            seconds=max(0.0, activation.ended_at - activation.started_at)
            if activation.ended_at and activation.started_at
            else 0.0,
            attempts=activation.attempt - activation.first_attempt + 1,
            error=f"{type(failure).__name__}: {failure}"
            if failure is not None
            else str(activation.failure or ""),
            failure=failure,
            calls=tuple(call for call in calls if call.activation == activation.id),
        )


def _changed(activation: Activation, given: Mapping[int, Any]) -> dict[str, tuple[Any, Any]]:
    fields = activation.scope.plan.schema.fields
    return {
        fields[index].name: _pair(fields[index], given.get(index, UNSET), update, activation)
        for index, update in (activation.update or {}).items()
    }


def _pair(field: Field, before: Any, update: Any, activation: Activation) -> tuple[Any, Any]:
    """A field before and after an update, both copies."""
    was = field.default() if before is UNSET else before
    after = update
    if field.reduce is not None and was is not UNSET and activation.depth:
        after = field.reduce(_copied(field, was), _copied(field, update))
    return (None if was is UNSET else _copied(field, was)), _copied(field, after)


def _copied(field: Field, value: Any) -> Any:
    return value if field.copy is None else field.copy(value)


def _stored(field: Field, activation: Activation) -> Any:
    assert activation.version is not None
    try:
        return field.stored(activation.version)
    except Unassigned:
        return UNSET

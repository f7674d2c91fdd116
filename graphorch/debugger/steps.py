"""What happened between two quiet points of a run, one moment per activation: what it changed, where it led, and what it asked of models."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from graphorch.core.run import Run
from graphorch.core.tree import Activation, Status
from graphorch.engine.model_calls import Call
from graphorch.errors import Unassigned
from graphorch.state.slices import Field
from graphorch.state.version import UNSET

Kind = Literal["done", "handled", "skipped", "cancelled", "failed", "asked", "entered"]

_KINDS: dict[Status, Kind] = {
    Status.DONE: "done",
    Status.HANDLED: "handled",
    Status.DEAD: "skipped",
    Status.CANCELLED: "cancelled",
    Status.FAILED: "failed",
    Status.ASKED: "asked",
    Status.INSIDE: "entered",
}


@dataclass(frozen=True, slots=True)
class Moment:
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
    calls: tuple[Call, ...] = ()

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


class Observer:
    """Sees a run at its quiet points, and tells what happened since the one before."""

    def __init__(self) -> None:
        self._seen = 0
        self._given: dict[Activation, dict[int, Any]] = {}

    def look(self, run: Run) -> None:
        """Begin at a point: what is over by now is not told, and what is open is remembered as it is."""
        self._seen = len(run.history)
        self._given = {}
        for one in run.unfinished():
            self.remember(one)

    def remember(self, one: Activation) -> None:
        """Keep what an activation reads, before it goes on."""
        if one.version is not None and one not in self._given:
            self._given[one] = {
                field.index: _stored(field, one) for field in one.scope.plan.schema.fields
            }

    def since(self, run: Run, stepped: Activation | None, calls: Sequence[Call]) -> list[Moment]:
        """What happened since the last quiet point; `stepped` is the activation that was let through."""
        over = run.history[self._seen :]
        self._seen = len(run.history)
        found = list(over)
        if stepped is not None and stepped not in over and stepped.status in _KINDS:
            found.append(stepped)
        return [self._moment(one, calls) for one in found]

    def _moment(self, one: Activation, calls: Sequence[Call]) -> Moment:
        given = self._given.get(one, {})
        if one.is_over:
            self._given.pop(one, None)
        failure = one.failure if isinstance(one.failure, Exception) else None
        steps = one.scope.plan.steps
        return Moment(
            path=one.path,
            node=one.step.name,
            kind=_KINDS[one.status],
            activation=one.id,
            changed={} if one.update is None else _changed(one, given),
            to=tuple(steps[edge.target].name for edge in one.taken),
            seconds=max(0.0, one.ended - one.began) if one.ended and one.began else 0.0,
            attempts=one.attempt - one.first_attempt + 1,
            error=f"{type(failure).__name__}: {failure}"
            if failure is not None
            else str(one.failure or ""),
            failure=failure,
            calls=tuple(call for call in calls if call.activation == one.id),
        )


def _changed(one: Activation, given: Mapping[int, Any]) -> dict[str, tuple[Any, Any]]:
    fields = one.scope.plan.schema.fields
    return {
        fields[index].name: _pair(fields[index], given.get(index, UNSET), update, one)
        for index, update in (one.update or {}).items()
    }


def _pair(field: Field, before: Any, update: Any, one: Activation) -> tuple[Any, Any]:
    """A field before and after an update, both copies."""
    was = field.default() if before is UNSET else before
    after = update
    if field.reduce is not None and was is not UNSET and one.depth:
        after = field.reduce(_copied(field, was), _copied(field, update))
    return (None if was is UNSET else _copied(field, was)), _copied(field, after)


def _copied(field: Field, value: Any) -> Any:
    return value if field.copy is None else field.copy(value)


def _stored(field: Field, one: Activation) -> Any:
    assert one.version is not None
    try:
        return field.stored(one.version)
    except Unassigned:
        return UNSET

"""Where a session stops by itself: before a node, after a route was taken, after an error, or when something becomes true of the state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from graphorch.core.tree import Activation
from graphorch.debugger.steps import DebugStep
from graphorch.errors import InputError, Unassigned, did_you_mean
from graphorch.graph.plan import Plan, Step
from graphorch.render.plan_picture import box_id

Predicate = Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class AtNode:
    """Stops before a node runs. `path` has no item numbers: all items of a map count."""

    path: str

    def __str__(self) -> str:
        return f"before '{self.path}'"


@dataclass(frozen=True, slots=True)
class OnRoute:
    """Stops after an activation of `source` sent a token to `target`."""

    source: str
    target: str

    def __str__(self) -> str:
        return f"on '{self.source}' → '{self.target}'"


@dataclass(frozen=True, slots=True)
class OnError:
    """Stops after an activation failed with this kind of exception, handled or not."""

    kind: type[Exception] = Exception

    def __str__(self) -> str:
        return f"on {self.kind.__name__}"


@dataclass(frozen=True, slots=True)
class When:
    """Stops after the step that makes a predicate over the whole state true."""

    holds: Predicate

    def __str__(self) -> str:
        return f"when {getattr(self.holds, '__name__', 'a predicate')} holds"


Breakpoint = AtNode | OnRoute | OnError | When


def stops_before(activation: Activation, breakpoints: Sequence[Breakpoint]) -> Breakpoint | None:
    """The breakpoint in front of an activation."""
    return next(
        (
            item
            for item in breakpoints
            if isinstance(item, AtNode) and item.path == box_id(activation.path)
        ),
        None,
    )


def stops_after(
    moments: Sequence[DebugStep], breakpoints: Sequence[Breakpoint]
) -> Breakpoint | None:
    """The breakpoint that one of these moments meets; predicates are another matter."""
    for moment in moments:
        for item in breakpoints:
            if (
                isinstance(item, OnRoute)
                and item.source == box_id(moment.path)
                and item.target in moment.to
            ):
                return item
            if isinstance(item, OnError) and isinstance(moment.failure, item.kind):
                return item
    return None


def holds(predicate: Predicate, state: BaseModel) -> bool:
    """What a predicate says; of what nothing has assigned yet, it says no. Raises `InputError` for whatever else it raises."""
    try:
        return bool(predicate(state))
    except Exception as error:
        if isinstance(error, Unassigned) or (
            isinstance(error, AttributeError) and error.name in type(state).model_fields
        ):
            return False
        name = getattr(predicate, "__name__", "the predicate")
        raise InputError(
            f"The condition '{name}' raised {type(error).__name__}: {error}. It gets the whole state, and says true or false."
        ) from error


def step_at(plan: Plan, path: str) -> Step:
    """The node at a path, whose parts name nodes, with or without item numbers. Raises `InputError` with the nearest name."""
    *above, last = box_id(path).split("/")
    for name in above:
        inner = _step(plan, name, path).inner_plan
        if inner is None:
            raise InputError(f"'{path}' names nothing: '{name}' is neither a sub-flow nor a map.")
        plan = inner
    return _step(plan, last.partition("[")[0], path)


def _step(plan: Plan, name: str, path: str) -> Step:
    for step in plan.steps[: plan.end]:
        if step.name == name:
            return step
    raise InputError(
        f"'{path}' names no node of '{plan.name}'. {did_you_mean(name, [step.name for step in plan.steps[: plan.end]])}"
    )

"""Breakpoints of a session: before a node, after a route, after an error, or on a condition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from pydantic import BaseModel

from graphorch.core.tree import Activation
from graphorch.debugger.steps import DebugStep
from graphorch.errors import InputError, Unassigned, as_failure
from graphorch.render.plan_picture import box_id
from graphorch.text import is_kind

Predicate: TypeAlias = Callable[[Any], bool]
"""A function of the whole state."""


@dataclass(frozen=True, slots=True)
class AtNode:
    """Stop before a node runs. `path` has no item numbers: it stands for all items of a map."""

    path: str

    def __str__(self) -> str:
        return f"before '{self.path}'"


@dataclass(frozen=True, slots=True)
class OnRoute:
    """Stop after an activation of `source` sent a token to `target`."""

    source: str
    target: str

    def __str__(self) -> str:
        return f"on '{self.source}' → '{self.target}'"


@dataclass(frozen=True, slots=True)
class OnError:
    """Stop after an activation failed with this kind of exception, handled or not."""

    kind: type[Exception] = Exception

    def __str__(self) -> str:
        return f"on {self.kind.__name__}"


@dataclass(frozen=True, slots=True)
class When:
    """Stop after the step that makes a predicate over the whole state true."""

    holds: Predicate

    def __str__(self) -> str:
        return f"when {getattr(self.holds, '__name__', 'a predicate')} holds"


Breakpoint: TypeAlias = AtNode | OnRoute | OnError | When


def find_stop_before(
    activation: Activation, breakpoints: Sequence[Breakpoint]
) -> Breakpoint | None:
    """Return the first breakpoint that stops before an activation."""
    path = box_id(activation.path)
    for breakpoint in breakpoints:
        if isinstance(breakpoint, AtNode) and breakpoint.path == path:
            return breakpoint
    return None


def find_stop_after(
    steps: Sequence[DebugStep], breakpoints: Sequence[Breakpoint]
) -> Breakpoint | None:
    """Return the first breakpoint on a route or an error that one of these steps meets."""
    for step in steps:
        for breakpoint in breakpoints:
            if isinstance(breakpoint, OnRoute) and _takes_route(step, breakpoint):
                return breakpoint
            if isinstance(breakpoint, OnError) and is_kind(step.failure, breakpoint.kind):
                return breakpoint
    return None


def _takes_route(step: DebugStep, route: OnRoute) -> bool:
    return route.source == box_id(step.path) and route.target in step.to


def holds_now(predicate: Predicate, state: BaseModel) -> bool:
    """Evaluate a predicate; one that reads a field without a value is false.

    Raises `InputError` for any other exception of the predicate.
    """
    try:
        return bool(predicate(state))
    # The border to the user's predicates.
    except BaseException as raised:
        error = as_failure(raised)
        if error is None:
            raise
        if _reads_unassigned(error, state):
            return False
        name = getattr(predicate, "__name__", "the predicate")
        raise InputError(
            f"The condition '{name}' raised {type(error).__name__}: {error}. "
            "It is called with the whole state and has to return true or false."
        ) from error


def _reads_unassigned(error: Exception, state: BaseModel) -> bool:
    if isinstance(error, AttributeError):
        return error.name in type(state).model_fields
    return isinstance(error, Unassigned)

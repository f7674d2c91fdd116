"""State of a run that is still under way, between two steps."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from graphorch.core.run import Run
from graphorch.core.tree import Activation, Scope
from graphorch.errors import WriteConflict
from graphorch.state.version import Version, unite


def read_state(run: Run) -> BaseModel:
    """Return the whole state: everything that any branch has written, as a fresh copy."""
    return run.plan.read_state.result(_unite_live_versions(run.root))


def read_scope_state(run: Run, next_up: Activation | None) -> tuple[str, BaseModel] | None:
    """Return path and state of the sub-flow or map that the next activation is in, if any."""
    scope = run.root if next_up is None else next_up.scope
    if scope.parent is None:
        return None
    state = scope.plan.read_state.result(_unite_live_versions(scope))
    return scope.prefix.rstrip("/"), state


def read_values(run: Run) -> dict[str, Any]:
    """Return the assigned fields of the whole state as plain values."""
    return run.plan.read_state.read(_unite_live_versions(run.root)).model_dump()


def _unite_live_versions(scope: Scope) -> Version:
    """Unite what everything alive in a scope has seen; return its output once END was reached."""
    if scope.output is not None:
        return scope.output
    versions = [activation.version for activation in scope.active.values()]
    for tokens in scope.waiting.values():
        versions += [token.version for token in tokens]
    known = [version for version in versions if version is not None]
    if not known:
        return Version({}, {})
    try:
        return unite(known)
    except WriteConflict:
        # Only an edit can lead here. The join of the two branches will report the conflict.
        return known[0]

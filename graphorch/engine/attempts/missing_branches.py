"""Find the branches that contributed nothing to a join, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from graphorch.core.late_work import find_home
from graphorch.core.tree import Activation, Status
from graphorch.text import format_error

_NOT_AWAITED: Final = "it was not waited for: enough others had come"


def find_missing_branches(
    activation: Activation, history: Iterable[Activation]
) -> Mapping[str, str]:
    """Return the nodes before a join that brought no result, each with the reason.

    `activation` is the join's; the order is that of its edges. A node that an error edge led away
    from is missing even if its failure came here.
    """
    step, scope = activation.step, activation.scope
    present = {
        token.source.step.index
        for token in activation.tokens
        if token.source is not None and token.failure is None
    }
    home = find_home(scope)  # late work, or what it is late for, is in another scope
    latest = {
        earlier.step.index: earlier
        for earlier in history
        if find_home(earlier.scope) is home and earlier.counters == activation.counters
    }
    missing: dict[str, str] = {}
    for edge in scope.plan.topology.entering[step.index]:
        last = latest.get(edge.source)
        # the source of an error edge that succeeded sent its result along another edge
        succeeded = edge.kind == "error" and last is not None and last.status is Status.DONE
        if edge.source >= 0 and edge.source not in present and not succeeded:
            # Of losers that finish, none is told as done: when it is depends on timing.
            is_late = step.finishes and (last is None or last.status is Status.DONE)
            reason = _NOT_AWAITED if is_late else _explain(last)
            missing.setdefault(scope.plan.steps[edge.source].name, reason)
    return missing


def _explain(last: Activation | None) -> str:
    if last is None:
        return "it was not begun"
    if last.status is Status.CANCELLED:
        return _NOT_AWAITED
    failure = last.failure
    if failure is None:
        return "its result did not come here"
    if isinstance(failure, Exception):
        return f"it failed: {format_error(failure)}"
    return f"it failed: {failure}"

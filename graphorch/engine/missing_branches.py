"""Which branches brought nothing to a join, and why: what a pattern's join tells whoever merges."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from graphorch.core.tree import Activation, Status


def find_missing_branches(
    activation: Activation, history: Iterable[Activation]
) -> Mapping[str, str]:
    """For the join that an activation is: the nodes before it that brought no result, each with the reason, in the order of its edges.

    A node that an error edge led away from is absent even if its failure came here.
    """
    step, scope = activation.step, activation.scope
    present = {
        token.source.step.index
        for token in activation.tokens
        if token.source is not None and token.failure is None
    }
    latest = {
        item.step.index: item
        for item in history
        if item.scope is scope and item.counters == activation.counters
    }
    found: dict[str, str] = {}
    for edge in scope.plan.topology.entering[step.index]:
        last = latest.get(edge.source)
        # its result went another way
        succeeded = edge.kind == "error" and last is not None and last.status is Status.DONE
        if edge.source >= 0 and edge.source not in present and not succeeded:
            found.setdefault(scope.plan.steps[edge.source].name, _reason(last))
    return found


def _reason(last: Activation | None) -> str:
    if last is None:
        return "it was not begun"
    if last.status is Status.CANCELLED:
        return "it was not waited for: enough others had come"
    if last.failure is not None:
        failure = last.failure
        return (
            f"it failed: {type(failure).__name__}: {failure}"
            if isinstance(failure, Exception)
            else f"it failed: {failure}"
        )
    return "its result did not come here"

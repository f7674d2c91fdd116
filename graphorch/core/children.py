"""Scopes inside a sub-flow (one) or a map (one per item): when they begin, and how they end.

Rule 1: a map has at most as many scopes running at once as its concurrency allows. The next one
    begins when one ends.
Rule 2: a scope that cannot reach its END fails the sub-flow or map, and closes the other scopes;
    in a map that leaves out failed items or needs only some, it is cancelled instead.
Rule 3: a map that has as many results as it needs cancels the rest.
Rule 4: a sub-flow or map is left once: when all is done, when enough is done, or after a failure
    when nothing runs inside any more.

These are functions over the state of a run. Which scope is done or has failed is decided where a
quiet scope is settled, in `run.py`.
"""

from __future__ import annotations

from graphorch.core.events import LeaveScope, Update
from graphorch.core.firing import begin
from graphorch.core.state import RunState
from graphorch.core.stopping import cancel_children, cancel_scope, close_scope, interrupt_scope
from graphorch.core.tree import Activation, ChildScopes, Scope, Status

# Shared and never changed: takes the place of an input that its scope has received.
_NO_UPDATE: Update = {}


def start_items(
    run: RunState, activation: Activation, children: ChildScopes, until: int = 0
) -> None:
    """Begin the next scopes inside, as far as the concurrency limit allows, or `until` so many."""
    spec, plan = activation.step.map, activation.step.inner_plan
    assert plan is not None
    concurrency = spec.concurrency if spec is not None else 1
    while children.started < len(children.updates) and (
        children.running < concurrency or children.started < until
    ):
        # Checked for every item, since one that ends at once may have changed any of these.
        if activation.scope.closed or activation.status is not Status.ENTERED or children.failed:
            return
        item = children.started
        children.started += 1
        children.running += 1
        scope = Scope(plan, "", activation, item if spec is not None else -1)
        children.scopes.append(scope)
        update, children.updates[item] = children.updates[item], _NO_UPDATE
        begin(run, scope, update)
        if not scope.busy_count and not scope.finished:
            run.settle(scope)


def finish_item(run: RunState, activation: Activation, scope: Scope) -> None:
    """Count a scope inside that reached its END; leave, or start the next one."""
    children = activation.children
    assert children is not None
    children.unfinished -= 1
    children.running -= 1
    children.succeeded += 1
    if has_enough(activation, children):
        reason = f"'{activation.path}' has the {children.succeeded} that it needs"
        cancel_children(run, children, reason)
        leave_children(run, activation)
    elif not children.unfinished:
        leave_children(run, activation)
    elif activation.status is Status.ENTERED:
        start_items(run, activation, children)


def fail_item(run: RunState, activation: Activation, scope: Scope) -> None:
    """Fail the sub-flow or map around a scope that cannot reach END, or leave out the item."""
    children, spec = activation.children, activation.step.map
    assert children is not None
    if spec is None or (spec.on_item_error == "fail" and spec.need is None):
        children.failed = True
        for other in children.scopes:
            if not other.finished:
                close_scope(run, other)
                if run.on_failure == "cancel":
                    interrupt_scope(run, other, f"'{scope.prefix.removesuffix('/')}' failed")
        leave_when_stopped(run, activation, children)
        return
    children.unfinished -= 1
    children.running -= 1
    cancel_scope(run, scope, "the item failed")
    if not children.unfinished:
        leave_children(run, activation)
    else:
        start_items(run, activation, children)


def leave_when_stopped(run: RunState, activation: Activation, children: ChildScopes) -> None:
    """Leave a sub-flow or map that failed, once nothing runs in it any more."""
    if not any(scope.busy_count for scope in children.scopes):
        leave_children(run, activation)


def leave_children(run: RunState, activation: Activation) -> None:
    """Ask for the result of a sub-flow or map: `LeaveScope` runs `leave` or `gather`."""
    if activation.status is Status.ENTERED:
        activation.status = Status.RUNNING
        run.enter_busy(activation.scope)
        run.commands.append(LeaveScope(activation))


def has_enough(activation: Activation, children: ChildScopes) -> bool:
    """Return whether as many items of a map are done as it needs, if it does not need all."""
    spec = activation.step.map
    return spec is not None and spec.need is not None and children.succeeded >= spec.need

"""Scopes inside a sub-flow (one) or a map (one per item): when they begin, and how they end.

Rule 1: a map has at most as many scopes running at once as its concurrency allows, or, if it states
    none, as the place of the run offered when it was entered. The next one begins when one ends.
Rule 2: a scope that cannot reach its END fails the sub-flow or map, and closes the other scopes;
    in a map that leaves out failed items or needs only some, it is cancelled instead.
Rule 3: a map that has as many results as it needs cancels the rest, or lets the scopes that have
    begun finish beside the scope that it is in (`late_work.py`).
Rule 4: a sub-flow or map is left once: when all is done, when enough is done, or after a failure
    when nothing runs inside any more.
Rule 5: a map with `until` or `grow` reviews each item that is done, one at a time, in the order in
    which they were done. Until the driver has answered, it starts no item and is not left. Enough
    cancels the rest; what an item grows is added to the items that wait to begin.
Rule 6: a review that fails closes the other scopes, and fails the map when nothing runs in it any
    more. When the map is continued, the item is reviewed again.

These are functions over the state of a run. Which scope is done or has failed is decided where a
quiet scope is settled, in `run.py`.
"""

from __future__ import annotations

from graphorch.core.events import ItemReviewed, LeaveScope, ReviewItem, Update
from graphorch.core.firing import begin
from graphorch.core.late_work import detach_item
from graphorch.core.state import RunState
from graphorch.core.stopping import (
    cancel_children,
    cancel_scope,
    close_scope,
    interrupt_scope,
    suspend_review,
)
from graphorch.core.tree import (
    Activation,
    ChildScopes,
    ItemScope,
    ReviewedScopes,
    Scope,
    Status,
    format_place,
)
from graphorch.graph.plan import Plan

# Shared and never changed: takes the place of an input that its scope has received.
_NO_UPDATE: Update = {}


def start_items(
    run: RunState, activation: Activation, children: ChildScopes, at_least: int = 0
) -> None:
    """Begin the next scopes inside, as far as the concurrency limit allows, or up to `at_least`."""
    spec, plan = activation.step.map, activation.step.inner_plan
    assert plan is not None
    while children.started < len(children.updates) and (
        children.running < children.at_once or children.started < at_least
    ):
        # Checked for every item, since one that ends at once may have changed any of these.
        if activation.scope.closed or activation.status is not Status.ENTERED or children.failed:
            return
        if children.is_reviewing and children.started >= at_least:
            return
        item = children.started
        children.started += 1
        children.running += 1
        if children.is_reviewed:
            scope = _make_reviewed(plan, activation, children, item)
        else:
            scope = Scope(plan, "", activation, item if spec is not None else -1)
        children.scopes.append(scope)
        update, children.updates[item] = children.updates[item], _NO_UPDATE
        begin(run, scope, update)
        if not scope.busy_count and not scope.finished:
            run.settle(scope)


def _make_reviewed(plan: Plan, activation: Activation, children: ChildScopes, item: int) -> Scope:
    assert isinstance(children, ReviewedScopes)
    place = children.places[item]
    if place == (item,):
        return Scope(plan, "", activation, item)
    return ItemScope(plan, activation, item, place)


def finish_item(run: RunState, activation: Activation, scope: Scope) -> None:
    """Count a scope inside that reached its END; leave, or start the next one."""
    children = activation.children
    assert children is not None
    children.unfinished -= 1
    children.running -= 1
    children.succeeded += 1
    if has_enough(activation, children):
        reason = f"'{activation.path}' has the {children.succeeded} that it needs"
        _end_others(run, activation, children, reason)
        leave_children(run, activation)
        return
    if children.is_reviewed:
        assert isinstance(children, ReviewedScopes)
        children.reviews.append(scope)
        go_on(run, activation, children)
    elif not children.unfinished:
        leave_children(run, activation)
    elif activation.status is Status.ENTERED:
        start_items(run, activation, children)


def go_on(run: RunState, activation: Activation, children: ChildScopes) -> None:
    """Review the next item that is done, start the next ones, or leave a map that has no more."""
    if children.failed:
        leave_when_stopped(run, activation, children)
    elif isinstance(children, ReviewedScopes) and children.reviews:
        request_review(run, activation, children)
    elif not children.unfinished:
        leave_children(run, activation)
    elif activation.status is Status.ENTERED:
        start_items(run, activation, children)


def fail_item(run: RunState, activation: Activation, scope: Scope) -> None:
    """Fail the sub-flow or map around a scope that cannot reach END, or leave out the item."""
    children, spec = activation.children, activation.step.map
    assert children is not None
    if spec is None or (spec.on_item_error == "fail" and spec.need is None):
        _fail_all(run, activation, children, f"'{scope.prefix.removesuffix('/')}' failed")
        return
    children.unfinished -= 1
    children.running -= 1
    if activation.step.compensates:
        run.undo_scopes(activation, [scope], "the item failed")
    cancel_scope(run, scope, "the item failed")
    go_on(run, activation, children)


def _end_others(run: RunState, activation: Activation, children: ChildScopes, reason: str) -> None:
    """Let what a map does without finish, or cancel it, and undo it where the map says so."""
    spec = activation.step.map
    if spec is not None and spec.rest == "finish":
        children.running = 0
        for item in children.list_unfinished():
            detach_item(activation.scope, item, activation.step.index)
        return
    cancel_rest(run, activation, children, reason)


def cancel_rest(run: RunState, activation: Activation, children: ChildScopes, reason: str) -> None:
    """Cancel what a map does without, and undo what was committed for it where the map says so."""
    if activation.step.compensates:
        rest = [scope for scope in children.scopes if not scope.finished]
        run.undo_scopes(activation, rest, reason)
    cancel_children(run, children, reason)


def _fail_all(run: RunState, activation: Activation, children: ChildScopes, reason: str) -> None:
    """Fail a sub-flow or map: close the scopes inside, and leave it once nothing runs in them."""
    children.failed = True
    for other in children.scopes:
        if not other.finished:
            close_scope(run, other)
            if run.on_failure == "cancel":
                interrupt_scope(run, other, reason)
    leave_when_stopped(run, activation, children)
    suspend_review(run, activation)


def leave_when_stopped(run: RunState, activation: Activation, children: ChildScopes) -> None:
    """Leave a sub-flow or map that failed, once nothing runs in it any more."""
    if not any(scope.busy_count for scope in children.scopes):
        leave_children(run, activation)


def leave_children(run: RunState, activation: Activation) -> None:
    """Ask for the result of a sub-flow or map: `LeaveScope` runs `leave` or `gather`."""
    if activation.status is Status.ENTERED:
        activation.status = Status.RUNNING
        run.enter_busy(activation.scope)
        suspend_review(run, activation)
        run.commands.append(LeaveScope(activation))


def has_enough(activation: Activation, children: ChildScopes) -> bool:
    """Return whether as many items of a map are done as it needs, if it does not need all."""
    spec = activation.step.map
    return spec is not None and spec.need is not None and children.succeeded >= spec.need


# ---- reviews -------------------------------------------------------------------------------------
def request_review(run: RunState, activation: Activation, children: ReviewedScopes) -> None:
    """Have the driver review the first item that is done, unless it does so already."""
    if children.is_reviewing or activation.status is not Status.ENTERED:
        return
    children.is_reviewing = True
    run.enter_busy(activation.scope)
    run.commands.append(ReviewItem(activation, children.reviews[0]))


def take_review(run: RunState, event: ItemReviewed) -> None:
    """Take what `until` and `grow` said about an item: go on, leave the map, or fail it."""
    activation, children = event.activation, event.activation.children
    if not isinstance(children, ReviewedScopes) or not children.is_reviewing:
        return
    scope = children.reviews[0]
    if format_place(scope.place) != event.item:
        return
    children.is_reviewing = False
    if event.failure is not None:
        children.review_failure = event.failure
        _fail_all(run, activation, children, f"the review of '{activation.path}' failed")
    else:
        del children.reviews[0]
        children.grow(scope.place, event.updates, event.keys)
        if event.enough:
            children.has_agreed = True
            _end_others(run, activation, children, f"'{activation.path}' has enough")
            leave_children(run, activation)
        else:
            go_on(run, activation, children)
    run.exit_busy(activation.scope)

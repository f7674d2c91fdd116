"""Sub-flows and maps that are ended from outside: by a signal, or by the time of their deadline.

Rule 1: a signal that ends a sub-flow or map comes to it before it comes to anything inside, and
    only while it is entered and has not failed. One that was kept ends it as soon as it is entered.
Rule 2: what is unfinished inside is cancelled by name. A map is left with the results so far. A
    sub-flow is left with what was committed inside: the versions of all activations and tokens in
    its scope, united for the fields that its `keep` reads.
    What a map does without is undone if it compensates; so is a sub-flow that fails.
Rule 3: in a closed scope the inside is cancelled at once, and the sub-flow or map is left when the
    run is resumed.
Rule 4: a deadline is a time that is fixed when the sub-flow or map is entered. When it is over, the
    driver reports a failure. If an error edge carries on, or the failure is isolated, the inside is
    cancelled for good; otherwise it is interrupted, and a resume continues it with a new deadline.

These are functions over the state of a run.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from graphorch.core.children import cancel_rest, leave_children
from graphorch.core.events import WaitUntil
from graphorch.core.state import RunState
from graphorch.core.stopping import (
    cancel_children,
    close_scope,
    interrupt_scope,
    suspend_review,
)
from graphorch.core.tree import Activation, EventWait, Scope, Status
from graphorch.state.version import Version, pick_fields, unite


def watch_early_end(run: RunState, activation: Activation) -> None:
    """Let a sub-flow or map that is entered be ended from outside, or end it by a kept signal."""
    wait = activation.wait
    if wait is None or activation.status is not Status.ENTERED:
        return
    kept = run.kept_signals.get((wait.signal, wait.key)) if wait.signal else None
    if kept and not activation.scope.closed and takes_signal(activation, wait.signal, wait.key):
        run.enter_busy(activation.scope)
        end_early(run, activation, kept.pop(0))
    elif wait.due is not None:
        run.commands.append(WaitUntil(activation, wait.due))


def takes_signal(activation: Activation, name: str, key: str) -> bool:
    """Return whether a signal ends a sub-flow or map that is entered."""
    wait, children = activation.wait, activation.children
    return (
        activation.status is Status.ENTERED
        and wait is not None
        and wait.signal == name
        and wait.key == key
        and children is not None
        and bool(children.scopes)
        and not children.failed
    )


def end_early(run: RunState, activation: Activation, value: Any) -> None:
    """Cancel what is inside a sub-flow or map, and leave it with what there is.

    Its scope is held busy by the caller, once, which ends here.
    """
    children, scope, step = activation.children, activation.scope, activation.step
    assert children is not None
    activation.received = (value,)
    if step.keep is not None:
        activation.partial = _unite_inside(children.scopes[0], step.keep.fields)
    is_closed = scope.closed
    suspend_review(run, activation)
    if is_closed:
        activation.status = Status.FAILED  # it is left when the run is resumed
    reason = f"'{step.cancel_on}' came"
    if step.map is not None:
        cancel_rest(run, activation, children, reason)
    else:
        cancel_children(run, children, reason)
    if not is_closed:
        leave_children(run, activation)
    run.exit_busy(scope)


def _unite_inside(scope: Scope, fields: Collection[int]) -> Version:
    """Return what was committed in a scope, in some fields; `build()` proves that it fits."""
    versions = [activation.version for activation in scope.active.values()]
    versions += [token.version for tokens in scope.waiting.values() for token in tokens]
    versions.append(scope.output)  # with late work left, END has fired already
    picked = [pick_fields(version, fields) for version in versions if version is not None]
    return unite(picked) if picked else Version({}, {})


# ---- deadlines -----------------------------------------------------------------------------------
def may_be_late(activation: Activation) -> bool:
    """Return whether a failure of a sub-flow or map that is entered is that of its deadline.

    The driver knows when it is over: a run may be rebuilt with another deadline.
    """
    return activation.status is Status.ENTERED and activation.wait is not None


def stop_inside(run: RunState, activation: Activation, *, for_good: bool) -> None:
    """Stop what is inside a sub-flow or map whose deadline is over."""
    children, reason = activation.children, f"the deadline of '{activation.path}' was over"
    assert children is not None
    run.leave_rest(activation.scope)
    suspend_review(run, activation)
    activation.status = Status.RUNNING
    if for_good:
        cancel_children(run, children, reason)
        return
    for scope in children.list_unfinished():
        close_scope(run, scope)
        interrupt_scope(run, scope, reason)


def renew_deadline(activation: Activation, at: float) -> None:
    """Let the deadline of a sub-flow or map begin at a time, if it has one."""
    wait, seconds = activation.wait, activation.step.node.options.deadline
    if activation.children is not None and wait is not None and wait.due is not None:
        due = None if seconds is None else at + seconds
        activation.wait = EventWait(wait.signal, wait.key, due)


def list_ending_early(scope: Scope) -> list[Activation]:
    """Return the sub-flows and maps in a scope and inside that something ends from outside."""
    found: list[Activation] = []
    pending = [scope]
    while pending:
        inner = pending.pop()
        if not inner.closed:
            found += filter(may_be_late, inner.active.values())
        pending += inner.child_scopes()
    return found

"""How work ends before its time: scopes are closed, attempts interrupted, activations cancelled.

Rule 1: a closed scope starts nothing new, nor does any scope inside it. What runs may finish; a
    retry that was due is left to a run that is resumed. Its pause is over then, unless the process
    that waited for it was gone: the rest of the pause is kept.
Rule 2: interrupting ends the running attempts. Their activations stay active, and start again when
    the run is resumed.
Rule 3: cancelling is for good: the activation is over, and so is everything inside it. What had
    failed before stays a failure in the history.
Rule 4: the first reason to stop a run is kept; later ones change nothing.

These are functions over the state of a run. Each activation that stops keeping a driver busy leads
to one `exit_busy`, by which `run.py` settles what became quiet. `resuming.py` is the way back.
"""

from __future__ import annotations

from graphorch.core.events import CancelNode
from graphorch.core.firing import cancel_node, forget_late_work
from graphorch.core.state import RunState, append_to
from graphorch.core.tree import Activation, ChildScopes, ReviewedScopes, Scope, Status
from graphorch.statuses import RunStatus


# ---- closing and interrupting: resuming takes it up again ----------------------------------------
def stop_run(
    run: RunState, reason: str, status: RunStatus = "stopped", *, keeps_pauses: bool = False
) -> None:
    """Let nothing new start in the whole run. The first reason is kept."""
    if not run.stopping:
        run.stopping, run.stop_status = reason, status
    close_scope(run, run.root, keeps_pauses=keeps_pauses)


def close_scope(run: RunState, scope: Scope, *, keeps_pauses: bool = False) -> None:
    """Let nothing new start in this scope and inside it, not even the next attempt."""
    pending = [scope]
    while pending:
        closing = pending.pop()
        closing.closed = True
        for activation in list(closing.active.values()):
            if activation.status is Status.RETRYING:
                run.commands.append(CancelNode(activation, "nothing new starts"))
                if not keeps_pauses:
                    activation.retry_at = 0.0
                defer_retry(run, activation)
        pending.extend(closing.child_scopes())


def defer_retry(run: RunState, activation: Activation) -> None:
    """Leave the next attempt of a failed activation to a run that is resumed."""
    activation.status = Status.FAILED
    run.errors = append_to(run.errors, (activation,))
    run.exit_busy(activation.scope)


def interrupt_scope(run: RunState, scope: Scope, reason: str) -> None:
    """Cancel the running attempts in a scope and inside it; resuming starts them again."""
    pending = [scope]
    while pending:
        interrupted = pending.pop()
        pending.extend(interrupted.child_scopes())
        for activation in list(interrupted.active.values()):
            if activation.status in (Status.RUNNING, Status.ROUTING):
                was_running = activation.status is Status.RUNNING
                activation.status, activation.failure = Status.FAILED, None
                activation.add_to_story(f"interrupted: {reason}")
                if was_running:
                    run.commands.append(CancelNode(activation, reason))
                run.exit_busy(interrupted)
            else:
                suspend_review(run, activation)


def suspend_review(run: RunState, activation: Activation) -> None:
    """Put off the review of an item: it is made when the map is continued, if it is at all."""
    children = activation.children
    if isinstance(children, ReviewedScopes) and children.is_reviewing:
        children.is_reviewing = False
        run.exit_busy(activation.scope)


# ---- cancelling: for good ------------------------------------------------------------------------
def cancel_activation(run: RunState, activation: Activation, reason: str) -> None:
    """Cancel an activation and everything inside it, for good."""
    status = activation.status
    # What had failed before stays a failure: a dead path, not a cancelled one.
    had_failed = status is Status.FAILED and activation.failure is not None
    activation.status = Status.SKIPPED if had_failed else Status.CANCELLED
    activation.add_to_story(f"cancelled: {reason}")
    run.history.append(activation)
    if activation.children is not None:
        cancel_children(run, activation.children, reason)
        suspend_review(run, activation)
    if run.exclusive is not None:
        run.exclusive.release(activation)
    if status in (Status.RUNNING, Status.RETRYING):
        run.commands.append(CancelNode(activation, reason))
    if status <= Status.RETRYING:
        run.exit_busy(activation.scope)


def cancel_children(run: RunState, children: ChildScopes, reason: str) -> None:
    """Cancel what is unfinished inside a sub-flow or map, open questions included."""
    for scope in children.list_unfinished():
        cancel_scope(run, scope, reason)


def cancel_scope(run: RunState, scope: Scope, reason: str) -> None:
    """Cancel everything in a scope, and what is detached from it, for good."""
    scope.finished, scope.output = True, None  # END may have fired with late work left
    if scope.late is not None:
        forget_late_work(scope)
    for late in scope.detached:
        cancel_scope(run, late, reason)
    for index in {*scope.active, *scope.waiting}:
        cancel_node(run, scope, index, reason)

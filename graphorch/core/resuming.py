"""How work that stopped or failed continues: scopes are reopened, activations run again.

Rule 1: what is over stays over. Only activations that are still active run again.
Rule 2: a result that is committed is kept: only the route is evaluated again.
Rule 3: a sub-flow or map continues inside, with the scopes that are unfinished or have not begun.
    One whose work was undone begins anew.
Rule 4: resuming counts retries anew; a retry within a run does not. Where the pause before a retry
    was kept, the rest of it is waited for, and the attempts are counted on.
Rule 5: a node with tool calls inside runs again, and takes up the calls that have not ended. If
    nothing but questions is left in it, it waits for their answers.
Rule 6: what continues begins anew in time: the pause before was not its own. A retry of a node is
    part of its time, a pause of the run is not. The deadline of a sub-flow or map stands, unless it
    had failed.

These are functions over the state of a run. `stopping.py` is the way here.
"""

from __future__ import annotations

from collections.abc import Iterable

from graphorch.core.children import go_on, has_enough, leave_children
from graphorch.core.early_ends import renew_deadline, watch_early_end
from graphorch.core.events import EvaluateRoute, ScheduleRetry
from graphorch.core.firing import fire_ready
from graphorch.core.state import RunState
from graphorch.core.tool_calls import rest_if_idle, start_next
from graphorch.core.tree import (
    Activation,
    ChildScopes,
    ReviewedScopes,
    Scope,
    Status,
    ToolScopes,
)


def reopen_scope(run: RunState, scope: Scope, at: float) -> None:
    """Continue in a scope at a time: repeat what failed, start what waited.

    A limit that is met on the way stops the run again, and leaves the rest as it is.
    """
    if run.stopping:
        return
    scope.closed = False
    scope.failures = ()
    run.enter_busy(scope)  # held, so that it becomes quiet once
    for activation in list(scope.active.values()):
        if scope.closed:
            break
        if activation.status is Status.ENTERED:
            run.enter_busy(scope)
            activation.started_at, activation.waited = at, 0.0
            run_again(run, activation, at)
        elif activation.status is Status.FAILED:
            run.enter_busy(scope)
            if activation.retry_at:
                _resume_pause(run, activation, at)
                continue
            if activation.update is None:
                activation.attempt += 1
                activation.first_attempt = activation.attempt
                activation.started_at, activation.waited = at, 0.0
                renew_deadline(activation, at)
            run_again(run, activation, at)
        elif activation.status is Status.HELD:
            activation.held_at = at
            if run.exclusive is not None:
                run.exclusive.look_again(activation)
    for late in list(scope.detached):
        reopen_scope(run, late, at)
    for index in scope.waiting:
        scope.due |= 1 << index
    fire_ready(run, scope)
    run.exit_busy(scope)


def begin_anew(activations: Iterable[Activation], at: float) -> None:
    """Let the sub-flows and maps that a fork took over as open begin at the time of its own begin.

    Nodes get theirs with their attempt.
    """
    for activation in activations:
        if activation.status is Status.ENTERED and not activation.started_at:
            activation.started_at = at
            renew_deadline(activation, at)
        elif activation.status is Status.HELD:
            activation.held_at = at


def _resume_pause(run: RunState, activation: Activation, at: float) -> None:
    """Wait for the rest of a pause that the process before did not survive."""
    activation.status = Status.RETRYING
    activation.started_at, activation.waited = at, 0.0
    run.commands.append(ScheduleRetry(activation, max(0.0, activation.retry_at - at)))


def run_again(run: RunState, activation: Activation, at: float) -> None:
    """Start another attempt; of a sub-flow or map, continue what is unfinished inside."""
    activation.failure = activation.fatal_error
    if activation.children is not None and activation.children.is_undone:
        activation.children = activation.wait = activation.received = None  # it begins anew
    if activation.update is not None:
        # Its result is committed: only its route is evaluated again.
        activation.status = Status.ROUTING
        run.commands.append(EvaluateRoute(activation))
    elif activation.children is None:
        activation.status = Status.RUNNING
        run.commands.append(activation)
    elif isinstance(activation.children, ToolScopes):
        _resume_calls(run, activation, activation.children, at)
    else:
        resume_children(run, activation, activation.children, at)


def _resume_calls(run: RunState, activation: Activation, children: ToolScopes, at: float) -> None:
    """Run an attempt again, and reopen the tool calls inside that have not ended."""
    activation.status = Status.RUNNING
    children.may_rest = children.failed = False
    for round in children.rounds.values():
        round.failed = False
        for scope in round.scopes:
            if scope.has_begun and not scope.finished:
                reopen_scope(run, scope, at)
        start_next(run, activation, round)
    children.may_rest = True
    run.commands.append(activation)
    rest_if_idle(run, activation)


def resume_children(
    run: RunState, activation: Activation, children: ChildScopes, at: float
) -> None:
    """Reopen the unfinished scopes inside, and start those that have not begun."""
    activation.status, children.failed = Status.ENTERED, False
    is_reviewed = isinstance(children, ReviewedScopes)
    if is_reviewed:
        children.review_failure = None
    for scope in children.list_unfinished():
        if activation.status is not Status.ENTERED or children.failed:
            break
        if not scope.finished:
            reopen_scope(run, scope, at)
    has_agreed = is_reviewed and children.has_agreed
    if has_agreed or activation.received is not None or has_enough(activation, children):
        leave_children(run, activation)
    else:
        go_on(run, activation, children)
        watch_early_end(run, activation)
    run.exit_busy(activation.scope)

"""Tool calls inside an activation: rounds that a model asks for while the activation runs.

An activation that asks a model with tools stays RUNNING while its tools are called. Each call is a
scope of one step inside it, so a tool has the life of a node.

Rule 1: all calls of a round may run at once, except around a barrier: a call that is one begins
    when all calls before it have ended, and the calls behind it begin when it has.
Rule 2: a call that asks a person asks at once, whatever is before it. Once approved it is HELD
    until its turn comes.
Rule 3: a round has ended when all of its calls have; then `RoundEnded` tells the driver. A call
    that fails for good ends its round once nothing runs in it any more.
Rule 4: where only questions are left, the activation rests: its attempt is suspended, and it is
    ENTERED, so that it keeps no driver busy. An outcome of a call inside wakes it: the same attempt
    runs again, and is served what models answered and what the calls returned.
Rule 5: an attempt that asks something else than the one before it abandons that one's rounds: they
    are withdrawn, since nothing could take up their calls. What they did is not done again: an
    equal call with effect `once`, and each call of the same round, has the outcome that is there.
Rule 6: when an attempt fails, its calls are interrupted. The next attempt repeats those that have
    not succeeded; what a call returned is never asked for again.

These are functions over the state of a run. What a settled scope means for the calls beside it is
decided here, and what becomes of the activation itself by its own attempt.
"""

from __future__ import annotations

from graphorch.core.events import RoundEnded, SuspendNode, ToolsCalled
from graphorch.core.exclusive import is_held_inside
from graphorch.core.state import RunState
from graphorch.core.stopping import cancel_scope, close_scope, interrupt_scope
from graphorch.core.tree import (
    NO_COUNTERS,
    Activation,
    Status,
    ToolRound,
    ToolScope,
    ToolScopes,
)
from graphorch.core.waits import list_waits
from graphorch.state.version import INPUT, Version


def start_round(run: RunState, event: ToolsCalled) -> None:
    """Add a round of calls to an activation, and begin those whose turn it is."""
    activation = event.activation
    children = activation.children
    if not isinstance(children, ToolScopes):
        children = activation.children = ToolScopes()
    run.has_tool_calls = True
    run.has_quorums = run.has_quorums or any(call.plan.has_quorums for call in event.calls)
    for key in event.abandons:
        _abandon_round(run, children, key)
    round = ToolRound(activation, event.key, event.label, event.calls)
    new_scopes = round.scopes
    round.scopes = [_find_done(children, round, scope) or scope for scope in new_scopes]
    children.rounds[event.key] = round
    children.scopes += [scope for scope in new_scopes if scope in round.scopes]
    round.unfinished = sum(not scope.finished for scope in round.scopes)
    children.unfinished += round.unfinished
    if not round.unfinished:
        run.commands.append(RoundEnded(activation, round))
    start_next(run, activation, round)


def _find_done(children: ToolScopes, round: ToolRound, scope: ToolScope) -> ToolScope | None:
    """Return an equal call of a round that was withdrawn, with its outcome; each counts once."""
    call = scope.call
    acts = call.plan.steps[0].node.options.effect == "once"
    for other in children.withdrawn:
        is_equal = (other.call.tool, other.call.arguments) == (call.tool, call.arguments)
        is_same = other.round.key == round.key and other.call.place == call.place
        if is_equal and (acts or is_same):
            children.withdrawn.remove(other)
            return other
    return None


def _abandon_round(run: RunState, children: ToolScopes, key: str) -> None:
    """Withdraw the calls of a round, and its questions."""
    round = children.rounds.pop(key)
    children.may_rest = False
    for scope in round.scopes:
        if scope.output is not None:
            children.withdrawn.append(scope)
        elif not scope.finished:
            children.unfinished -= 1
            round.unfinished -= 1
            cancel_scope(run, scope, "its model was asked something else")
    children.may_rest = True


def start_next(run: RunState, activation: Activation, round: ToolRound) -> None:
    """Begin the calls of a round whose turn has come, and those that have to ask first.

    Nothing begins while no attempt of the activation runs, such as in a run that was stopped.
    """
    if round.failed or activation.status is not Status.RUNNING:
        return
    is_behind_barrier = has_unfinished = False
    for scope in round.scopes:
        if scope.finished:
            continue
        is_its_turn = not (is_behind_barrier or (has_unfinished and scope.call.is_barrier))
        if is_its_turn or scope.call.asks:
            _start_call(run, scope, is_its_turn=is_its_turn)
        has_unfinished = True
        is_behind_barrier = is_behind_barrier or scope.call.is_barrier


def _start_call(run: RunState, scope: ToolScope, *, is_its_turn: bool) -> None:
    if not scope.has_begun:
        scope.has_begun = True
        _begin_call(run, scope)
        return
    for activation in scope.active.values():
        if is_its_turn and activation.status is Status.HELD:
            activation.status = Status.RUNNING
            run.enter_busy(scope)
            run.commands.append(activation)


def _begin_call(run: RunState, scope: ToolScope) -> None:
    """Make the activation of a call. It is no step of the graph, so no limit counts it.

    How many there can be follows from the rounds of its agent, and from its tools.
    """
    version = Version({}, {})
    version.take(scope.call.update, scope.reducers, INPUT, "input")
    step = scope.steps[0]
    activation = Activation(scope, step, None, version, 1, NO_COUNTERS)
    scope.active[step.index] = activation
    run.enter_busy(scope)
    run.commands.append(activation)


def hold_until_turn(run: RunState, activation: Activation) -> None:
    """Have an approved call wait until its turn comes, which may be at once."""
    scope, agent = activation.scope, activation.scope.parent
    assert isinstance(scope, ToolScope)
    assert agent is not None
    activation.status = Status.HELD
    wake(run, agent)
    start_next(run, agent, scope.round)
    # The unit of work that the end of its waiting has added.
    run.exit_busy(scope)


def finish_call(run: RunState, activation: Activation, scope: ToolScope) -> None:
    """Count a call that has an outcome, begin what waited for it, or end its round."""
    round = scope.round
    assert isinstance(activation.children, ToolScopes)
    activation.children.unfinished -= 1
    round.unfinished -= 1
    wake(run, activation)
    if not round.unfinished:
        run.commands.append(RoundEnded(activation, round))
    else:
        start_next(run, activation, round)


def settle_call(run: RunState, activation: Activation, scope: ToolScope) -> None:
    """Decide what follows from a quiet call that may not have reached its end."""
    round = scope.round
    if not scope.finished and _is_stuck(scope):
        assert activation.children is not None
        round.failed = activation.children.failed = True
        for other in round.scopes:
            if not other.finished:
                close_scope(run, other)
                if run.on_failure == "cancel":
                    interrupt_scope(run, other, f"'{activation.path}/{round.label}' failed")
    if not round.failed:
        rest_if_idle(run, activation)
    elif not any(other.busy_count for other in round.scopes):
        run.commands.append(RoundEnded(activation, round))


def _is_stuck(scope: ToolScope) -> bool:
    """Return whether a quiet call failed, or nothing in it can reach its end."""
    waits = is_held_inside(scope) or bool(scope.open_questions() or list_waits(scope))
    return bool(scope.failures) or not (scope.closed or waits)


def rest_if_idle(run: RunState, activation: Activation) -> None:
    """End the attempt of an activation whose calls cannot go on by themselves (rule 4).

    It rests if one of them waits for a person or an event. Otherwise nothing new may start, and it
    is interrupted: the calls are left to a run that is resumed.
    """
    children = activation.children
    if activation.status is not Status.RUNNING or not isinstance(children, ToolScopes):
        return
    scopes = [
        scope for round in children.rounds.values() for scope in round.scopes if not scope.finished
    ]
    if not children.may_rest or any(scope.busy_count for scope in scopes):
        return
    if any(scope.open_questions() or list_waits(scope) for scope in scopes):
        activation.status = Status.ENTERED
        run.commands.append(SuspendNode(activation))
        run.exit_busy(activation.scope)
    elif any(scope.closed and scope.has_begun for scope in scopes):
        _interrupt(run, activation)


def _interrupt(run: RunState, activation: Activation) -> None:
    """Leave an activation whose calls may not start to a run that is resumed."""
    activation.status, activation.failure = Status.FAILED, None
    activation.add_to_story("interrupted: its tool calls may not start")
    run.commands.append(SuspendNode(activation))
    run.exit_busy(activation.scope)


def wake(run: RunState, activation: Activation) -> None:
    """Run the attempt of an activation again that rested, unless its scope is closed."""
    if activation.status is Status.ENTERED and not activation.scope.closed:
        # It begins now: what people took for their answers is not its time.
        activation.status, activation.started_at = Status.RUNNING, 0.0
        run.enter_busy(activation.scope)
        run.commands.append(activation)


def interrupt_calls(run: RunState, activation: Activation) -> None:
    """Interrupt the calls of an attempt that failed; its next attempt takes them up again."""
    children = activation.children
    if not isinstance(children, ToolScopes):
        return
    children.may_rest = False
    for scope in children.scopes:
        if not scope.finished:
            close_scope(run, scope)
            interrupt_scope(run, scope, f"'{activation.path}' failed")
    children.may_rest = True

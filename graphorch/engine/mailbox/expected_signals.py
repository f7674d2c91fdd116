"""Which signals a run can take: those that it declares, and that something waits for, now or later.

A signal that nothing can take is refused with the reason, so that none is kept for ever unread.
"""

from __future__ import annotations

from graphorch.core.events import SignalReceived
from graphorch.core.run import Run
from graphorch.core.tree import Activation, Scope, Status, ToolScopes
from graphorch.core.waits import find_waiting
from graphorch.engine.waits.event_waits import check_key
from graphorch.errors import InputError, WrongOutput, did_you_mean
from graphorch.graph.node import Node
from graphorch.graph.plan import Plan, SignalSpec, Step, list_flows_inside
from graphorch.text import plural


def find_signal(plan: Plan, name: str) -> SignalSpec:
    """Return a signal by its name. Raises `InputError` for one that the flow does not declare."""
    spec = plan.signals.get(name)
    if spec is not None:
        return spec
    known = ", ".join(f"'{declared}'" for declared in sorted(plan.signals))
    hint = did_you_mean(name, plan.signals) or (f"It has {known}." if known else "It has none.")
    raise InputError(f"Flow '{plan.name}' declares no signal {name!r:.80}. {hint}")


def require_expected(run: Run, signal: SignalReceived) -> None:
    """Raise `InputError` for a signal that nothing waits for, and that cannot be kept."""
    name, key = signal.name, signal.key
    if find_waiting(run.root, name, key) is not None:
        return
    shown = f"Signal '{name}'" + (f" with key '{key}'" if key else "")
    if not _can_come(run.root, name):
        raise InputError(f"{shown} is not waited for any more: {_explain(run, name)}.")
    keep, kept = run.plan.signals[name].keep, len(run.kept_signals.get((name, key), ()))
    if not keep:
        raise InputError(
            f"{shown} is not waited for yet, and none is kept before (keep=0). Send it again later."
        )
    if kept >= keep:
        raise InputError(
            f"{shown} is not waited for yet, and {plural(kept, 'such signal')} "
            f"{'is' if kept == 1 else 'are'} kept already (keep={keep}). Nothing was changed."
        )


def _can_come(scope: Scope, name: str) -> bool:
    """Return whether a node in a scope, or inside it, may still begin to wait for a signal."""
    if scope.finished:
        return False
    plan = scope.plan
    waiters = [step.index for step in plan.steps if _waits_for(step, name)]
    live = {*scope.active, *scope.waiting}
    for index in waiters:
        activation = scope.active.get(index)
        if activation is not None and _can_come_inside(activation, name):
            return True
        # An activation that is there does not lead to itself, except by a way back.
        before = {edge.source for edge in plan.topology.entering[index]}
        ahead = plan.topology.find_reachable(before & {*range(plan.end)}, backwards=True)
        if index in scope.waiting or live & ahead:
            return True
    return any(_can_come(late, name) for late in scope.detached)


def _waits_for(step: Step, name: str) -> bool:
    """Return whether a node takes a signal, or a flow inside it or among its tools does."""
    if isinstance(step.event, SignalSpec):
        return step.name == name
    inside = list_flows_inside(step.node, step.inner_plan)
    return step.cancel_on == name or any(name in flow.signals for flow in inside)


def _can_come_inside(activation: Activation, name: str) -> bool:
    """Return whether an activation, or something inside it, may still wait for a signal."""
    children = activation.children
    if activation.received is not None and activation.step.cancel_on:
        return False  # it was ended, and everything inside with it
    if activation.step.cancel_on == name:
        return True  # it failed, and a resume may continue it
    if children is None:
        is_waiting = activation.status is Status.AWAITING_EVENT or activation.received is not None
        return not is_waiting or activation.step.inner_plan is not None
    if isinstance(children, ToolScopes) or children.started < len(children.updates):
        return True  # its model may call a flow once more, or an item has not begun
    return any(_can_come(scope, name) for scope in children.scopes)


def _explain(run: Run, name: str) -> str:
    """Return what became of the nodes that waited for a signal."""
    ended = [activation for activation in run.unfinished() if activation.received is not None]
    for activation in (*ended, *reversed(run.history)):
        step = activation.step
        is_taker = isinstance(step.event, SignalSpec) and step.name == name
        if not is_taker and step.cancel_on != name:
            continue
        if activation.status is Status.CANCELLED:
            story = activation.story or [""]
            return f"'{activation.path}' was withdrawn ({story[-1].removeprefix('cancelled: ')})"
        if activation.received is not None:
            return f"'{activation.path}' has got it already"
        if step.cancel_on:
            return f"'{activation.path}' is over"
        return f"'{activation.path}' waited for it until its time was over"
    return "the run cannot come to it on the way that it took"


def build_signal(plan: Plan, signal: object, value: object, key: str, at: float) -> SignalReceived:
    """Return a signal to a flow, given as its node or its name.

    Raises `InputError` for one that the flow does not declare, a value of another type, or what is
    not a key.
    """
    name = signal.name if isinstance(signal, Node) else str(signal)  # pyright: ignore[reportUnknownMemberType]
    spec = find_signal(plan, name)
    if not isinstance(value, spec.value):
        expected = spec.value.__name__
        raise InputError(
            f"Signal '{name}' carries a {expected}, got {type(value).__name__}. Send {expected}(…)."
        )
    try:
        check_key(key, "key=")
    except WrongOutput as error:
        raise InputError(str(error)) from error
    return SignalReceived(name, key, value, at)

"""Check that the state of a run does not contradict itself, for tests.

Everything that the core keeps up to date as it goes (live positions, busy counts, waiting tokens,
scopes inside) is derived a second time here, from the activations and tokens alone. The simulation
and the tests of the core check it after every event; no run of a user does. Linear in what is
active and waiting.
"""

from __future__ import annotations

from collections.abc import Iterator

from graphorch.core.run import Run
from graphorch.core.tree import (
    Activation,
    ChildScopes,
    ReviewedScopes,
    Scope,
    Status,
    Token,
    ToolScopes,
)
from graphorch.core.waits import find_waiting
from graphorch.errors import InternalError
from graphorch.statuses import SUCCESS_STATUSES

_WAITING = (Status.AWAITING_ANSWER, Status.AWAITING_EVENT)
_BUSY = (Status.RUNNING, Status.ROUTING, Status.UNDOING, Status.RETRYING)


def check_invariants(run: Run) -> None:
    """Raise `InternalError`, with stories of the nodes, if a run's state contradicts itself."""
    problems: list[str] = []
    consumers: dict[Token, str] = {}
    undoing = [run.undoing.scope] if run.undoing is not None and run.undoing.scope else []
    pending = [run.root, *undoing]
    while pending:
        scope = pending.pop()
        beside = sum(other.busy_count > 0 for other in undoing) if scope is run.root else 0
        problems += _check_scope(scope, consumers, beside)
        pending += scope.child_scopes()
    problems += _check_root(run)
    problems += _check_regions(run)
    problems += _check_waits(run)
    if problems:
        stories = "".join(f"\n    {line}" for line in _stories(run))
        raise InternalError(
            f"Run {run.run_id} contradicts itself: {'; '.join(problems)}. "
            f"Please report this as a bug of graphorch.{stories}"
        )


def live_positions(scope: Scope) -> int:
    """Derive the bitmask of live positions that joins ask for from what is active and waits."""
    live = set(scope.active)
    for index, tokens in scope.waiting.items():
        latch = scope.plan.steps[index].latch
        live |= {latch if token.edge.kind == "loop" else index for token in tokens}
    mask = 0
    for step in scope.plan.steps:
        if step.tracked and step.index in live:
            mask |= 1 << step.index
        if step.latch >= 0 and step.latch in live:
            mask |= 1 << step.latch
    for late in scope.detached:
        assert late.late is not None
        mask |= scope.plan.steps[late.late.node].late_bit
    return mask


def busy_count(scope: Scope) -> int:
    """Count the activations that keep a driver busy, and the child scopes that do."""
    activations = sum(activation.status in _BUSY for activation in scope.active.values())
    reviews = sum(
        activation.children is not None and activation.children.is_reviewing
        for activation in scope.active.values()
    )
    return activations + reviews + sum(child.busy_count > 0 for child in scope.child_scopes())


def _check_root(run: Run) -> Iterator[str]:
    root = run.root
    begun = bool(run.history or root.active or root.waiting or root.finished)
    if begun and run.status == "running" and not root.busy_count:
        yield "it is running, but nothing keeps a driver busy"
    if run.status != "running" and any(map(_is_work, root.active_activations())):
        yield f"it is {run.status}, but not all work has ended"
    if run.activations_left < 0:
        yield f"{-run.activations_left} activations more than allowed were started"
    if run.status in SUCCESS_STATUSES and (root.active or root.waiting or root.detached):
        yield f"it is over, but {_list_paths(root)} are not"


def _check_regions(run: Run) -> Iterator[str]:
    members = [item for item in run.root.active_activations() if item.step.exclusive]
    holders: dict[str, Activation] = {}
    for activation in members:
        waits_at_gate = activation.step.node.options.gate == "before" and not activation.approved
        if activation.status is Status.HELD or waits_at_gate:
            continue
        for name in activation.step.exclusive:
            if holders.setdefault(name, activation) is not activation:
                yield f"{activation!r} and {holders[name]!r} both hold region '{name}'"
    for activation in members:
        if activation.status is not Status.HELD or activation.scope.closed:
            continue
        if holders.keys().isdisjoint(activation.step.exclusive):
            yield f"{activation!r} waits for regions that nothing holds"


def _check_waits(run: Run) -> Iterator[str]:
    waits = any(item.status in _WAITING for item in run.unfinished())
    if run.status == "waiting" and not waits:
        yield "it is waiting, but nothing in it waits"
    for (name, key), kept in run.kept_signals.items():
        if kept and (activation := find_waiting(run.root, name, key)) is not None:
            yield f"signal '{name}' with key '{key}' is kept, but {activation!r} waits for it"


def _is_work(activation: Activation) -> bool:
    """Return whether an activation takes time.

    An answer to a stopped run is still routed, and a sub-flow that it finishes is left.
    """
    return activation.status in (Status.RUNNING, Status.RETRYING) and activation.children is None


def _check_scope(scope: Scope, consumers: dict[Token, str], beside: int) -> Iterator[str]:
    where = scope.prefix or "the run"
    live, busy = live_positions(scope), busy_count(scope) + beside
    if scope.live_positions != live:
        yield f"in {where} the live positions are {live:b}, not {scope.live_positions:b}"
    if scope.busy_count != busy:
        yield f"in {where} {busy} things keep a driver busy, not {scope.busy_count}"
    if scope.finished and (scope.active or scope.waiting or scope.detached):
        yield f"{where} is over, but {_list_paths(scope)} are not"
    for late in scope.detached:
        yield from _check_late(scope, late)
    for index, tokens in scope.waiting.items():
        yield from _check_waiting(scope, index, tokens)
    for index, activation in scope.active.items():
        yield from _check_active(scope, index, activation)
        for token in activation.tokens:
            if token in consumers:
                yield f"{activation.path} and {consumers[token]} hold the same token"
            consumers[token] = activation.path


def _check_late(scope: Scope, late: Scope) -> Iterator[str]:
    where = late.prefix or "the run"
    if late.late is None or late.late.host is not scope:
        yield f"late work of {where} is listed where it does not belong"
    if late.finished:
        yield f"late work of {where} is over, and still listed"


def _check_waiting(scope: Scope, index: int, tokens: list[Token]) -> Iterator[str]:
    step = scope.plan.steps[index]
    path = scope.prefix + step.name
    if not tokens or any(token.edge.target != index or token.version is None for token in tokens):
        yield f"at {path} tokens wait that do not belong there"
    if len({*tokens}) != len(tokens):
        yield f"at {path} a token waits twice"
    if not scope.closed and index not in scope.active and not scope.live_positions & step.blockers:
        yield f"{path} may fire, but does not"


def _check_active(scope: Scope, index: int, activation: Activation) -> Iterator[str]:
    if activation.scope is not scope or activation.step.index != index or activation.is_over:
        yield f"{activation!r} is not active"
    if (
        activation.version is None
        and activation.failure is None
        and activation.status is not Status.FAILED
    ):
        yield f"{activation!r} has nothing to read"
    if scope.closed and activation.status is Status.RETRYING:
        yield f"{activation!r} waits for another attempt where nothing starts"
    if activation.status is Status.AWAITING_EVENT and activation.wait is None:
        yield f"{activation!r} waits for nothing"
    if activation.received is not None:
        yield from _check_received(activation)
    if isinstance(activation.children, ToolScopes):
        yield from _check_calls(activation, activation.children)
    elif activation.children is not None:
        yield from _check_children(activation, activation.children)
    elif activation.status is Status.ENTERED:
        yield f"{activation!r} has nothing inside"


def _check_received(activation: Activation) -> Iterator[str]:
    scope = activation.scope
    if activation.status in _WAITING:
        yield f"{activation!r} waits, though it was given a signal"
    for index in activation.step.rivals:
        if index in scope.active or index in scope.waiting:
            yield f"{activation!r} was given a signal, and '{scope.steps[index].name}' goes on"


def _check_children(activation: Activation, children: ChildScopes) -> Iterator[str]:
    spec = activation.step.map
    is_entered = activation.status is Status.ENTERED
    unfinished = children.list_unfinished()
    succeeded = sum(scope.result is not None for scope in children.scopes)
    if children.started != len(children.scopes) or children.succeeded != succeeded:
        yield f"{activation!r} has miscounted what is inside"
    if is_entered and children.running != len(unfinished):
        yield f"{activation!r} counts {children.running} items that run, and has {len(unfinished)}"
    at_once = children.at_once
    if spec is not None and len(unfinished) > at_once:
        yield f"{activation!r} has {len(unfinished)} items under way, and may have {at_once}"
    may_start = spec is None or (
        len(unfinished) < at_once and children.started < len(children.updates)
    )
    if isinstance(children, ReviewedScopes):
        yield from _check_reviews(activation, children)
    is_quiet = not (children.is_reviewing or any(scope.busy_count for scope in unfinished))
    is_held = activation.scope.closed or any(map(_is_held, unfinished))
    if is_entered and is_quiet and may_start and not is_held:
        yield f"nothing goes on inside {activation!r}"


def _check_reviews(activation: Activation, children: ReviewedScopes) -> Iterator[str]:
    if len(children.places) != len(children.updates):
        yield f"{activation!r} has {len(children.updates)} items at {len(children.places)} places"
    if children.is_reviewing and activation.status is not Status.ENTERED:
        yield f"{activation!r} reviews an item after it was left"
    if children.is_reviewing and not children.reviews:
        yield f"{activation!r} reviews an item that is not done"


def _check_calls(activation: Activation, calls: ToolScopes) -> Iterator[str]:
    for round in calls.rounds.values():
        unfinished = [scope for scope in round.scopes if not scope.finished]
        if round.unfinished != len(unfinished):
            yield f"{activation!r} counts {round.unfinished} calls, and has {len(unfinished)}"
    unfinished = [scope for scope in calls.scopes if not scope.finished]
    asks = any(scope.open_questions() for scope in unfinished)
    if activation.status is Status.ENTERED and not asks and not activation.scope.closed:
        yield f"{activation!r} rests, and no question is open inside"
    if activation.status is Status.ENTERED and any(scope.busy_count for scope in unfinished):
        yield f"{activation!r} rests, and something goes on inside"


def _is_held(scope: Scope) -> bool:
    """Return whether a quiet scope has a reason: closed, a question is open, or a region taken."""
    waits = any(
        item.status in (Status.AWAITING_ANSWER, Status.AWAITING_EVENT, Status.HELD)
        for item in scope.active.values()
    )
    return scope.closed or waits or any(map(_is_held, scope.child_scopes()))


def _list_paths(scope: Scope) -> str:
    active = [activation.path for activation in scope.active.values()]
    waiting = [scope.prefix + scope.plan.steps[index].name for index in scope.waiting]
    late = [_list_paths(other) for other in scope.detached]
    return ", ".join(active + waiting + late)


def _stories(run: Run) -> Iterator[str]:
    for activation in (*run.history[-10:], *run.root.active_activations()):
        yield from activation.story or ()
        yield repr(activation)

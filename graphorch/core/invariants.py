"""What must hold after every event, recomputed from scratch: for tests, and for runs that are debugged.

Everything that the core keeps up to date as it goes (live positions, busy counts, what waits, what is inside) is derived a second time
here, from the activations and tokens alone. Linear in what is active and waiting.
"""

from __future__ import annotations

from collections.abc import Iterator

from graphorch.core.run import Run
from graphorch.core.tree import Activation, ChildScopes, Scope, Status, Token
from graphorch.errors import InternalError

BUSY = (Status.RUNNING, Status.ROUTING, Status.RETRYING)


def check_invariants(run: Run) -> None:
    """Raise `InternalError`, with the story of the nodes concerned, if the state of a run contradicts itself."""
    found: list[str] = []
    consumed: dict[Token, str] = {}
    pending = [run.root]
    while pending:
        scope = pending.pop()
        found += _in_scope(scope, consumed)
        pending += scope.child_scopes()
    found += _at_root(run)
    if found:
        told = "".join(f"\n    {line}" for line in _stories(run))
        raise InternalError(
            f"Run {run.run_id} contradicts itself: {'; '.join(found)}. Please report this as a bug of graphorch.{told}"
        )


def live_positions(scope: Scope) -> int:
    """The bitmask of live positions that some join asks for, derived from what is active and what waits."""
    mask = 0
    for index in scope.active:
        mask |= 1 << index
    for index, tokens in scope.waiting.items():
        for token in tokens:
            mask |= 1 << (scope.plan.steps[index].latch if token.edge.kind == "loop" else index)
    return sum(
        1 << step.index for step in scope.plan.steps if step.tracked and mask >> step.index & 1
    ) | sum(
        1 << step.latch for step in scope.plan.steps if step.latch >= 0 and mask >> step.latch & 1
    )


def busy_count(scope: Scope) -> int:
    """How many activations keep a driver busy, and how many scopes inside do."""
    return sum(activation.status in BUSY for activation in scope.active.values()) + sum(
        inner.busy_count > 0 for inner in scope.child_scopes()
    )


def _at_root(run: Run) -> Iterator[str]:
    begun = bool(run.history or run.root.active or run.root.waiting or run.root.finished)
    if begun and run.status == "running" and not run.root.busy_count:
        yield "it goes on, but nothing keeps a driver busy"
    if run.status != "running" and any(
        _is_work(activation) for activation in run.root.active_activations()
    ):
        yield f"it is {run.status}, but not all work has ended"
    if run.activations_left < 0:
        yield f"{-run.activations_left} activations more than allowed were started"
    if run.status in ("succeeded", "partial") and (run.root.active or run.root.waiting):
        yield f"it is over, but {_named(run.root)} are not"


def _is_work(activation: Activation) -> bool:
    """Whether it takes time. An answer that comes to a stopped run is routed all the same, and a sub-flow that it ends is left."""
    return activation.status in (Status.RUNNING, Status.RETRYING) and activation.children is None


def _in_scope(scope: Scope, consumed: dict[Token, str]) -> Iterator[str]:
    where = scope.prefix or "the run"
    if scope.live_positions != live_positions(scope):
        yield f"in {where} the live positions are {live_positions(scope):b}, not {scope.live_positions:b}"
    if scope.busy_count != busy_count(scope):
        yield f"in {where} {busy_count(scope)} things keep a driver busy, not {scope.busy_count}"
    if scope.finished and (scope.active or scope.waiting):
        yield f"{where} is over, but {_named(scope)} are not"
    for index, tokens in scope.waiting.items():
        yield from _waiting(scope, index, tokens)
    for index, activation in scope.active.items():
        yield from _active(scope, index, activation)
        for token in activation.tokens:
            if token in consumed:
                yield f"{activation.path} and {consumed[token]} hold the same token"
            consumed[token] = activation.path


def _waiting(scope: Scope, index: int, tokens: list[Token]) -> Iterator[str]:
    step = scope.plan.steps[index]
    if not tokens or any(token.edge.target != index or token.version is None for token in tokens):
        yield f"at {scope.prefix}{step.name} tokens wait that do not belong there"
    if len({*tokens}) != len(tokens):
        yield f"at {scope.prefix}{step.name} a token waits twice"
    if not scope.closed and index not in scope.active and not scope.live_positions & step.blockers:
        yield f"{scope.prefix}{step.name} may fire, but does not"


def _active(scope: Scope, index: int, activation: Activation) -> Iterator[str]:
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
    if activation.children is not None:
        yield from _inside(activation, activation.children)
    elif activation.status is Status.ENTERED:
        yield f"{activation!r} has nothing inside"


def _inside(activation: Activation, inner: ChildScopes) -> Iterator[str]:
    open_scopes = [scope for scope in inner.scopes if not scope.finished]
    if inner.started != len(inner.scopes) or inner.succeeded != sum(
        scope.output is not None for scope in inner.scopes
    ):
        yield f"{activation!r} has miscounted what is inside"
    if activation.status is Status.ENTERED and inner.running != len(open_scopes):
        yield f"{activation!r} counts {inner.running} items that run, and has {len(open_scopes)}"
    if activation.step.map is not None and len(open_scopes) > activation.step.map.concurrency:
        yield f"{activation!r} has {len(open_scopes)} items under way, and may have {activation.step.map.concurrency}"
    may_start = activation.step.map is None or (
        len(open_scopes) < activation.step.map.concurrency and inner.started < len(inner.updates)
    )
    idle = not any(scope.busy_count for scope in open_scopes)
    if (
        activation.status is Status.ENTERED
        and idle
        and may_start
        and not activation.scope.closed
        and not any(_is_held(scope) for scope in open_scopes)
    ):
        yield f"nothing goes on inside {activation!r}"


def _is_held(scope: Scope) -> bool:
    """Whether a quiet scope has a reason to be quiet: it is closed, or somebody is asked."""
    return (
        scope.closed
        or any(activation.status is Status.AWAITING_ANSWER for activation in scope.active.values())
        or any(_is_held(inner) for inner in scope.child_scopes())
    )


def _named(scope: Scope) -> str:
    return ", ".join(
        [
            *(activation.path for activation in scope.active.values()),
            *(scope.prefix + scope.plan.steps[index].name for index in scope.waiting),
        ]
    )


def _stories(run: Run) -> list[str]:
    return [
        line
        for activation in (*run.history[-10:], *run.root.active_activations())
        for line in (*(activation.story or ()), repr(activation))
    ]

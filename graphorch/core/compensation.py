"""Compensation: what was committed is undone, in reverse causal order.

An undo is an activation of a plan of one step, in a scope beside all others (`UndoScope`). It reads
the state as it was right after the commit of the activation that it undoes, and writes nothing.

Rule 1: what has an undo and was committed is undone once. An activation gives what its undo reads
    to the compensation that comes first; a result that was served to it is not its own work.
Rule 2: the order follows from causes alone: of two activations the one that is deeper comes first,
    then the one whose node was declared later, then the later item of a map. What is inside an
    activation follows after its own undo.
Rule 3: in the whole run one undo is under way at a time, and compensations wait for each other in
    the order in which they began.
Rule 4: an undo that fails for good is remembered, and the next one begins.
Rule 5: limits, failures, joins and cancellations do not reach an undo. Only a stop does: it is
    interrupted, or may finish, and the next one waits until the run is resumed.
Rule 6: a sub-flow or map that failed is UNDOING until all inside it is undone, then its failure
    goes on. If it is tried again with the run, it begins anew. One that a join or map cancelled is
    over at once, and so is an item that a map does without; their work is undone beside the others.
Rule 7: a run whose whole work was undone is cancelled for good. Nothing else goes on in it then:
    what was open is cancelled first.

These are functions over the state of a run. `run.py` decides when something is undone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from graphorch.core.events import CancelNode, NodeFailed, StopRequested
from graphorch.core.firing import cancel_node
from graphorch.core.late_work import find_home, list_late
from graphorch.core.resuming import reopen_scope
from graphorch.core.state import RunState
from graphorch.core.stopping import cancel_children, cancel_scope, interrupt_scope
from graphorch.core.tree import (
    NO_COUNTERS,
    Activation,
    Scope,
    Status,
    ToolScopes,
    UndoScope,
)
from graphorch.core.undo_queue import Compensation, Undoing
from graphorch.state.version import Version

Left = list[tuple[Activation, Version]]


# ---- what is to be undone ------------------------------------------------------------------------
def has_work_to_undo(run: RunState, around: Activation | None) -> bool:
    """Return whether something with an undo was committed inside an activation, or in the run."""
    scopes = [run.root] if around is None else _list_inside(around)
    return bool(_find_committed(run, scopes))


def list_kept(run: RunState) -> list[Activation]:
    """Return what was committed and could be undone, the next one first."""
    return _find_committed(run, [run.root])[::-1]


def _find_committed(run: RunState, scopes: Sequence[Scope]) -> list[Activation]:
    """Return the activations in scopes and inside that have an undo, in causal order (rule 2)."""
    inside: dict[Scope, list[Activation]] = {}
    for activation in (*run.history, *run.root.active_activations()):
        inside.setdefault(find_home(activation.scope), []).append(activation)
    found: list[Activation] = []
    for scope in scopes:
        _add_committed(scope, inside, found)
    return found


def _add_committed(
    scope: Scope, inside: dict[Scope, list[Activation]], found: list[Activation]
) -> None:
    for activation in sorted(inside.get(scope, ()), key=_causal_order):
        for inner in _list_inside(activation):
            _add_committed(inner, inside, found)
        if activation.kept is not None:
            found.append(activation)


def _list_inside(activation: Activation) -> Sequence[Scope]:
    """Return the scopes inside an activation, in the order of its items or calls."""
    children = activation.children
    if children is None or isinstance(children, ToolScopes):
        return children.scopes if children is not None else ()
    begun = len(children.scopes)
    return [children.scopes[item] for item in children.list_in_order() if item < begun]


def _causal_order(activation: Activation) -> tuple[int, int]:
    return activation.depth, activation.step.index


def _take_committed(run: RunState, scopes: Sequence[Scope]) -> Left:
    """Take what is to be undone from the activations that did it (rule 1)."""
    left: Left = []
    for activation in _find_committed(run, scopes):
        version, activation.kept = activation.kept, None
        assert version is not None
        left.append((activation, version))
    return left


# ---- beginning -----------------------------------------------------------------------------------
def undo_failed(run: RunState, event: NodeFailed) -> None:
    """Undo what was committed inside a sub-flow or map that failed for good (rule 6)."""
    region = event.activation
    region.status = Status.UNDOING
    left = _take_committed(run, _list_inside(region))
    if region.children is not None:
        reason = f"'{region.path}' failed, and is undone"
        cancel_children(run, region.children, reason)
        for late in list_late(region.scope, (region.step.index,)):
            if late in region.children.scopes:
                cancel_scope(run, late, reason)
    _add(run, Compensation(f"'{region.path}' failed", left, region, event))
    if run.undoing is not None and run.undoing.is_stopped:
        region.status = Status.FAILED  # its turn comes when the run is resumed
        run.exit_busy(region.scope)


def undo_cancelled(run: RunState, around: Activation, scopes: Sequence[Scope], reason: str) -> None:
    """Undo what was committed in scopes inside an activation that are about to be cancelled."""
    left = _take_committed(run, scopes)
    if left:
        _add(run, Compensation(f"'{around.path}' was cancelled: {reason}", left))


def undo_run(run: RunState, reason: str) -> None:
    """Undo all that was committed in a quiet run, which is cancelled then (rule 7)."""
    undoing = run.undoing = run.undoing or Undoing()
    undoing.is_whole, undoing.is_requested, undoing.reason = True, False, reason
    left = _take_committed(run, [run.root])
    root = run.root
    root.closed = True
    for late in root.detached:
        cancel_scope(run, late, reason)
    for index in sorted({*root.active, *root.waiting}):
        cancel_node(run, root, index, reason)
    _add(run, Compensation(reason, left))


def _add(run: RunState, compensation: Compensation) -> None:
    undoing = run.undoing = run.undoing or Undoing()
    undoing.queue.append(compensation)
    begin_next(run)


# ---- one after the other -------------------------------------------------------------------------
def begin_next(run: RunState) -> None:
    """Begin the next undo unless one is under way, and end the compensations that are done."""
    undoing = run.undoing
    while undoing is not None and undoing.queue and undoing.scope is None:
        if undoing.is_stopped:
            return
        compensation = undoing.queue[0]
        if compensation.left:
            undone, version = compensation.left.pop()
            _begin(run, undoing, undone, version, compensation.reason)
            return
        undoing.queue.pop(0)
        _end(run, compensation)


def _begin(
    run: RunState, undoing: Undoing, undone: Activation, version: Version, reason: str
) -> None:
    """Make the activation of an undo. It is no step of the graph, so no limit counts it."""
    plan = undone.step.undo
    assert plan is not None
    scope = undoing.scope = UndoScope(plan, undone, reason)
    step = plan.steps[0]
    activation = Activation(scope, step, None, version, 1, NO_COUNTERS)
    scope.active[step.index] = activation
    run.enter_busy(scope)
    run.commands.append(activation)


def _end(run: RunState, compensation: Compensation) -> None:
    """Let the failure of a sub-flow or map go on once all inside it is undone."""
    region, failure = compensation.region, compensation.failure
    if region is not None and failure is not None and region.status is Status.UNDOING:
        if region.children is not None:
            region.children.is_undone = True
            for scope in region.children.scopes:
                assert scope.origin  # computed on first use: what begins anew has other ids
        region.restarts += 1
        run.end_failure(failure)


def finish_undo(run: RunState) -> None:
    """Go on after an undo that has succeeded."""
    assert run.undoing is not None
    run.undoing.scope = None
    begin_next(run)


def fail_undo(run: RunState, activation: Activation, *, is_final: bool) -> None:
    """Go on after an undo that has failed (rule 4); one that may be repeated waits for a resume."""
    undoing, scope = run.undoing, activation.scope
    assert undoing is not None
    if is_final:
        activation.status = Status.SKIPPED
        run.history.append(activation)
        undoing.failed.append(activation)
        scope.active.clear()
        scope.finished = True
        undoing.scope = None
        begin_next(run)
    else:
        activation.status = Status.FAILED
    run.exit_busy(scope)


# ---- stopping and resuming -----------------------------------------------------------------------
def request_or_stop(run: RunState, event: StopRequested) -> None:
    """Have a run that is cancelled undo its work once it is quiet; any other stop stops undos."""
    if not event.undoes:
        stop_undos(run, event.reason, now=event.now)
    elif not run.stopping:
        run.undoing = run.undoing or Undoing()
        run.undoing.is_requested = True


def stop_undos(run: RunState, reason: str, *, now: bool) -> None:
    """Let no undo begin until the run is resumed, and interrupt the one under way, or not."""
    undoing = run.undoing
    if undoing is None or undoing.is_stopped:
        return
    undoing.is_stopped, undoing.stop_reason = True, reason
    for region in _list_regions(undoing, Status.UNDOING):
        region.status = Status.FAILED
        run.exit_busy(region.scope)
    if (scope := undoing.scope) is None:
        return
    scope.closed = True
    for activation in list(scope.active.values()):
        if activation.status is Status.RETRYING:
            activation.status, activation.retry_at = Status.FAILED, 0.0
            run.commands.append(CancelNode(activation, "nothing new starts"))
            run.exit_busy(scope)
    if now:
        interrupt_scope(run, scope, reason)


def resume_undos(run: RunState, at: float) -> None:
    """Continue with the undos of a run that was stopped."""
    undoing = run.undoing
    if undoing is None or not undoing.is_stopped:
        return
    undoing.is_stopped = False
    for region in _list_regions(undoing, Status.FAILED):
        region.status = Status.UNDOING
        run.enter_busy(region.scope)
    if undoing.scope is not None:
        reopen_scope(run, undoing.scope, at)
    begin_next(run)


def _list_regions(undoing: Undoing, status: Status) -> Iterable[Activation]:
    for compensation in undoing.queue:
        region = compensation.region
        if region is not None and region.status is status:
            yield region

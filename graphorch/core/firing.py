"""Rules of tokens: how they are delivered, when a node fires, and how a `need=k` join decides.

Rule 1: a token waits at its target until the target may fire; the target then consumes all the
    tokens that it holds, once.
Rule 2: a node fires when it holds a token, is not active itself, and no live position is left that
    blocks it. A node with one incoming edge has no blockers and fires at once. A node that is
    blocked watches one of the positions that block it, and is looked at again when that one ends.
Rule 3: a live position is a node that is active or holds a token that came over a forward edge, or
    the latch of a loop header, which holds a token that came over a loop edge.
Rule 4: each token takes a version of the state of its own; tokens that are consumed together have
    their versions united. Two unordered writes of a plain field are a fatal error of the consumer.
Rule 5: a closed scope starts nothing: tokens that arrive wait there until the run is resumed. END
    still fires, since it is not work.
Rule 6: a `need=k` join decides in the commit that brings the k-th arrival: it consumes those k
    tokens and cancels by name everything else in its region, or lets it finish beside the scope
    (`late_work.py`). If nothing live can bring the k-th any more, it fails, or fires with the
    tokens that it holds (`short="fire"`).
Rule 7: a loop edge counts one more iteration of its loop and restarts the counters of the loops
    inside it; a counter is dropped where its token leaves the body.

These are functions over the state of a run and one of its scopes. They decide nothing about
failures and the end of a scope, which is for `run.py`, nor about stops, which is for `stopping.py`.
`semantics.md` explains the rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphorch.core.events import NodeHeld
from graphorch.core.late_work import detach_region, forget, is_late_arrival, list_late
from graphorch.core.state import RunState, append_to
from graphorch.core.tree import (
    NO_COUNTERS,
    NOTHING_WAITS,
    Activation,
    Counters,
    Scope,
    Status,
    Token,
)
from graphorch.errors import QuorumNotMet, WriteConflict
from graphorch.graph.edges import Edge
from graphorch.graph.plan import Step
from graphorch.state.version import INPUT, InputUpdate, Version, unite

_DONE = Status.DONE  # looked up for every commit


# ---- delivery ------------------------------------------------------------------------------------
def begin(run: RunState, scope: Scope, update: dict[int, Any]) -> None:
    """Emit the input of a scope along the edges from START, and start what becomes ready."""
    version = Version({}, {})
    if type(update) is InputUpdate:  # quicker than isinstance, for each item of a map
        version.take_defaults(update.defaults, scope.reducers)
    version.take(update, scope.reducers, INPUT, "input")
    entry = scope.plan.entry
    if entry is not None and run.activations_left:
        # Fast path of emit + fire_ready, for a plan with one edge from START to a node without
        # other incoming edges: the token would be consumed at once, so none is made.
        # tests/core/test_fast_path.py compares both.
        add_activation(run, scope, Activation(scope, entry, None, version, 1, NO_COUNTERS))
        return
    emit(run, scope, None, scope.plan.starts, version, NO_COUNTERS)
    fire_ready(run, scope)


def advance(
    run: RunState,
    scope: Scope,
    activation: Activation,
    edges: tuple[Edge, ...],
    version: Version,
) -> bool:
    """Commit an activation with one token whose target starts at once. Return False if it cannot.

    False means that nothing was changed. It is a fast path of emit + deactivate + fire_ready, for
    runs without exclusive regions: one activation ends and the next one starts, so the scope stays
    as busy as it was, and no token is made. Most commits of most runs are of this kind.
    tests/core/test_fast_path.py compares both.
    """
    active, step, edge = scope.active, activation.step, edges[0]
    index = edge.target
    if scope.closed or not run.activations_left or index in active or index == scope.end:
        return False
    target = scope.steps[index]
    if target.joins and (
        target.need or scope.waiting or scope.live_positions & ~step.bit & target.blockers
    ):
        return False
    counters = activation.counters
    if counters or edge.loop >= 0:
        counters = _count_iterations(scope, counters, edge, target)
    activation.status, activation.taken_edges, activation.version = _DONE, edges, None
    run.history.append(activation)
    del active[step.index]
    if step.tracked or scope.waiting:
        _release_position(scope, step)
    active[index] = started = Activation(
        scope, target, activation, version, activation.depth + 1, counters
    )
    scope.live_positions |= target.bit
    run.activations_left -= 1
    run.started += 1
    run.commands.append(started)
    if scope.due:
        fire_ready(run, scope)
    return True


def emit(
    run: RunState,
    scope: Scope,
    source: Activation | None,
    edges: Sequence[Edge],
    version: Version,
    counters: Counters,
    failure: Any = None,
) -> None:
    """Emit one token per edge. A sole token takes the version itself, several take a copy each."""
    if len(edges) == 1:
        _deliver(run, scope, source, edges[0], version, counters, failure)
    elif edges:
        for edge, copy in zip(edges, version.split(len(edges)), strict=True):
            _deliver(run, scope, source, edge, copy, counters, failure)
    # Only after all tokens of the commit are out, so that none of them can arrive late (rule 6).
    if run.has_quorums:
        for index in {edge.target for edge in edges if scope.steps[edge.target].need}:
            _decide_quorum(run, scope, index)


def _deliver(
    run: RunState,
    scope: Scope,
    source: Activation | None,
    edge: Edge,
    version: Version,
    counters: Counters,
    failure: Any,
) -> None:
    """Bring a token to its target, which starts if it is not a join and may start now."""
    target = edge.target
    step = scope.steps[target]
    if counters or edge.loop >= 0:
        counters = _count_iterations(scope, counters, edge, step)
    starts = not (step.joins or target in scope.active or (scope.closed and target != scope.end))
    if starts and failure is None and run.activations_left and target != scope.end:
        # Fast path of `_start` with one token, which is not made (see `Activation.tokens`).
        depth = source.depth + 1 if source is not None else 1
        add_activation(run, scope, Activation(scope, step, source, version, depth, counters))
        return
    token = Token(source, edge, version, counters, failure)
    if starts:
        _start(run, scope, step, (token,))
        return
    _hold(scope, step, (token,))


def _count_iterations(scope: Scope, counters: Counters, edge: Edge, target: Step) -> Counters:
    """Return the loop counters of a token that comes along this edge (rule 7)."""
    inside = target.inside
    if edge.kind != "loop":
        if not counters or inside.issuperset(counters):
            return counters
        return {loop: count for loop, count in counters.items() if loop in inside}
    reset = scope.plan.resets.get(edge.loop, ())
    kept = {loop: count for loop, count in counters.items() if loop in inside and loop not in reset}
    kept[edge.loop] = counters.get(edge.loop, 1) + 1
    return kept


def _hold(scope: Scope, step: Step, tokens: tuple[Token, ...]) -> None:
    """Have tokens wait at their target, where they are live positions (rule 3)."""
    if scope.waiting is NOTHING_WAITS:
        scope.waiting, scope.watchers, scope.arrivals = {}, {}, {}
    if step.index in scope.waiting:
        # Another token unblocks nothing: the node is due, watches a blocker, or is active itself.
        scope.waiting[step.index].extend(tokens)
    else:
        scope.waiting[step.index] = [*tokens]
        scope.due |= 1 << step.index
        scope.arrived += 1
        scope.arrivals[step.index] = scope.arrived
    for token in tokens:
        if token.edge.kind == "loop":
            scope.live_positions |= step.latch_bit
        elif step.tracked:
            scope.live_positions |= step.bit


# ---- firing --------------------------------------------------------------------------------------
def fire_ready(run: RunState, scope: Scope) -> None:
    """Start every node that may fire (rule 2); of a closed scope, END alone (rule 5)."""
    # What fires may end the wait of others: a quorum cancels, and a header leaves its latch.
    while scope.due:
        for index in _list_unblocked(scope):
            step = scope.steps[index]
            if scope.live_positions & step.blockers:
                scope.due |= 1 << index  # by what fired just now
            # A quorum that was decided earlier in this loop may have cancelled what waited here.
            elif index not in scope.waiting or (scope.closed and index != scope.end):
                continue
            elif step.need and not _decide_quorum(run, scope, index):
                _fail_quorum(run, scope, step)
            elif not step.need:
                _start(run, scope, step, _take_waiting(scope, step))


def _list_unblocked(scope: Scope) -> list[int]:
    """Return the due nodes that nothing blocks, in the order in which their first tokens came.

    The others watch a blocker: at once all that it blocks, since they are many where one node
    after the other brings the token that they wait for.
    """
    due, scope.due = scope.due, 0
    unblocked: list[int] = []
    while due:
        index = due.bit_length() - 1
        blocking = scope.live_positions & scope.steps[index].blockers
        watchers = 1 << index
        if blocking:
            position = blocking.bit_length() - 1
            watchers |= due & scope.plan.blocked[position]
            scope.watchers[position] = scope.watchers.get(position, 0) | watchers
        elif index in scope.waiting and index not in scope.active:
            unblocked += (index,)  # no call, since this runs for every join
        due &= ~watchers
    if unblocked[1:]:
        unblocked.sort(key=scope.arrivals.__getitem__)
    return unblocked


def _take_waiting(scope: Scope, step: Step) -> tuple[Token, ...]:
    """Take all tokens that wait at a node, in canonical order."""
    tokens = scope.waiting.pop(step.index)
    # The node becomes active, so that its own position stays live.
    scope.live_positions &= ~(step.bit | step.latch_bit)
    if step.latch >= 0:
        _notify(scope, step.latch)
    return tuple(sorted(tokens, key=_canonical_order)) if len(tokens) > 1 else (tokens[0],)


def _start(
    run: RunState,
    scope: Scope,
    step: Step,
    tokens: tuple[Token, ...],
    fatal_error: Exception | None = None,
) -> None:
    """Consume tokens and make an activation of them. END makes none: it takes what reached it."""
    is_end = step.index == scope.end
    if not is_end and not run.activations_left:
        run.on_limit_reached()
        _hold(scope, step, tokens)
        scope.due &= ~(1 << step.index)  # until the run is resumed
        return
    version = tokens[0].version
    if len(tokens) > 1:
        version, conflict = _unite_versions(tokens)
        fatal_error = fatal_error or conflict
    for token in tokens:
        token.version = None  # moved
    if is_end and fatal_error is None:
        run.on_end_reached(scope, version)
        return
    activation = _make_activation(scope, step, tokens, version)
    if fatal_error is not None:
        activation.failure = activation.fatal_error = fatal_error
    add_activation(run, scope, activation)


def add_activation(run: RunState, scope: Scope, activation: Activation) -> None:
    """Make an activation active in its scope, and hand it to the driver to run."""
    step = activation.step
    scope.active[step.index] = activation
    scope.live_positions |= step.bit
    # END is an activation only if its tokens conflict. That is not work, so it does not count.
    if step.index != scope.end:
        run.activations_left -= 1
        run.started += 1
    if step.exclusive and step.node.options.gate != "before":
        hold(run, activation)
        return
    scope.busy_count += 1
    if scope.busy_count == 1 and (outer := scope.outer) is not None:
        run.enter_busy(outer)
    run.commands.append(activation)


def hold(run: RunState, activation: Activation, *, is_first: bool = False) -> None:
    """Have an activation wait for its exclusive regions, which it may get by the same event."""
    assert run.exclusive is not None
    activation.status = Status.HELD
    run.exclusive.add(activation, is_first=is_first)
    run.commands.append(NodeHeld(activation))


def deactivate(scope: Scope, activation: Activation) -> None:
    """End the live position of an activation. Its tokens, if any, were emitted before."""
    step = activation.step
    del scope.active[step.index]
    if step.tracked or scope.waiting:
        _release_position(scope, step)


def _release_position(scope: Scope, step: Step) -> None:
    """Clear the position of a node, unless a token waits at it that came over a forward edge."""
    waiting = scope.waiting.get(step.index)
    if waiting is not None:
        scope.due |= 1 << step.index  # it waited for the node itself, perhaps
    if waiting is None or all(token.edge.kind == "loop" for token in waiting):
        scope.live_positions &= ~step.bit
        if scope.watchers:
            _notify(scope, step.index)


def _notify(scope: Scope, position: int) -> None:
    """Look again at the nodes that watch a position which is not live any more."""
    if position in scope.watchers:
        scope.due |= scope.watchers.pop(position)


# ---- need=k --------------------------------------------------------------------------------------
def _decide_quorum(run: RunState, scope: Scope, index: int) -> bool:
    """Fire a `need=k` join if k edges have arrived; the rest of its region is cancelled or late."""
    tokens, step = scope.waiting.get(index), scope.steps[index]
    if scope.late is not None and tokens and is_late_arrival(scope, index):
        run.late_tokens = append_to(run.late_tokens, _take_waiting(scope, step))
        return True
    if not tokens or scope.closed or index in scope.active:
        return False
    if scope.live_positions & step.blockers & scope.plan.late_positions:
        return False  # the losers of the iteration before have not ended
    # The first token of each edge counts, in order of arrival.
    first = {token.edge.index: token for token in reversed(tokens)}
    if len(first) < step.need:
        return False
    chosen = [token for token in tokens if first[token.edge.index] is token][: step.need]
    others = [token for token in tokens if token not in chosen]
    _take_waiting(scope, step)
    if step.finishes:
        run.late_tokens = append_to(run.late_tokens, others)
        _let_finish(run, scope, step)
    else:
        run.cancelled_tokens = append_to(run.cancelled_tokens, others)
        for node in step.region:
            cancel_node(run, scope, node, f"'{step.name}' has the {step.need} that it needs")
    _start(run, scope, step, tuple(sorted(chosen, key=_canonical_order)))
    return True


def _let_finish(run: RunState, scope: Scope, join: Step) -> None:
    """Let what is in the region of a join that has decided go on beside its scope."""
    late = detach_region(scope, join)
    if late is None:
        return
    for node in join.region:
        step = scope.steps[node]
        _notify(scope, step.late)
        if node not in scope.active:
            _end_position(scope, step)
    # What waited for the activation whose commit decides waits for it no more.
    fire_ready(run, late)


def end_late_work(run: RunState, late: Scope) -> None:
    """Forget late work that is over: the loops around it may go on."""
    assert late.late is not None
    host = late.late.host
    forget_late_work(late)
    for index in list(host.waiting):
        if host.steps[index].need:
            _decide_quorum(run, host, index)
    fire_ready(run, host)


def forget_late_work(late: Scope) -> None:
    """Forget late work that was cancelled, or is over."""
    assert late.late is not None
    if forget(late):
        _notify(late.late.host, late.late.host.steps[late.late.node].late)


def _fail_quorum(run: RunState, scope: Scope, step: Step) -> None:
    """Start a `need=k` join that nothing live can bring its k-th token any more."""
    tokens = _take_waiting(scope, step)
    run.has_gaps = True
    error = None
    if step.short == "fail":
        arrived = len({token.edge.index for token in tokens})
        error = QuorumNotMet(
            f"'{step.name}' needs {step.need} branches, and only {arrived} can arrive."
        )
    _start(run, scope, step, tokens, error)


def cancel_node(run: RunState, scope: Scope, index: int, reason: str) -> None:
    """Cancel by name the tokens that wait at a node and the activation that is active there."""
    run.cancelled_tokens = append_to(run.cancelled_tokens, scope.waiting.pop(index, ()))
    step = scope.steps[index]
    if scope.detached:
        for late in list_late(scope, (index,)):
            run.cancel_scope(late, reason)
    activation = scope.active.get(index)
    if activation is not None and activation.is_over:
        return  # its own commit is what decides, and deactivates it afterwards
    if activation is not None:
        run.cancel(activation, reason)
        deactivate(scope, activation)
    _end_position(scope, step)


def _end_position(scope: Scope, step: Step) -> None:
    """Look again at the nodes that watch a node at which nothing is any more."""
    scope.live_positions &= ~(step.bit | step.latch_bit)
    _notify(scope, step.index)
    _notify(scope, step.latch)


# ---- making an activation of several tokens ------------------------------------------------------
def _unite_versions(tokens: tuple[Token, ...]) -> tuple[Version | None, WriteConflict | None]:
    """Return the united version of several tokens, or the conflict between them (rule 4)."""
    try:
        return unite([token.version for token in tokens if token.version is not None]), None
    except WriteConflict as error:
        return None, error


def _make_activation(
    scope: Scope, step: Step, tokens: tuple[Token, ...], version: Version | None
) -> Activation:
    if len(tokens) == 1:
        (token,) = tokens
        depth = token.source.depth + 1 if token.source is not None else 1
        counters = token.counters
    else:
        depth = 1 + max(token.source.depth if token.source is not None else 0 for token in tokens)
        counters = _merge_counters([token.counters for token in tokens])
    activation = Activation(scope, step, None, version, depth, counters)
    activation.set_tokens(tokens)
    return activation


def _canonical_order(token: Token) -> tuple[int, int, int]:
    """Return the key of the order in which lock-step execution would have produced the tokens."""
    source = token.source
    if source is None:
        return 0, -1, token.edge.index
    return source.depth, source.step.index, token.edge.index


def _merge_counters(counters: list[Counters]) -> Counters:
    """Return the counters of a join.

    Tokens of one iteration carry equal counters. A loop that some of them have not entered takes
    the count of those that have.
    """
    first = counters[0]
    if all(other is first for other in counters):
        return first
    merged: dict[int, int] = {}
    for item in counters:
        for loop, count in item.items():
            merged[loop] = max(count, merged.get(loop, 1))
    return merged or NO_COUNTERS

"""Bugs to plant into the scheduler, one at a time, to see that the simulation finds each of them.

Each is a context manager that replaces one function of the product by one that is wrong in one
respect, and puts it back.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from graphorch.core import children as children_module
from graphorch.core import firing as firing_module
from graphorch.core import resuming as resuming_module
from graphorch.core import run as run_module
from graphorch.core import stopping as stopping_module
from graphorch.core.events import NodeFailed, NodeSucceeded, Routed
from graphorch.core.exclusive import ExclusiveRegions
from graphorch.core.run import Run
from graphorch.core.state import RunState
from graphorch.core.tree import Activation, Scope, Status
from graphorch.engine.invocation import binding
from graphorch.graph import compiler as compiler_module
from graphorch.graph import topology as topology_module
from graphorch.graph.edges import Edge
from graphorch.state import version as version_module
from graphorch.state.history import History
from tests.state.orders import order_of

# modules whose functions act on a run
RULES = (firing_module, stopping_module, children_module, resuming_module, run_module)


@contextlib.contextmanager
def replaced(owner: Any, name: str, wrong: Callable[[Any], Any]) -> Iterator[None]:
    """Replace a function by what `wrong` makes of it."""
    right = getattr(owner, name)
    setattr(owner, name, wrong(right))
    try:
        yield
    finally:
        setattr(owner, name, right)


@contextlib.contextmanager
def replaced_rule(name: str, wrong: Callable[[Any], Any]) -> Iterator[None]:
    """Replace a function of the core, in every module that has or imports it."""
    modules = [module for module in RULES if hasattr(module, name)]
    right = getattr(modules[0], name)
    with contextlib.ExitStack() as stack:
        for module in modules:
            assert getattr(module, name) is right
            stack.enter_context(replaced(module, name, lambda _: wrong(right)))
        yield


@contextlib.contextmanager
def replaced_handler(event: type, wrong: Callable[[Any], Any]) -> Iterator[None]:
    """Replace the handler of an event."""
    handlers: Any = run_module.HANDLERS
    right = handlers[event]
    handlers[event] = wrong(right)
    try:
        yield
    finally:
        handlers[event] = right


# ---- joins ---------------------------------------------------------------------------------------
def join_fires_early() -> Any:
    """A join does not wait for what can still arrive."""

    def wrong(right: Any) -> Any:
        def fire_ready(run: RunState, scope: Scope) -> None:
            for index in list(scope.waiting):
                step = scope.plan.steps[index]
                if (
                    index in scope.waiting
                    and index not in scope.active
                    and not step.need
                    and not scope.closed
                ):
                    tokens = firing_module._take_waiting(scope, step)
                    firing_module._start(run, scope, step, tokens)
            right(run, scope)

        return fire_ready

    return replaced_rule("fire_ready", wrong)


def join_forgets_a_token() -> Any:
    """A token that arrives where others wait is dropped."""

    def wrong(right: Any) -> Any:
        def deliver(run: RunState, scope: Scope, source: Any, edge: Edge, *rest: Any) -> None:
            if edge.target not in scope.waiting:
                right(run, scope, source, edge, *rest)

        return deliver

    return replaced_rule("_deliver", wrong)


def join_is_not_live_while_a_token_waits() -> Any:
    """A token that waits at a node is not a live position."""

    def wrong(right: Any) -> Any:
        def deactivate(scope: Scope, activation: Activation) -> None:
            right(scope, activation)
            scope.live_positions &= ~(1 << activation.step.index)
            for edge in activation.taken_edges:
                if edge.target not in scope.active:
                    scope.live_positions &= ~(1 << edge.target)
            for index in scope.waiting:
                scope.due |= 1 << index

        return deactivate

    return replaced_rule("deactivate", wrong)


def join_counts_shared_history_twice() -> Any:
    """Histories are joined without sharing: a write that two branches saw counts twice."""

    def wrong(right: Any) -> Any:
        def unite(base: History | None, branches: Sequence[History]) -> History:
            writes = [write for branch in branches for write in branch.list_writes()]
            united = base
            for write in sorted(writes, key=lambda write: write.order):
                united = History(united, write)
            assert united is not None
            return united

        return unite

    return replaced(version_module, "unite_branches", wrong)


def fold_in_order_of_completion() -> Any:
    """Concurrent updates are folded in the order of their commits."""
    clock = iter(range(1, 1 << 60))

    def wrong(right: Any) -> Any:
        def take(self: Any, update: Any, reducers: Any, order: int, by: str) -> None:
            right(
                self,
                update,
                reducers,
                order if order < order_of(1, 0) else order_of(next(clock), 0),
                by,
            )

        return take

    return replaced(version_module.Version, "take", wrong)


def depth_of_the_first_branch() -> Any:
    """Depth is taken from the shallowest branch of a join instead of the deepest."""

    def wrong(right: Any) -> Any:
        def make_activation(scope: Scope, step: Any, tokens: Any, version: Any) -> Any:
            activation = right(scope, step, tokens, version)
            activation.depth = 1 + min(
                token.source.depth if token.source is not None else 0 for token in tokens
            )
            return activation

        return make_activation

    return replaced_rule("_make_activation", wrong)


# ---- loops ---------------------------------------------------------------------------------------
def no_latch() -> Any:
    """A token that came back over a loop edge does not hold back what is behind the loop."""

    def wrong(right: Any) -> Any:
        def blockers(shape: Any, latches: Any) -> dict[int, int]:
            nodes = (1 << shape.end + 1) - 1
            return {node: mask & nodes for node, mask in right(shape, latches).items()}

        return blockers

    return replaced(compiler_module, "find_blockers", wrong)


def latch_blocks_its_own_body() -> Any:
    """A token that came back over a loop edge holds back the body that it is to start."""

    def wrong(right: Any) -> Any:
        def blockers(shape: Any, latches: Any) -> dict[int, int]:
            masks = right(shape, latches)
            for loop in shape.loops:
                for node in loop.body & masks.keys():
                    masks[node] |= 1 << latches[loop.header]
            return masks

        return blockers

    return replaced(compiler_module, "find_blockers", wrong)


def counters_survive_the_loop() -> Any:
    """A counter is kept when its token leaves the body, so an inner loop is not counted anew."""

    def wrong(right: Any) -> Any:
        def deliver(run: RunState, scope: Scope, source: Any, edge: Edge, *rest: Any) -> None:
            step, loops = scope.plan.steps[edge.target], scope.plan.topology.loops
            right_inside, step.inside = step.inside, frozenset(range(len(loops)))
            right(run, scope, source, edge, *rest)
            step.inside = right_inside

        return deliver

    return replaced_rule("_deliver", wrong)


def body_of_one_loop_alone() -> Any:
    """Of two loops on one header each has its own body, so that one drops the other's counter."""

    def wrong(right: Any) -> Any:
        def find(search: Any, header: int, sources: Any) -> None:
            right(search, header, list(sources)[:1])

        return find

    return replaced(topology_module._BodySearch, "find", wrong)


def exhausted_is_ignored() -> Any:
    """A loop that is exhausted goes on as if it were not."""

    def wrong(right: Any) -> Any:
        def routed(run: Run, event: Routed) -> None:
            event.decision.exhausted = -1
            right(run, event)

        return routed

    return replaced_handler(Routed, wrong)


# ---- starting and stopping -----------------------------------------------------------------------
def double_start() -> Any:
    """An activation is started twice."""

    def wrong(right: Any) -> Any:
        def add(run: RunState, scope: Scope, activation: Activation) -> None:
            right(run, scope, activation)
            run.commands.append(activation)

        return add

    return replaced_rule("add_activation", wrong)


def start_in_a_closed_scope() -> Any:
    """A run that is to stop goes on starting what becomes ready."""

    def wrong(right: Any) -> Any:
        def close_scope(run: RunState, scope: Scope, **options: Any) -> None:
            right(run, scope, **options)
            scope.closed = False

        return close_scope

    return replaced_rule("close_scope", wrong)


def retry_waits_forever_in_a_drain() -> Any:
    """What waits for its next attempt is not left undone when a scope is closed."""

    def wrong(right: Any) -> Any:
        def close_scope(run: RunState, scope: Scope, **options: Any) -> None:
            pending = [scope]
            while pending:
                item = pending.pop()
                item.closed = True
                pending.extend(item.child_scopes())

        return close_scope

    return replaced_rule("close_scope", wrong)


def lost_attempts_count() -> Any:
    """The failure of an attempt that is over is taken for one of the attempt that runs."""

    def wrong(right: Any) -> Any:
        def failed(run: Run, event: NodeFailed) -> None:
            right(
                run,
                NodeFailed(
                    event.activation,
                    event.activation.attempt,
                    event.failure,
                    event.retry_after,
                    event.handler,
                    event.limit,
                ),
            )

        return failed

    return replaced_handler(NodeFailed, wrong)


def lost_results_count() -> Any:
    """The result of an attempt that was lost is taken for that of the attempt that runs."""

    def wrong(right: Any) -> Any:
        def succeeded(run: Run, event: NodeSucceeded) -> None:
            event.attempt = 0
            right(run, event)

        return succeeded

    return replaced_handler(NodeSucceeded, wrong)


def failures_end_the_path() -> Any:
    """A failure without a handler is a dead path under every policy."""

    def wrong(right: Any) -> Any:
        def fail(self: Run, activation: Activation) -> None:
            self._skip(activation)

        return fail

    return replaced(Run, "_fail", wrong)


def answers_are_forgotten() -> Any:
    """A question inside a sub-flow does not make its run wait."""

    def wrong(right: Any) -> Any:
        def questions(scope: Scope) -> list[Activation]:
            return [item for item in right(scope) if item.scope is scope]

        return questions

    return replaced(Scope, "open_questions", wrong)


def resuming_runs_finished_work_again() -> Any:
    """Resuming a run starts over what is inside a sub-flow or map."""

    def wrong(right: Any) -> Any:
        def run_again(run: RunState, activation: Activation, at: float) -> None:
            activation.children = None
            right(run, activation, at)

        return run_again

    return replaced_rule("run_again", wrong)


# ---- races, maps, failures -----------------------------------------------------------------------
def cancel_misses_one_node() -> Any:
    """The join of a race leaves the last node of its region alone."""

    def wrong(right: Any) -> Any:
        def cancel_node(run: RunState, scope: Scope, index: int, reason: str) -> None:
            regions = [
                step.region for step in scope.plan.steps if step.need and index in step.region
            ]
            if not any(index == region[-1] for region in regions):
                right(run, scope, index, reason)

        return cancel_node

    return replaced_rule("cancel_node", wrong)


def quorum_of_one_less() -> Any:
    """A `need=k` join is content with k-1 arrivals, if k is more than one."""

    def wrong(right: Any) -> Any:
        def decide(run: RunState, scope: Scope, index: int) -> bool:
            step = scope.plan.steps[index]
            need, step.need = step.need, max(1, step.need - 1)
            decided = right(run, scope, index)
            step.need = need
            return decided

        return decide

    return replaced_rule("_decide_quorum", wrong)


def items_in_order_of_completion() -> Any:
    """The results of a map are gathered in the order in which they came."""
    ended: list[Scope] = []

    def noting(right: Any) -> Any:
        def reached_end(self: Run, scope: Scope, output: Any) -> None:
            ended.append(scope)
            right(self, scope, output)

        return reached_end

    def wrong(right: Any) -> Any:
        def leave(activation: Activation) -> Any:
            inner = activation.children
            if activation.step.map is not None and inner is not None:
                places = {id(scope): at for at, scope in enumerate(ended)}
                inner.scopes.sort(key=lambda scope: places.get(id(scope), 0))
            return right(activation)

        return leave

    both = contextlib.ExitStack()
    both.enter_context(replaced(Run, "on_end_reached", noting))
    both.enter_context(replaced(binding, "gather_children", wrong))
    return both


def too_many_items_at_once() -> Any:
    """A map starts one item more than it may."""

    def wrong(right: Any) -> Any:
        def start_items(run: RunState, activation: Activation, inner: Any) -> None:
            inner.running -= 1
            right(run, activation, inner)
            inner.running += 1

        return start_items

    return replaced_rule("start_items", wrong)


def error_edge_and_all_others() -> Any:
    """A node that failed sends its token over the error edge, and over its plain edges as well."""

    def wrong(right: Any) -> Any:
        def complete(self: Run, activation: Activation, edges: Any, failure: Any = None) -> None:
            right(
                self,
                activation,
                edges if failure is None else (*edges, *activation.step.edges),
                failure,
            )

        return complete

    return replaced(Run, "_commit", wrong)


def id_depends_on_the_attempt() -> Any:
    """The id of an activation depends on how often it was tried."""

    def wrong(right: Any) -> Any:
        def run_again(run: RunState, activation: Activation, at: float) -> None:
            right(run, activation, at)
            activation._id = activation.id[:-1] + str(activation.attempt % 10)

        return run_again

    return replaced_rule("run_again", wrong)


def busy_is_miscounted() -> Any:
    """An activation that is cancelled goes on counting as work."""

    def wrong(right: Any) -> Any:
        def cancel(self: Run, activation: Activation, reason: str) -> None:
            if activation.status is Status.RETRYING:
                activation.scope.busy_count += 1
            right(self, activation, reason)

        return cancel

    return replaced(Run, "cancel", wrong)


# ---- exclusive regions ---------------------------------------------------------------------------
def region_is_not_taken() -> Any:
    """Whoever has a turn does not keep others out."""
    return replaced(ExclusiveRegions, "_take", lambda _: lambda self, activation: None)


def region_is_not_given_back() -> Any:
    """A region stays held after its holder has ended."""
    return replaced(ExclusiveRegions, "release", lambda _: lambda self, activation: None)


def turn_in_a_closed_scope() -> Any:
    """A turn is also given where nothing new may start."""

    def can_start(self: ExclusiveRegions, activation: Activation) -> bool:
        return activation.status is Status.HELD and self.find_holder(activation) is None

    return replaced(ExclusiveRegions, "_can_start", lambda _: can_start)


def turn_without_a_unit_of_work() -> Any:
    """What gets its turn is not counted as work."""

    def begin_turn(self: Run, activation: Activation) -> None:
        activation.status = Status.RUNNING
        self.commands.append(activation)

    return replaced(Run, "_begin_turn", lambda _: begin_turn)

"""The state of one run, mutated only by `handle`: an event in, the commands that follow out.

Theory of operation. Work is counted: `scope.busy` is the number of activations in a scope that keep a driver busy plus the inner scopes
that do. When it reaches zero the scope is quiet, and it is settled: it is finished, it waits for people, it was closed and has now
stopped, or nothing can reach its END any more. Each arrow of an activation's life is one handler below; an event that does not fit the
activation's status (stale, doubled, of a lost attempt) changes nothing.

    RUNNING ─result→ ROUTING ─routed→ DONE          RUNNING ─entered→ INSIDE ─inner work done→ RUNNING (leave) ─result→ …
    RUNNING ─failed→ RETRYING ─due→ RUNNING         RUNNING | ROUTING ─failed→ HANDLED | DEAD | FAILED ─resumed→ RUNNING | ROUTING
    RUNNING ─asked→ ASKED ─result→ DONE             anything ─cancelled→ CANCELLED
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphorch.core.events import (
    Approved,
    CancelNode,
    Command,
    EvaluateRoute,
    Event,
    FinishRun,
    GraceExpired,
    LeaveScope,
    NodeCancelled,
    NodeFailed,
    NodeSkipped,
    NodeSucceeded,
    PersonAsked,
    Resumed,
    RetryDue,
    Routed,
    RouteDecision,
    RunStarted,
    ScheduleRetry,
    ScopeEntered,
    StopRequested,
    Update,
)
from graphorch.core.firing import Scope
from graphorch.core.growing import append_to
from graphorch.core.state import UNLIMITED, OnFailure, RunState
from graphorch.core.tree import Activation, ChildScopes, Status
from graphorch.errors import InternalError
from graphorch.graph.plan import Plan
from graphorch.graph.topology import Edge
from graphorch.state.version import WIDTH, Version

# looked up for every event
ASKED, DONE, HANDLED, ROUTING, RUNNING = (
    Status.AWAITING_ANSWER,
    Status.DONE,
    Status.HANDLED,
    Status.ROUTING,
    Status.RUNNING,
)
_TAKEN: Update = {}  # never changed: in place of an input that its scope has by now
OVER = ("succeeded", "partial", "cancelled")  # a run that is this takes no event any more


class Run(RunState):
    """One run of a plan, mutated by `handle` alone."""

    __slots__ = ("has_quorums", "out", "stop_status", "stopping")

    def __init__(
        self,
        plan: Plan,
        run_id: str,
        *,
        max_activations: int = UNLIMITED,
        on_failure: OnFailure = "drain",
    ) -> None:
        super().__init__(plan, run_id, Scope(plan, run_id), max_activations, on_failure)
        self.has_quorums = plan.has_quorums
        self.stopping = ""  # why nothing new starts in the whole run
        self.stop_status = "stopped"
        self.out: list[Command] = []

    # ---- events ----------------------------------------------------------------------------------
    def handle(self, event: Event) -> list[Command]:
        """Take one event, and return what the driver has to do about it. Stale and doubled events change nothing."""
        self.out = []
        if self.status not in OVER:
            _HANDLERS[type(event)](self, event)
        return self.out

    def _run_started(self, event: RunStarted) -> None:
        if self.started or self.root.finished:
            return
        self.root.begin(self, event.update)
        self._settle(self.root)

    def accept_success(self, activation: Activation, update: Update, at: float) -> list[Command]:
        """What `handle` does about a `NodeSucceeded` of the attempt that runs, for drivers of which nobody else wants to see the event."""
        self.out = []
        if activation.status is RUNNING and activation.update is None and self.status not in OVER:
            self._accept_update(activation, update, at)
        return self.out

    def accept_route(self, activation: Activation, decision: RouteDecision) -> list[Command]:
        """The same for a `Routed`."""
        self.out = []
        if activation.status is ROUTING and self.status not in OVER:
            self._apply_route(activation, decision)
        return self.out

    def _node_succeeded(self, event: NodeSucceeded) -> None:
        activation = event.activation
        if (
            activation.update is not None
            or activation.status not in (RUNNING, ASKED)
            or event.attempt not in (0, activation.attempt)
        ):
            return
        if activation.status is ASKED:
            self._leave_asked(activation)
        self._accept_update(activation, event.update, event.at)

    def _accept_update(self, activation: Activation, update: Update, at: float) -> None:
        step, version, scope = activation.step, activation.version, activation.scope
        assert version is not None
        if update:
            version.take(update, scope.reducers, activation.depth * WIDTH + step.index, step.name)
        activation.update, activation.ended_at = update, at
        if step.decides:
            activation.status = ROUTING
            self.out.append(EvaluateRoute(activation))
        else:
            self._commit(activation, step.edges)

    def _routed(self, event: Routed) -> None:
        if event.activation.status is ROUTING:
            self._apply_route(event.activation, event.decision)

    def _apply_route(self, activation: Activation, decision: RouteDecision) -> None:
        step = activation.step
        if decision.loop >= 0:
            chosen = step.exits[decision.loop]
            if activation.iteration(chosen.loop) >= chosen.bound:
                raise InternalError(
                    f"Loop {chosen.loop} of '{activation.path}' was taken beyond its bound. Please report this as a bug of graphorch."
                )
            edges: tuple[Edge, ...] = (chosen.back,)
        elif (
            decision.exhausted >= 0
            and (instead := step.exits[decision.exhausted].instead) is not None
        ):
            edges = (instead,)
        else:
            edges = step.edges + decision.edges
        if decision.exhausted >= 0:
            header = activation.scope.plan.steps[step.exits[decision.exhausted].back.target].name
            self.exhausted = append_to(self.exhausted, ((activation.path, header),))
        self._commit(activation, edges)

    def _entered(self, event: ScopeEntered) -> None:
        activation = event.activation
        if activation.status is not Status.RUNNING or activation.children is not None:
            return
        activation.children = inner = ChildScopes(event.updates)
        if not inner.unfinished:
            self.out.append(LeaveScope(activation))
            return
        activation.status = Status.ENTERED
        self._start_items(activation, inner)
        self._exit_busy(activation.scope)

    def _node_failed(self, event: NodeFailed) -> None:
        activation = event.activation
        if (
            activation.status not in (Status.RUNNING, Status.ROUTING, Status.AWAITING_ANSWER)
            or event.attempt != activation.attempt
        ):
            return
        if activation.status is Status.AWAITING_ANSWER:
            self._leave_asked(activation)
        activation.failure, activation.ended_at = event.failure, event.at
        if event.retry_after is not None and not activation.scope.closed:
            activation.status = Status.RETRYING
            self.out.append(ScheduleRetry(activation, event.retry_after))
        elif event.retry_after is not None:
            self._defer_retry(activation)
        elif event.handler >= 0 and activation.version is not None:
            self.has_gaps = True
            self._commit(activation, (activation.step.errors[event.handler][1],), event.failure)
        elif event.limit:
            self.errors = append_to(self.errors, (activation,))
            activation.status = Status.FAILED
            self._stop(f"limit:{event.limit}")
            self._exit_busy(activation.scope)
        elif self.on_failure == "isolate":
            self.errors = append_to(self.errors, (activation,))
            self.has_gaps = True
            self._skip(activation)
        else:
            self._fail(activation)

    def _node_skipped(self, event: NodeSkipped) -> None:
        activation = event.activation
        if activation.status is Status.RUNNING:
            activation.failure, activation.ended_at = event.reason, event.at
            self.has_gaps = True
            self._skip(activation)

    def _node_cancelled(self, event: NodeCancelled) -> None:
        activation = event.activation
        if activation.status in (Status.RUNNING, Status.ROUTING):
            activation.status = Status.FAILED
            activation.failure, activation.ended_at = None, event.at
            self._exit_busy(activation.scope)

    def _asked(self, event: PersonAsked) -> None:
        activation = event.activation
        if activation.status in (Status.RUNNING, Status.ROUTING):
            activation.status, activation.question = Status.AWAITING_ANSWER, event.question
            self._exit_busy(activation.scope)

    def _approved(self, event: Approved) -> None:
        activation = event.activation
        if activation.status is not Status.AWAITING_ANSWER:
            return
        self._leave_asked(activation)
        activation.approved, activation.question = True, None
        if activation.update is not None:
            activation.status = Status.ROUTING
            self.out.append(EvaluateRoute(activation))
        elif activation.scope.closed:
            activation.status = Status.FAILED  # it starts when the run is resumed
            self._exit_busy(activation.scope)
        else:
            activation.status = Status.RUNNING
            self.out.append(activation)

    def _leave_asked(self, activation: Activation) -> None:
        self.enter_busy(activation.scope)
        if self.status == "waiting":
            self.status = "running"

    def _retry_due(self, event: RetryDue) -> None:
        activation = event.activation
        if activation.status is Status.RETRYING and event.attempt == activation.attempt:
            activation.attempt += 1
            self._run_again(activation)

    def _stop_requested(self, event: StopRequested) -> None:
        if self.status in ("failed", "stopped"):
            self.status = "running"
            # nothing runs; what changes is why, or that it is for good
            self._finish(event.status, event.reason)
            return
        if self.status not in ("running", "waiting"):
            return
        self.status = "running"
        self.enter_busy(self.root)  # held, so that it becomes quiet once
        self._stop(event.reason, event.status)
        if event.now:
            self._interrupt(self.root, event.reason)
        self._exit_busy(self.root)

    def _grace_over(self, event: GraceExpired) -> None:
        self.enter_busy(self.root)  # held, so that it becomes quiet once
        pending = [self.root]
        while pending:
            scope = pending.pop()
            if scope.closed:
                self._interrupt(scope, "its time to finish after a failure was over")
            else:
                pending.extend(scope.child_scopes())
        self._exit_busy(self.root)

    def _resumed(self, event: Resumed) -> None:
        if self.status not in ("failed", "stopped", "waiting"):
            return
        self.status, self.reason, self.stopping, self.stop_status = "running", "", "", "stopped"
        self.errors = ()
        self._reopen(self.root)

    # ---- what scopes ask of their run ----------------------------------------------------------------
    def on_limit_reached(self) -> None:
        """The limit on activations does not let another one start: the run stops."""
        if not self.stopping:
            self._stop("limit:activations")

    def on_end_reached(self, scope: Scope, output: Version | None) -> None:
        """END fired in a scope: its output is what reached it. It is no work, so it makes no activation."""
        scope.output, scope.finished = output, True
        if (parent := scope.parent) is not None:
            self._on_item_done(parent, scope)

    def cancel(self, activation: Activation, reason: str) -> None:
        """Cancel an activation and everything inside it, for good."""
        status = activation.status
        activation.status = (
            Status.SKIPPED
            if status is Status.FAILED and activation.failure is not None
            else Status.CANCELLED
        )
        activation.add_to_story(f"cancelled: {reason}")
        self.history.append(activation)
        if activation.children is not None:
            self._cancel_inside(activation.children, reason)
        if status in (Status.RUNNING, Status.RETRYING):
            self.out.append(CancelNode(activation, reason))
        if status <= Status.RETRYING:
            self._exit_busy(activation.scope)

    # ---- the life of an activation -------------------------------------------------------------------
    def _commit(self, activation: Activation, edges: tuple[Edge, ...], failure: Any = None) -> None:
        """Commit: emit the tokens, and start what they make ready."""
        scope, version = activation.scope, activation.version
        if (
            len(edges) == 1
            and failure is None
            and version is not None
            and activation.children is None
            and scope.advance(self, activation, edges, version)
        ):
            return
        activation.status = DONE if failure is None else HANDLED
        activation.taken_edges = edges
        activation.version = None
        self.history.append(activation)
        if activation.children is not None:
            self._cancel_inside(activation.children, f"'{activation.path}' is over")
        if version is not None:
            if activation.step.ends and failure is None:
                self.on_end_reached(scope, version)
            else:
                scope.emit(self, activation, edges, version, activation.counters, failure)
        scope.deactivate(activation)
        if scope.waiting:
            scope.fire_ready(self)
        scope.busy_count -= 1
        if not scope.busy_count:
            self._on_quiet(scope)

    def _skip(self, activation: Activation) -> None:
        """Nothing leaves this activation: a dead path for whoever waits for it."""
        activation.status = Status.SKIPPED
        self.history.append(activation)
        if activation.children is not None:
            self._cancel_inside(activation.children, f"'{activation.path}' is over")
        activation.scope.deactivate(activation)
        activation.scope.fire_ready(self)
        self._exit_busy(activation.scope)

    def _fail(self, activation: Activation) -> None:
        """It failed for good, and nobody handles it: its scope is closed, and stops when what runs in it has ended."""
        activation.status = Status.FAILED
        scope = activation.scope
        scope.failures += (activation,)
        self.errors = append_to(self.errors, (activation,))
        self._close(scope)
        if self.on_failure == "cancel":
            self._interrupt(scope, f"'{activation.path}' failed")
        self._exit_busy(scope)

    def _run_again(self, activation: Activation) -> None:
        """Another attempt; of a sub-flow or map: what is unfinished inside goes on."""
        activation.failure = activation.fatal_error
        # its result is committed: only where it leads is evaluated again
        if activation.update is not None:
            activation.status = Status.ROUTING
            self.out.append(EvaluateRoute(activation))
        elif activation.children is None:
            activation.status = Status.RUNNING
            self.out.append(activation)
        else:
            self._resume_children(activation, activation.children)

    def _resume_children(self, activation: Activation, inner: ChildScopes) -> None:
        activation.status, inner.failed = Status.ENTERED, False
        for scope in inner.scopes:
            if activation.status is not Status.ENTERED or inner.failed:
                break
            if not scope.finished:
                self._reopen(scope)
        if inner.unfinished and not _has_enough(activation, inner):
            self._start_items(activation, inner)
        else:
            self._all_children_done(activation)
        self._exit_busy(activation.scope)

    # ---- inside a sub-flow or map ----------------------------------------------------------------------
    def _start_items(self, activation: Activation, inner: ChildScopes) -> None:
        spec, plan = activation.step.map, activation.step.inner_plan
        assert plan is not None
        room = spec.concurrency if spec is not None else 1
        while inner.started < len(inner.updates) and inner.running < room:
            if activation.scope.closed or activation.status is not Status.ENTERED or inner.failed:
                return
            item = inner.started
            inner.started += 1
            inner.running += 1
            scope = Scope(plan, "", activation, item if spec is not None else -1)
            inner.scopes.append(scope)
            update, inner.updates[item] = inner.updates[item], _TAKEN
            scope.begin(self, update)
            if not scope.busy_count and not scope.finished:
                self._settle(scope)

    def _on_item_done(self, activation: Activation, scope: Scope) -> None:
        inner = activation.children
        assert inner is not None
        inner.unfinished -= 1
        inner.running -= 1
        inner.succeeded += 1
        if _has_enough(activation, inner):
            self._cancel_inside(
                inner, f"'{activation.path}' has the {inner.succeeded} that it needs"
            )
            self._all_children_done(activation)
        elif not inner.unfinished:
            self._all_children_done(activation)
        elif activation.status is Status.ENTERED:
            self._start_items(activation, inner)

    def _on_item_failed(self, activation: Activation, scope: Scope) -> None:
        """A scope inside stopped without reaching its END."""
        inner, spec = activation.children, activation.step.map
        assert inner is not None
        if spec is None or (spec.on_item_error == "fail" and spec.need is None):
            inner.failed = True
            for other in inner.scopes:
                if not other.finished:
                    self._close(other)
                    if self.on_failure == "cancel":
                        self._interrupt(other, f"'{scope.prefix.removesuffix('/')}' failed")
            self._on_children_stopped(activation, inner)
            return
        inner.unfinished -= 1
        inner.running -= 1
        self._cancel_all(scope, "the item failed")
        if not inner.unfinished:
            self._all_children_done(activation)
        else:
            self._start_items(activation, inner)

    def _on_children_stopped(self, activation: Activation, inner: ChildScopes) -> None:
        """Leave a sub-flow or map that failed, once nothing runs in it any more."""
        if not any(scope.busy_count for scope in inner.scopes):
            self._all_children_done(activation)

    def _all_children_done(self, activation: Activation) -> None:
        if activation.status is Status.ENTERED:
            activation.status = Status.RUNNING
            self.enter_busy(activation.scope)
            self.out.append(LeaveScope(activation))

    # ---- busy or quiet ----------------------------------------------------------------------------------
    def enter_busy(self, scope: Scope | None) -> None:
        """One thing more keeps a scope busy, and with it the ones around it."""
        while scope is not None:
            scope.busy_count += 1
            if scope.busy_count > 1 or (parent := scope.parent) is None:
                return
            scope = parent.scope

    def _exit_busy(self, scope: Scope) -> None:
        """One thing less keeps the scope busy; a scope that becomes quiet is settled."""
        scope.busy_count -= 1
        if not scope.busy_count:
            self._on_quiet(scope)

    def _on_quiet(self, scope: Scope) -> None:
        self._settle(scope)
        if not scope.busy_count and (parent := scope.parent) is not None:
            self._exit_busy(parent.scope)

    def _settle(self, scope: Scope) -> None:
        """What a quiet scope is: finished, waiting, stopped, or stuck because nothing can reach its END any more."""
        if scope.busy_count:
            return
        above = scope.parent
        if above is None:
            self._settle_root(scope)
            return
        if above.status is not Status.ENTERED or above.children is None:
            return
        if not scope.finished and (scope.failures or not (scope.closed or scope.open_questions())):
            self._on_item_failed(above, scope)
        elif above.children.failed and (scope.finished or scope.closed):
            self._on_children_stopped(above, above.children)

    def _settle_root(self, root: Scope) -> None:
        if root.finished:
            self._finish("partial" if self.failed() else "succeeded", "succeeded")
        elif self.stopping:
            self._finish(self.stop_status, self.stopping)
        elif root.failures:
            self._finish("failed", "failed")
        elif waits := root.open_questions():
            self._finish("waiting", "waiting", waits)
        else:
            self._finish("failed", "end not reached")

    def _finish(self, status: str, reason: str, waits: list[Activation] | None = None) -> None:
        if self.status != "running":
            return  # an answer came to a run that had stopped: it acts when the run is resumed
        self.status, self.reason = status, reason
        self.out.append(FinishRun(status, reason, waits or []))

    # ---- stopping and going on -----------------------------------------------------------------------------
    def _stop(self, reason: str, status: str = "stopped") -> None:
        """Nothing new starts in the whole run."""
        if not self.stopping:
            self.stopping, self.stop_status = reason, status
        self._close(self.root)

    def _close(self, scope: Scope) -> None:
        """Nothing new starts in this scope and inside it; what waits for its next attempt stays undone."""
        pending = [scope]
        while pending:
            item = pending.pop()
            item.closed = True
            for activation in list(item.active.values()):
                if activation.status is Status.RETRYING:
                    self.out.append(CancelNode(activation, "nothing new starts"))
                    self._defer_retry(activation)
            pending.extend(item.child_scopes())

    def _defer_retry(self, activation: Activation) -> None:
        """An attempt failed that would be repeated, if its scope were not closed; it is when the run is resumed."""
        activation.status = Status.FAILED
        self.errors = append_to(self.errors, (activation,))
        self._exit_busy(activation.scope)

    def _interrupt(self, scope: Scope, reason: str) -> None:
        """Cancel the running attempts in a scope; resuming starts them again."""
        pending = [scope]
        while pending:
            item = pending.pop()
            pending.extend(item.child_scopes())
            for activation in list(item.active.values()):
                if activation.status in (Status.RUNNING, Status.ROUTING):
                    running = activation.status is Status.RUNNING
                    activation.status, activation.failure = Status.FAILED, None
                    activation.add_to_story(f"interrupted: {reason}")
                    if running:
                        self.out.append(CancelNode(activation, reason))
                    self._exit_busy(item)

    def _cancel_inside(self, inner: ChildScopes, reason: str) -> None:
        """Cancel what is unfinished inside a sub-flow or map: what runs, and questions that nobody needs to answer any more."""
        for scope in inner.scopes:
            if not scope.finished:
                self._cancel_all(scope, reason)

    def _cancel_all(self, scope: Scope, reason: str) -> None:
        """Cancel everything in a scope, for good."""
        scope.finished = True
        for index in {*scope.active, *scope.waiting}:
            scope.cancel_node(self, index, reason)

    def _reopen(self, scope: Scope) -> None:
        """Go on in a scope, unless what went on before it has met a limit already."""
        if self.stopping:
            return
        scope.closed = False
        scope.failures = ()
        self.enter_busy(scope)  # held, so that it becomes quiet once
        for activation in list(scope.active.values()):
            if scope.closed:
                break
            if activation.status is Status.ENTERED:
                self.enter_busy(scope)
                self._run_again(activation)
            elif activation.status is Status.FAILED:
                self.enter_busy(scope)
                if activation.update is None:
                    activation.attempt += 1
                    activation.first_attempt = activation.attempt
                self._run_again(activation)
        scope.fire_ready(self)
        self._exit_busy(scope)


def _has_enough(activation: Activation, inner: ChildScopes) -> bool:
    """Whether as many items of a map are done as it needs, if it does not need all."""
    return (
        activation.step.map is not None
        and activation.step.map.need is not None
        and inner.succeeded >= activation.step.map.need
    )


_HANDLERS: dict[type, Callable[[Run, Any], None]] = {
    RunStarted: Run._run_started,  # pyright: ignore[reportPrivateUsage]
    NodeSucceeded: Run._node_succeeded,  # pyright: ignore[reportPrivateUsage]
    Routed: Run._routed,  # pyright: ignore[reportPrivateUsage]
    ScopeEntered: Run._entered,  # pyright: ignore[reportPrivateUsage]
    NodeFailed: Run._node_failed,  # pyright: ignore[reportPrivateUsage]
    NodeSkipped: Run._node_skipped,  # pyright: ignore[reportPrivateUsage]
    GraceExpired: Run._grace_over,  # pyright: ignore[reportPrivateUsage]
    NodeCancelled: Run._node_cancelled,  # pyright: ignore[reportPrivateUsage]
    Approved: Run._approved,  # pyright: ignore[reportPrivateUsage]
    PersonAsked: Run._asked,  # pyright: ignore[reportPrivateUsage]
    RetryDue: Run._retry_due,  # pyright: ignore[reportPrivateUsage]
    StopRequested: Run._stop_requested,  # pyright: ignore[reportPrivateUsage]
    Resumed: Run._resumed,  # pyright: ignore[reportPrivateUsage]
}

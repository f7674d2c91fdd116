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
    Asked,
    CancelNode,
    Command,
    Decide,
    Decision,
    Entered,
    Event,
    FinishRun,
    GraceOver,
    Leave,
    NodeCancelled,
    NodeFailed,
    NodeSkipped,
    NodeSucceeded,
    Resumed,
    RetryDue,
    RetryLater,
    Routed,
    RunStarted,
    StopRequested,
    Update,
)
from graphorch.core.firing import Scope
from graphorch.core.growing import added
from graphorch.core.state import UNLIMITED, OnFailure, Progress
from graphorch.core.tree import Activation, Inner, Status
from graphorch.errors import InternalError
from graphorch.graph.plan import Plan
from graphorch.graph.topology import Edge
from graphorch.state.version import WIDTH, Version

# looked up for every event
ASKED, DONE, HANDLED, ROUTING, RUNNING = (
    Status.ASKED,
    Status.DONE,
    Status.HANDLED,
    Status.ROUTING,
    Status.RUNNING,
)
_TAKEN: Update = {}  # never changed: in place of an input that its scope has by now
OVER = ("succeeded", "partial", "cancelled")  # a run that is this takes no event any more


class Run(Progress):
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

    def succeeded(self, one: Activation, update: Update, at: float) -> list[Command]:
        """What `handle` does about a `NodeSucceeded` of the attempt that runs, for drivers of which nobody else wants to see the event."""
        self.out = []
        if one.status is RUNNING and one.update is None and self.status not in OVER:
            self._take(one, update, at)
        return self.out

    def routed(self, one: Activation, decision: Decision) -> list[Command]:
        """The same for a `Routed`."""
        self.out = []
        if one.status is ROUTING and self.status not in OVER:
            self._take_route(one, decision)
        return self.out

    def _node_succeeded(self, event: NodeSucceeded) -> None:
        one = event.activation
        if (
            one.update is not None
            or one.status not in (RUNNING, ASKED)
            or event.attempt not in (0, one.attempt)
        ):
            return
        if one.status is ASKED:
            self._leave_asked(one)
        self._take(one, event.update, event.at)

    def _take(self, one: Activation, update: Update, at: float) -> None:
        step, version, scope = one.step, one.version, one.scope
        assert version is not None
        if update:
            version.take(update, scope.reducers, one.depth * WIDTH + step.index, step.name)
        one.update, one.ended = update, at
        if step.decides:
            one.status = ROUTING
            self.out.append(Decide(one))
        else:
            self._complete(one, step.edges)

    def _routed(self, event: Routed) -> None:
        if event.activation.status is ROUTING:
            self._take_route(event.activation, event.decision)

    def _take_route(self, one: Activation, decision: Decision) -> None:
        step = one.step
        if decision.loop >= 0:
            chosen = step.exits[decision.loop]
            if one.rounds(chosen.loop) >= chosen.bound:
                raise InternalError(
                    f"Loop {chosen.loop} of '{one.path}' was taken beyond its bound. Please report this as a bug of graphorch."
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
            header = one.scope.plan.steps[step.exits[decision.exhausted].back.target].name
            self.exhausted = added(self.exhausted, ((one.path, header),))
        self._complete(one, edges)

    def _entered(self, event: Entered) -> None:
        one = event.activation
        if one.status is not Status.RUNNING or one.inner is not None:
            return
        one.inner = inner = Inner(event.updates)
        if not inner.unfinished:
            self.out.append(Leave(one))
            return
        one.status = Status.INSIDE
        self._start_items(one, inner)
        self._leave_busy(one.scope)

    def _node_failed(self, event: NodeFailed) -> None:
        one = event.activation
        if (
            one.status not in (Status.RUNNING, Status.ROUTING, Status.ASKED)
            or event.attempt != one.attempt
        ):
            return
        if one.status is Status.ASKED:
            self._leave_asked(one)
        one.failure, one.ended = event.failure, event.at
        if event.retry_after is not None and not one.scope.closed:
            one.status = Status.RETRYING
            self.out.append(RetryLater(one, event.retry_after))
        elif event.retry_after is not None:
            self._leave_undone(one)
        elif event.handler >= 0 and one.version is not None:
            self.has_gaps = True
            self._complete(one, (one.step.errors[event.handler][1],), event.failure)
        elif event.limit:
            self.errors = added(self.errors, (one,))
            one.status = Status.FAILED
            self._stop(f"limit:{event.limit}")
            self._leave_busy(one.scope)
        elif self.on_failure == "isolate":
            self.errors = added(self.errors, (one,))
            self.has_gaps = True
            self._end_path(one)
        else:
            self._fail(one)

    def _node_skipped(self, event: NodeSkipped) -> None:
        one = event.activation
        if one.status is Status.RUNNING:
            one.failure, one.ended = event.reason, event.at
            self.has_gaps = True
            self._end_path(one)

    def _node_cancelled(self, event: NodeCancelled) -> None:
        one = event.activation
        if one.status in (Status.RUNNING, Status.ROUTING):
            one.status = Status.FAILED
            one.failure, one.ended = None, event.at
            self._leave_busy(one.scope)

    def _asked(self, event: Asked) -> None:
        one = event.activation
        if one.status in (Status.RUNNING, Status.ROUTING):
            one.status, one.question = Status.ASKED, event.question
            self._leave_busy(one.scope)

    def _approved(self, event: Approved) -> None:
        one = event.activation
        if one.status is not Status.ASKED:
            return
        self._leave_asked(one)
        one.approved, one.question = True, None
        if one.update is not None:
            one.status = Status.ROUTING
            self.out.append(Decide(one))
        elif one.scope.closed:
            one.status = Status.FAILED  # it starts when the run is resumed
            self._leave_busy(one.scope)
        else:
            one.status = Status.RUNNING
            self.out.append(one)

    def _leave_asked(self, one: Activation) -> None:
        self.enter_busy(one.scope)
        if self.status == "waiting":
            self.status = "running"

    def _retry_due(self, event: RetryDue) -> None:
        one = event.activation
        if one.status is Status.RETRYING and event.attempt == one.attempt:
            one.attempt += 1
            self._run_again(one)

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
        self._leave_busy(self.root)

    def _grace_over(self, event: GraceOver) -> None:
        self.enter_busy(self.root)  # held, so that it becomes quiet once
        pending = [self.root]
        while pending:
            scope = pending.pop()
            if scope.closed:
                self._interrupt(scope, "its time to finish after a failure was over")
            else:
                pending.extend(scope.inner())
        self._leave_busy(self.root)

    def _resumed(self, event: Resumed) -> None:
        if self.status not in ("failed", "stopped", "waiting"):
            return
        self.status, self.reason, self.stopping, self.stop_status = "running", "", "", "stopped"
        self.errors = ()
        self._reopen(self.root)

    # ---- what scopes ask of their run ----------------------------------------------------------------
    def reach_limit(self) -> None:
        """The limit on activations does not let another one start: the run stops."""
        if not self.stopping:
            self._stop("limit:activations")

    def reached_end(self, scope: Scope, output: Version | None) -> None:
        """END fired in a scope: its output is what reached it. It is no work, so it makes no activation."""
        scope.output, scope.finished = output, True
        if (parent := scope.parent) is not None:
            self._item_done(parent, scope)

    def cancel(self, activation: Activation, reason: str) -> None:
        """Cancel an activation and everything inside it, for good."""
        status = activation.status
        activation.status = (
            Status.DEAD
            if status is Status.FAILED and activation.failure is not None
            else Status.CANCELLED
        )
        activation.tell(f"cancelled: {reason}")
        self.history.append(activation)
        if activation.inner is not None:
            self._cancel_inside(activation.inner, reason)
        if status in (Status.RUNNING, Status.RETRYING):
            self.out.append(CancelNode(activation, reason))
        if status <= Status.RETRYING:
            self._leave_busy(activation.scope)

    # ---- the life of an activation -------------------------------------------------------------------
    def _complete(self, one: Activation, edges: tuple[Edge, ...], failure: Any = None) -> None:
        """Commit: emit the tokens, and start what they make ready."""
        scope, version = one.scope, one.version
        if (
            len(edges) == 1
            and failure is None
            and version is not None
            and one.inner is None
            and scope.hand_on(self, one, edges, version)
        ):
            return
        one.status = DONE if failure is None else HANDLED
        one.taken = edges
        one.version = None
        self.history.append(one)
        if one.inner is not None:
            self._cancel_inside(one.inner, f"'{one.path}' is over")
        if version is not None:
            if one.step.ends and failure is None:
                self.reached_end(scope, version)
            else:
                scope.send(self, one, edges, version, one.counters, failure)
        scope.leave(one)
        if scope.waiting:
            scope.fire_ready(self)
        scope.busy -= 1
        if not scope.busy:
            self._became_quiet(scope)

    def _end_path(self, one: Activation) -> None:
        """Nothing leaves this activation: a dead path for whoever waits for it."""
        one.status = Status.DEAD
        self.history.append(one)
        if one.inner is not None:
            self._cancel_inside(one.inner, f"'{one.path}' is over")
        one.scope.leave(one)
        one.scope.fire_ready(self)
        self._leave_busy(one.scope)

    def _fail(self, one: Activation) -> None:
        """It failed for good, and nobody handles it: its scope is closed, and stops when what runs in it has ended."""
        one.status = Status.FAILED
        scope = one.scope
        scope.failures += (one,)
        self.errors = added(self.errors, (one,))
        self._close(scope)
        if self.on_failure == "cancel":
            self._interrupt(scope, f"'{one.path}' failed")
        self._leave_busy(scope)

    def _run_again(self, one: Activation) -> None:
        """Another attempt; of a sub-flow or map: what is unfinished inside goes on."""
        one.failure = one.problem
        # its result is committed: only where it leads is evaluated again
        if one.update is not None:
            one.status = Status.ROUTING
            self.out.append(Decide(one))
        elif one.inner is None:
            one.status = Status.RUNNING
            self.out.append(one)
        else:
            self._go_on_inside(one, one.inner)

    def _go_on_inside(self, one: Activation, inner: Inner) -> None:
        one.status, inner.failed = Status.INSIDE, False
        for scope in inner.scopes:
            if one.status is not Status.INSIDE or inner.failed:
                break
            if not scope.finished:
                self._reopen(scope)
        if inner.unfinished and not _has_enough(one, inner):
            self._start_items(one, inner)
        else:
            self._all_done(one)
        self._leave_busy(one.scope)

    # ---- inside a sub-flow or map ----------------------------------------------------------------------
    def _start_items(self, one: Activation, inner: Inner) -> None:
        spec, plan = one.step.map, one.step.inner_plan
        assert plan is not None
        room = spec.concurrency if spec is not None else 1
        while inner.started < len(inner.updates) and inner.running < room:
            if one.scope.closed or one.status is not Status.INSIDE or inner.failed:
                return
            item = inner.started
            inner.started += 1
            inner.running += 1
            scope = Scope(plan, "", one, item if spec is not None else -1)
            inner.scopes.append(scope)
            update, inner.updates[item] = inner.updates[item], _TAKEN
            scope.begin(self, update)
            if not scope.busy and not scope.finished:
                self._settle(scope)

    def _item_done(self, one: Activation, scope: Scope) -> None:
        inner = one.inner
        assert inner is not None
        inner.unfinished -= 1
        inner.running -= 1
        inner.succeeded += 1
        if _has_enough(one, inner):
            self._cancel_inside(inner, f"'{one.path}' has the {inner.succeeded} that it needs")
            self._all_done(one)
        elif not inner.unfinished:
            self._all_done(one)
        elif one.status is Status.INSIDE:
            self._start_items(one, inner)

    def _item_failed(self, one: Activation, scope: Scope) -> None:
        """A scope inside stopped without reaching its END."""
        inner, spec = one.inner, one.step.map
        assert inner is not None
        if spec is None or (spec.on_item_error == "fail" and spec.need is None):
            inner.failed = True
            for other in inner.scopes:
                if not other.finished:
                    self._close(other)
                    if self.on_failure == "cancel":
                        self._interrupt(other, f"'{scope.prefix.removesuffix('/')}' failed")
            self._stopped_inside(one, inner)
            return
        inner.unfinished -= 1
        inner.running -= 1
        self._cancel_all(scope, "the item failed")
        if not inner.unfinished:
            self._all_done(one)
        else:
            self._start_items(one, inner)

    def _stopped_inside(self, one: Activation, inner: Inner) -> None:
        """Leave a sub-flow or map that failed, once nothing runs in it any more."""
        if not any(scope.busy for scope in inner.scopes):
            self._all_done(one)

    def _all_done(self, one: Activation) -> None:
        if one.status is Status.INSIDE:
            one.status = Status.RUNNING
            self.enter_busy(one.scope)
            self.out.append(Leave(one))

    # ---- busy or quiet ----------------------------------------------------------------------------------
    def enter_busy(self, scope: Scope | None) -> None:
        """One thing more keeps a scope busy, and with it the ones around it."""
        while scope is not None:
            scope.busy += 1
            if scope.busy > 1 or (parent := scope.parent) is None:
                return
            scope = parent.scope

    def _leave_busy(self, scope: Scope) -> None:
        """One thing less keeps the scope busy; a scope that becomes quiet is settled."""
        scope.busy -= 1
        if not scope.busy:
            self._became_quiet(scope)

    def _became_quiet(self, scope: Scope) -> None:
        self._settle(scope)
        if not scope.busy and (parent := scope.parent) is not None:
            self._leave_busy(parent.scope)

    def _settle(self, scope: Scope) -> None:
        """What a quiet scope is: finished, waiting, stopped, or stuck because nothing can reach its END any more."""
        if scope.busy:
            return
        above = scope.parent
        if above is None:
            self._settle_root(scope)
            return
        if above.status is not Status.INSIDE or above.inner is None:
            return
        if not scope.finished and (scope.failures or not (scope.closed or scope.questions())):
            self._item_failed(above, scope)
        elif above.inner.failed and (scope.finished or scope.closed):
            self._stopped_inside(above, above.inner)

    def _settle_root(self, root: Scope) -> None:
        if root.finished:
            self._finish("partial" if self.failed() else "succeeded", "succeeded")
        elif self.stopping:
            self._finish(self.stop_status, self.stopping)
        elif root.failures:
            self._finish("failed", "failed")
        elif waits := root.questions():
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
            one = pending.pop()
            one.closed = True
            for activation in list(one.active.values()):
                if activation.status is Status.RETRYING:
                    self.out.append(CancelNode(activation, "nothing new starts"))
                    self._leave_undone(activation)
            pending.extend(one.inner())

    def _leave_undone(self, one: Activation) -> None:
        """An attempt failed that would be repeated, if its scope were not closed; it is when the run is resumed."""
        one.status = Status.FAILED
        self.errors = added(self.errors, (one,))
        self._leave_busy(one.scope)

    def _interrupt(self, scope: Scope, reason: str) -> None:
        """Cancel the running attempts in a scope; resuming starts them again."""
        pending = [scope]
        while pending:
            one = pending.pop()
            pending.extend(one.inner())
            for activation in list(one.active.values()):
                if activation.status in (Status.RUNNING, Status.ROUTING):
                    running = activation.status is Status.RUNNING
                    activation.status, activation.failure = Status.FAILED, None
                    activation.tell(f"interrupted: {reason}")
                    if running:
                        self.out.append(CancelNode(activation, reason))
                    self._leave_busy(one)

    def _cancel_inside(self, inner: Inner, reason: str) -> None:
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
        for one in list(scope.active.values()):
            if scope.closed:
                break
            if one.status is Status.INSIDE:
                self.enter_busy(scope)
                self._run_again(one)
            elif one.status is Status.FAILED:
                self.enter_busy(scope)
                if one.update is None:
                    one.attempt += 1
                    one.first_attempt = one.attempt
                self._run_again(one)
        scope.fire_ready(self)
        self._leave_busy(scope)


def _has_enough(one: Activation, inner: Inner) -> bool:
    """Whether as many items of a map are done as it needs, if it does not need all."""
    return (
        one.step.map is not None
        and one.step.map.need is not None
        and inner.succeeded >= one.step.map.need
    )


_HANDLERS: dict[type, Callable[[Run, Any], None]] = {
    RunStarted: Run._run_started,  # pyright: ignore[reportPrivateUsage]
    NodeSucceeded: Run._node_succeeded,  # pyright: ignore[reportPrivateUsage]
    Routed: Run._routed,  # pyright: ignore[reportPrivateUsage]
    Entered: Run._entered,  # pyright: ignore[reportPrivateUsage]
    NodeFailed: Run._node_failed,  # pyright: ignore[reportPrivateUsage]
    NodeSkipped: Run._node_skipped,  # pyright: ignore[reportPrivateUsage]
    GraceOver: Run._grace_over,  # pyright: ignore[reportPrivateUsage]
    NodeCancelled: Run._node_cancelled,  # pyright: ignore[reportPrivateUsage]
    Approved: Run._approved,  # pyright: ignore[reportPrivateUsage]
    Asked: Run._asked,  # pyright: ignore[reportPrivateUsage]
    RetryDue: Run._retry_due,  # pyright: ignore[reportPrivateUsage]
    StopRequested: Run._stop_requested,  # pyright: ignore[reportPrivateUsage]
    Resumed: Run._resumed,  # pyright: ignore[reportPrivateUsage]
}

"""Machine that runs a plan: an event goes in, the state changes, commands come out.

Theory of operation. Work is counted: `scope.busy_count` is the number of activations in a scope
that keep a driver busy, plus the child scopes that do. When it reaches zero the scope is quiet and
is settled: it is finished, it waits for people, it was closed and has now stopped, or nothing can
reach its END any more.

Rule 1: only `handle`, `accept_success` and `accept_route` change a run.
Rule 2: there is one handler `on_<event>` for each event. An event that does not fit the status of
    its activation (stale, doubled, of a lost attempt) changes nothing.
Rule 3: a handler changes a status only as the table in `transitions.py` allows.
Rule 4: an activation that stops keeping a driver busy leads to one `exit_busy` of its scope, which
    may settle scopes up to the root and finish the run.

The handlers decide what an event means. How tokens start nodes is in `firing.py`, how work ends
before its time in `stopping.py`, how it continues in `resuming.py`, what happens inside of maps
and sub-flows in `children.py`, inside of a node that has tools called in `tool_calls.py`, and how
committed work is undone in `compensation.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from graphorch.core.children import (
    fail_item,
    finish_item,
    leave_when_stopped,
    start_items,
    take_review,
)
from graphorch.core.early_ends import list_ending_early, may_be_late, stop_inside, watch_early_end
from graphorch.core.events import (
    Approved,
    Command,
    EvaluateRoute,
    Event,
    FinishRun,
    GraceExpired,
    ItemReviewed,
    LeaveScope,
    NodeCancelled,
    NodeFailed,
    NodeSkipped,
    NodeSucceeded,
    PersonAsked,
    Resumed,
    RetryDue,
    ReviewItem,
    Routed,
    RouteDecision,
    RunStarted,
    ScheduleRetry,
    ScopeEntered,
    SignalReceived,
    StopRequested,
    ToolsCalled,
    Update,
    WaitBegan,
    WaitUntil,
)
from graphorch.core.exclusive import is_held_inside
from graphorch.core.firing import (
    advance,
    begin,
    cancel_node,
    deactivate,
    emit,
    end_late_work,
    fire_ready,
    hold,
)
from graphorch.core.resuming import reopen_scope, run_again
from graphorch.core.state import RunState, append_to
from graphorch.core.stopping import (
    cancel_activation,
    cancel_children,
    cancel_scope,
    close_scope,
    defer_retry,
    interrupt_scope,
    stop_run,
)
from graphorch.core.tool_calls import (
    finish_call,
    hold_until_turn,
    interrupt_calls,
    settle_call,
    start_round,
)
from graphorch.core.tree import (
    Activation,
    ChildScopes,
    ReviewedScopes,
    Scope,
    Status,
    ToolScope,
    ToolScopes,
)
from graphorch.core.waits import begin_wait, list_waits, receive_signal, withdraw_rivals
from graphorch.errors import InternalError
from graphorch.graph.edges import Edge
from graphorch.state.version import WIDTH, Version
from graphorch.statuses import (
    FINAL_STATUSES,
    HALTED_STATUSES,
    RESUMABLE_STATUSES,
    UNFINISHED_STATUSES,
    RunStatus,
)

if TYPE_CHECKING:
    from graphorch.core.undo_queue import Undoing

# Looked up for every event, so not as attributes of the enumeration.
_WAITING = (Status.AWAITING_ANSWER, Status.AWAITING_EVENT)
_DONE = Status.DONE
_HANDLED = Status.HANDLED
_ROUTING = Status.ROUTING
_RUNNING = Status.RUNNING


class Run(RunState):
    """One run of a plan, changed by events alone."""

    __slots__ = ()

    # ---- ways in ---------------------------------------------------------------------------------
    def handle(self, event: Event) -> list[Command]:
        """Take an event and return the commands that follow. A stale one changes nothing."""
        self.commands = []
        if self.status not in FINAL_STATUSES:
            HANDLERS[type(event)](self, event)
            if self.exclusive is not None:
                self._give_turns()  # what the event cancelled without ending work held regions
        return self.commands

    def begin_items(self, activation: Activation, last: str) -> list[Command]:
        """Begin the items of a map up to `last`, beyond its limit, and return what follows.

        For records that a fork took over: an item before them may be open again.
        """
        self.commands = []
        children = activation.children
        if children is not None and (number := children.find_item(last)) >= 0:
            start_items(self, activation, children, at_least=number + 1)
            self._give_turns()
        return self.commands

    def begin_held(self, activation: Activation) -> list[Command]:
        """Begin a held activation out of turn, and return what follows.

        For records that a fork took over, or that another graph wrote: what holds its exclusive
        regions now was over then, or they were none. What has done nothing yet is held instead.
        """
        self.commands = []
        if activation.status is Status.HELD and self.exclusive is not None:
            self.enter_busy(self.root)  # held, so that it never becomes quiet
            preempted = self.exclusive.preempt(activation)
            self._begin_turn(activation)
            for other in preempted:
                hold(self, other, is_first=True)
                self.exit_busy(other.scope)
            self.exit_busy(self.root)
        return self.commands

    # Fast paths of `handle`, for drivers that need no event for anything else: `NodeSucceeded` of
    # the attempt that runs, and `Routed`. They save an event and the look-up of its handler.
    # tests/core/test_fast_path.py compares them with `handle`.
    def accept_success(self, activation: Activation, update: Update, at: float) -> list[Command]:
        """Take the result of the running attempt, like `handle(NodeSucceeded(…))`."""
        self.commands = []
        if (
            activation.status is _RUNNING
            and activation.update is None
            and self.status not in FINAL_STATUSES
        ):
            self._accept_update(activation, update, at)
        return self.commands

    def accept_route(self, activation: Activation, decision: RouteDecision) -> list[Command]:
        """Take the route of a committed result, like `handle(Routed(activation, decision))`."""
        self.commands = []
        if activation.status is _ROUTING and self.status not in FINAL_STATUSES:
            self._accept_route(activation, decision)
        return self.commands

    def list_open_commands(self) -> list[Command]:
        """Return what a driver has to do for what is under way, for one that takes it over."""
        commands: list[Command] = []
        for activation in self.unfinished():
            if activation.status is _ROUTING:
                commands.append(EvaluateRoute(activation))
            elif activation.status is Status.ENTERED:
                children = activation.children
                if activation.wait is not None and activation.wait.due is not None:
                    commands.append(WaitUntil(activation, activation.wait.due))
                if isinstance(children, ReviewedScopes) and children.is_reviewing:
                    commands.append(ReviewItem(activation, children.reviews[0]))
            elif activation.status is _RUNNING:
                children = activation.children
                has_left = children is not None and not isinstance(children, ToolScopes)
                commands.append(LeaveScope(activation) if has_left else activation)
        return commands

    # ---- events: the run -------------------------------------------------------------------------
    def on_run_started(self, event: RunStarted) -> None:
        """Give the input to the root scope."""
        if self.started or self.root.finished:
            return
        begin(self, self.root, event.update)
        if self.exclusive is not None:
            self._give_turns()
        self.settle(self.root)

    def on_stop_requested(self, event: StopRequested) -> None:
        """Close the run, and interrupt what runs if it is to stop now."""
        if self.status in HALTED_STATUSES:
            # Nothing runs. What changes is the reason, or that the run cannot be resumed.
            self.status = "running"
            if event.undoes:
                self._begin_undoing(event)
            else:
                self._finish(event.status, event.reason)
            return
        if self.status not in UNFINISHED_STATUSES:
            return
        undoing = self.undoing
        if event.undoes and undoing is not None and undoing.is_whole:
            return  # it is being cancelled so already
        self.status = "running"
        self.enter_busy(self.root)  # held, so that it becomes quiet once
        if event.undoes or undoing is not None:
            from graphorch.core.compensation import request_or_stop

            request_or_stop(self, event)
        stop_run(self, event.reason, event.status, keeps_pauses=event.keeps_pauses)
        if event.now:
            interrupt_scope(self, self.root, event.reason)
        self.exit_busy(self.root)

    def _begin_undoing(self, event: StopRequested) -> None:
        """Undo what was committed in a run at rest, or go on with it, and then cancel the run."""
        from graphorch.core.compensation import resume_undos, undo_run

        self.enter_busy(self.root)
        self.stopping, self.stop_status = "", "stopped"
        if self.undoing is None or not self.undoing.is_whole:
            undo_run(self, event.reason)
        resume_undos(self, event.at)
        self.exit_busy(self.root)

    def on_grace_expired(self, event: GraceExpired) -> None:
        """Interrupt what still runs in the scopes that a failure closed."""
        self.enter_busy(self.root)  # held, so that it becomes quiet once
        pending = [self.root]
        while pending:
            scope = pending.pop()
            if scope.closed:
                interrupt_scope(self, scope, "its time to finish after a failure was over")
            else:
                pending.extend(scope.child_scopes())
        self.exit_busy(self.root)

    def on_resumed(self, event: Resumed) -> None:
        """Reopen a run that stopped, failed or waits."""
        if self.status not in RESUMABLE_STATUSES:
            return
        self.status, self.reason = "running", ""
        self.stopping, self.stop_status = "", "stopped"
        self.enter_busy(self.root)  # held, so that it becomes quiet once
        if self.undoing is not None:
            from graphorch.core.compensation import resume_undos

            resume_undos(self, event.at)
        if self.undoing is None or not self.undoing.is_whole:
            self.errors = ()
            reopen_scope(self, self.root, event.at)
        self.exit_busy(self.root)

    # ---- events: results -------------------------------------------------------------------------
    def on_node_succeeded(self, event: NodeSucceeded) -> None:
        """Commit the update of an attempt, or of a person's answer."""
        activation = event.activation
        if (
            activation.update is not None
            or (activation.status is not _RUNNING and activation.status not in _WAITING)
            or event.attempt not in (0, activation.attempt)
        ):
            return
        if activation.status in _WAITING:
            self.leave_rest(activation.scope)
            withdraw_rivals(self, activation)
        if event.served:
            activation.is_served = True
        self._accept_update(activation, event.update, event.at)

    def _accept_update(self, activation: Activation, update: Update, at: float) -> None:
        step, version, scope = activation.step, activation.version, activation.scope
        assert version is not None
        if update:
            version.take(update, scope.reducers, activation.depth * WIDTH + step.index, step.name)
        activation.update, activation.ended_at = update, at
        if step.undo is not None and not activation.is_served:
            activation.kept = version.split(1)[0]
        if step.decides:
            activation.status = _ROUTING
            self.commands.append(EvaluateRoute(activation))
        else:
            self._commit(activation, step.edges)

    def on_routed(self, event: Routed) -> None:
        """Emit the tokens of a committed result."""
        if event.activation.status is _ROUTING:
            self._accept_route(event.activation, event.decision)

    def _accept_route(self, activation: Activation, decision: RouteDecision) -> None:
        step = activation.step
        # Three cases: a loop is taken, which excludes every other edge; the first exhausted loop
        # names a node instead; or all plain edges and the routed ones are taken.
        if decision.loop >= 0:
            chosen = step.exits[decision.loop]
            if activation.iteration(chosen.loop) >= chosen.bound:
                raise InternalError(
                    f"Loop {chosen.loop} of '{activation.path}' was taken beyond its bound. "
                    "Please report this as a bug of graphorch."
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

    def on_scope_entered(self, event: ScopeEntered) -> None:
        """Start the scopes inside a sub-flow or map."""
        activation = event.activation
        if activation.status is not Status.RUNNING or activation.children is not None:
            return
        spec = activation.step.map
        at_once = 1 if spec is None else event.at_once or spec.usual_concurrency
        if spec is not None and spec.is_reviewed:
            children: ChildScopes = ReviewedScopes(event.updates, at_once, event.keys)
        else:
            children = ChildScopes(event.updates, at_once)
        activation.children = children
        if not children.unfinished:
            self.commands.append(LeaveScope(activation))
            return
        activation.status = Status.ENTERED
        start_items(self, activation, children)
        if event.wait is not None:
            activation.wait = event.wait
            watch_early_end(self, activation)
        self.exit_busy(activation.scope)

    def on_item_reviewed(self, event: ItemReviewed) -> None:
        """Go on in a map after the review of an item, leave it, or fail it."""
        take_review(self, event)

    def on_tools_called(self, event: ToolsCalled) -> None:
        """Start the tool calls that a model asked for while an attempt runs."""
        if event.activation.status is Status.RUNNING:
            start_round(self, event)

    # ---- events: failures ------------------------------------------------------------------------
    def on_node_failed(self, event: NodeFailed) -> None:
        """Repeat the attempt, follow an error edge, stop at a limit, skip the node, or fail it."""
        activation = event.activation
        is_late = may_be_late(activation)
        if event.attempt != activation.attempt or not (
            is_late or activation.status in (Status.RUNNING, Status.ROUTING, *_WAITING)
        ):
            return
        if activation.status in _WAITING:
            self.leave_rest(activation.scope)
        if is_late:
            for_good = event.handler >= 0 or self.on_failure == "isolate"
            for_good = for_good and not event.undoes  # that cancels what is inside itself
            stop_inside(self, activation, for_good=for_good)
        elif activation.children is not None:
            interrupt_calls(self, activation)
        activation.failure, activation.ended_at = event.failure, event.at
        if event.retry_after is not None and not activation.scope.closed:
            activation.status = Status.RETRYING
            activation.retry_at = event.at + event.retry_after
            self.commands.append(ScheduleRetry(activation, event.retry_after))
        elif activation.scope.is_undo:
            self._fail_undo(activation, is_final=event.retry_after is None)
        elif event.retry_after is not None:
            defer_retry(self, activation)
        elif event.undoes:
            from graphorch.core.compensation import undo_failed

            undo_failed(self, event)
        else:
            self.end_failure(event)

    def end_failure(self, event: NodeFailed) -> None:
        """Decide what follows from a failure that is not retried."""
        activation = event.activation
        if event.handler >= 0 and activation.version is not None:
            self.has_gaps = True
            withdraw_rivals(self, activation)
            self._commit(activation, (activation.step.errors[event.handler][1],), event.failure)
        elif event.limit:
            self.errors = append_to(self.errors, (activation,))
            activation.status = Status.FAILED
            stop_run(self, f"limit:{event.limit}")
            self.exit_busy(activation.scope)
        elif self.on_failure == "isolate" or activation.scope.late is not None:
            self.errors = append_to(self.errors, (activation,))
            self.has_gaps = True
            self._skip(activation)
        else:
            self._fail(activation)

    def on_node_skipped(self, event: NodeSkipped) -> None:
        """End the path of a node that cannot read what it requires."""
        activation = event.activation
        if activation.status is Status.RUNNING:
            activation.failure, activation.ended_at = event.reason, event.at
            if activation.scope.is_undo:
                self._fail_undo(activation, is_final=True)
                return
            self.has_gaps = True
            self._skip(activation)

    def _fail_undo(self, activation: Activation, *, is_final: bool) -> None:
        from graphorch.core.compensation import fail_undo

        fail_undo(self, activation, is_final=is_final)

    def on_node_cancelled(self, event: NodeCancelled) -> None:
        """Leave an interrupted attempt to be started again when the run is resumed."""
        activation = event.activation
        if activation.status in (Status.RUNNING, Status.ROUTING):
            activation.status = Status.FAILED
            activation.failure, activation.ended_at = None, event.at
            self.exit_busy(activation.scope)

    def on_retry_due(self, event: RetryDue) -> None:
        """Start the next attempt."""
        activation = event.activation
        if activation.status is Status.RETRYING and event.attempt == activation.attempt:
            activation.attempt += 1
            activation.retried_at, activation.retry_at = event.at, 0.0
            run_again(self, activation, event.at)

    # ---- events: people --------------------------------------------------------------------------
    def on_person_asked(self, event: PersonAsked) -> None:
        """Have an activation wait for an answer, without keeping a driver busy."""
        activation = event.activation
        if activation.status in (Status.RUNNING, Status.ROUTING):
            activation.status, activation.question = Status.AWAITING_ANSWER, event.question
            due: float | None = getattr(event.question, "expires", None)
            if due is not None:
                self.commands.append(WaitUntil(activation, due))
            self.exit_busy(activation.scope)

    def on_approved(self, event: Approved) -> None:
        """Let an activation pass its gate: on to its routing, or to its first attempt."""
        activation = event.activation
        if activation.status is not Status.AWAITING_ANSWER:
            return
        self.leave_rest(activation.scope)
        activation.consent = getattr(activation.question, "consent", "")
        activation.approved, activation.question = True, None
        if isinstance(activation.scope, ToolScope):
            self._approve_call(activation, event)
        elif activation.update is not None:
            activation.status = Status.ROUTING
            self.commands.append(EvaluateRoute(activation))
        elif activation.step.exclusive and not self._holds_regions(activation):
            hold(self, activation)
            self.exit_busy(activation.scope)
        elif activation.scope.closed:
            activation.status = Status.FAILED  # it starts when the run is resumed
            self.exit_busy(activation.scope)
        else:
            # It begins now: what a person took for an answer is not its time.
            activation.status, activation.started_at = Status.RUNNING, event.at
            self.commands.append(activation)

    def _approve_call(self, activation: Activation, event: Approved) -> None:
        """Let a tool call run, with what the person made of its arguments, once its turn comes."""
        if event.update:
            assert activation.version is not None
            key = activation.depth * WIDTH + activation.step.index
            activation.version.take(event.update, activation.scope.reducers, key, "a person")
            cast("ToolScope", activation.scope).has_new_arguments = True
        activation.started_at = 0.0  # it begins when it runs
        hold_until_turn(self, activation)

    # ---- events: signals and times ---------------------------------------------------------------
    def on_wait_began(self, event: WaitBegan) -> None:
        """Have an activation wait for a signal or a time, without keeping a driver busy."""
        begin_wait(self, event)

    def on_signal_received(self, event: SignalReceived) -> None:
        """Give a signal to the activation that waits for it, or keep it."""
        receive_signal(self, event)

    # ---- what the token rules need of the run ----------------------------------------------------
    def on_limit_reached(self) -> None:
        """Stop the run: the limit on activations does not let another one start."""
        if not self.stopping:
            stop_run(self, "limit:activations")

    def on_end_reached(self, scope: Scope, output: Version | None) -> None:
        """Finish a scope whose END fired; its output is the version that reached END."""
        scope.output = output
        if scope.detached or scope.late is not None:
            return  # it is over once all of its late work is, or is late itself: see `settle`
        scope.finished = True
        if (parent := scope.parent) is None:
            return
        if scope.is_tool_call:
            finish_call(self, parent, cast("ToolScope", scope))
        elif scope.is_undo:
            from graphorch.core.compensation import finish_undo

            finish_undo(self)
        else:
            finish_item(self, parent, scope)

    def waits(self) -> list[Activation]:
        """Return the activations that wait for a person, a signal or a time."""
        return [*self.root.open_questions(), *list_waits(self.root)]

    def ending_early(self) -> list[Activation]:
        """Return the sub-flows and maps under way that something ends from outside."""
        return list_ending_early(self.root)

    def cancel(self, activation: Activation, reason: str) -> None:
        """Cancel an activation and everything inside it, for good."""
        if activation.step.compensates and activation.children is not None:
            self.undo_scopes(activation, activation.children.scopes, reason)
        cancel_activation(self, activation, reason)

    def undo_scopes(self, around: Activation, scopes: Sequence[Scope], reason: str) -> None:
        """Undo what was committed in scopes inside an activation that is about to be cancelled."""
        if self.undoes:
            from graphorch.core.compensation import undo_cancelled

            undo_cancelled(self, around, scopes, reason)

    def cancel_scope(self, scope: Scope, reason: str) -> None:
        """Cancel everything in a scope, for good."""
        cancel_scope(self, scope, reason)

    # ---- the life of an activation ---------------------------------------------------------------
    def _commit(self, activation: Activation, edges: tuple[Edge, ...], failure: Any = None) -> None:
        """End an activation: emit its tokens, and start what they make ready."""
        scope, version = activation.scope, activation.version
        if (
            len(edges) == 1
            and failure is None
            and version is not None
            and activation.children is None
            and self.exclusive is None
            and advance(self, scope, activation, edges, version)
        ):
            return
        activation.status = _DONE if failure is None else _HANDLED
        activation.taken_edges = edges
        activation.version = None
        self.history.append(activation)
        if activation.children is not None:
            cancel_children(self, activation.children, f"'{activation.path}' is over")
        if version is not None:
            # Fast path of `emit`, for a node that leads to END alone: END would take its sole token
            # at once. tests/core/test_fast_path.py compares both.
            if activation.step.ends and failure is None:
                self.on_end_reached(scope, version)
            else:
                emit(self, scope, activation, edges, version, activation.counters, failure)
        # The position ends after the tokens are out: in between, nothing may seem to be dead.
        deactivate(scope, activation)
        if scope.due:
            fire_ready(self, scope)
        if self.exclusive is not None:
            self.exclusive.release(activation)
            self._give_turns()
        # Inlined `exit_busy`.
        scope.busy_count -= 1
        if not scope.busy_count:
            self._on_quiet(scope)

    def _skip(self, activation: Activation) -> None:
        """End an activation without tokens: a dead path, for which no join waits any more."""
        activation.status = Status.SKIPPED
        self.history.append(activation)
        if activation.children is not None:
            cancel_children(self, activation.children, f"'{activation.path}' is over")
        deactivate(activation.scope, activation)
        fire_ready(self, activation.scope)
        if self.exclusive is not None:
            self.exclusive.release(activation)
        self.exit_busy(activation.scope)

    def _fail(self, activation: Activation) -> None:
        """Fail an activation for good, and close its scope, which stops once nothing runs in it."""
        activation.status = Status.FAILED
        scope = activation.scope
        scope.failures += (activation,)
        self.errors = append_to(self.errors, (activation,))
        close_scope(self, scope)
        if self.on_failure == "cancel":
            interrupt_scope(self, scope, f"'{activation.path}' failed")
        self.exit_busy(scope)

    # ---- exclusive regions -----------------------------------------------------------------------
    def _give_turns(self) -> None:
        """Start what waited for exclusive regions that are free now."""
        if self.exclusive is not None:
            for activation in self.exclusive.take_turns():
                self._begin_turn(activation)

    def _begin_turn(self, activation: Activation) -> None:
        activation.status = Status.RUNNING
        self.enter_busy(activation.scope)
        self.commands.append(activation)

    def _holds_regions(self, activation: Activation) -> bool:
        return self.exclusive is not None and self.exclusive.is_holder(activation)

    # ---- busy or quiet ---------------------------------------------------------------------------
    def exit_busy(self, scope: Scope) -> None:
        """Count one unit of work less in `scope`, and settle it if it becomes quiet."""
        if self.exclusive is not None:
            self._give_turns()
        scope.busy_count -= 1
        if not scope.busy_count:
            self._on_quiet(scope)

    def _on_quiet(self, scope: Scope) -> None:
        """Settle a quiet scope; if it stays quiet, the scope around it has less to do."""
        self.settle(scope)
        if (outer := scope.outer) is None:
            return
        if scope.busy_count:
            outer.busy_count -= 1  # what began while it was settled has counted it once more
        else:
            self.exit_busy(outer)

    def settle(self, scope: Scope) -> None:
        """Decide what follows from a quiet scope for the run, or for the activation around it."""
        if scope.busy_count:
            return
        if scope.detached and scope.output is not None and not scope.closed:
            self._withdraw_late_work(scope)
            if scope.busy_count:
                return
        if scope.late is not None:
            self._settle_late_work(scope)
            return
        if not (scope.finished or scope.detached or scope.output is None):
            self.on_end_reached(scope, scope.output)
        parent = scope.parent
        if parent is None:
            self._settle_root(scope)
            return
        if scope.is_tool_call:
            settle_call(self, parent, cast("ToolScope", scope))
            return
        if scope.is_undo:
            return  # the next one is under way, or the run is to stop
        if parent.status is not Status.ENTERED or parent.children is None:
            return
        # It failed, or is stuck: neither closed nor waiting for people, and nothing can reach END.
        if not scope.finished and (scope.failures or self._is_stuck(scope)):
            fail_item(self, parent, scope)
        elif parent.children.failed and (scope.finished or scope.closed):
            leave_when_stopped(self, parent, parent.children)

    def _is_stuck(self, scope: Scope) -> bool:
        """Return whether nothing can bring a quiet scope to its END: nothing in it waits."""
        if scope.closed or (self.exclusive is not None and is_held_inside(scope)):
            return False
        return not (scope.open_questions() or list_waits(scope))

    def _withdraw_late_work(self, scope: Scope) -> None:
        """Withdraw what of late work waits for people and events, now that END was reached.

        What only waits for its turn in an exclusive region goes on.
        """
        reason = "END was reached while it waited"
        for late in list(scope.detached):
            if self.exclusive is None or not is_held_inside(late):
                cancel_scope(self, late, reason)
                continue
            for node, activation in list(late.active.items()):
                inside = activation.children.list_unfinished() if activation.children else []
                if activation.status is not Status.HELD and not any(map(is_held_inside, inside)):
                    cancel_node(self, late, node, reason)
            if late.due:
                fire_ready(self, late)
        self._give_turns()

    def _settle_late_work(self, late: Scope) -> None:
        """End late work that is over, or that can go on no more."""
        if late.finished:
            return
        is_over = late.output is not None or not (late.active or late.waiting)
        if not late.detached and is_over:
            late.finished = True
            end_late_work(self, late)
        elif self._is_stuck(late):
            # An item that cannot reach its END: the failure that is the cause is known.
            cancel_scope(self, late, "nothing in it can reach its END")
            end_late_work(self, late)

    def _settle_root(self, root: Scope) -> None:
        """End the run, or have it wait. The order decides where several reasons hold."""
        if self.undoing is not None and self._settle_undoing(self.undoing):
            return
        if root.finished:
            self._finish("partial" if self.failed() else "succeeded", "succeeded")
        elif self.stopping:
            self._finish(self.stop_status, self.stopping)
        elif root.failures:
            self._finish("failed", "failed")
        elif waits := self.waits():
            self._finish("waiting", "waiting", waits)
        else:
            self._finish("failed", "end not reached")

    def _settle_undoing(self, undoing: Undoing) -> bool:
        """Begin to undo the whole run, or end a run of which work was undone; return whether."""
        # Four cases: all is to be undone from here on; the undos were stopped; all was undone; or
        # some work was undone in a run that goes on.
        if self.stopping and undoing.is_requested and self.stop_status == "cancelled":
            from graphorch.core.compensation import undo_run

            reason, self.stopping, self.stop_status = self.stopping, "", "stopped"
            undo_run(self, reason)
            if self.root.busy_count:
                return True
            if undoing.is_stopped and undoing.queue:
                self.stopping = undoing.stop_reason
        if self.stopping and (undoing.queue or undoing.is_whole):
            self._finish(self.stop_status, self.stopping)
            return True
        if undoing.is_whole:
            self._finish("cancelled", undoing.reason)
        return undoing.is_whole

    def _finish(
        self, status: RunStatus, reason: str, waits: list[Activation] | None = None
    ) -> None:
        if self.status != "running":
            return  # an answer came to a run that had stopped: it acts when the run is resumed
        self.status, self.reason = status, reason
        self.commands.append(FinishRun(status, reason, waits or []))


HANDLERS: Final[Mapping[type[Event], Callable[[Run, Any], None]]] = {
    RunStarted: Run.on_run_started,
    StopRequested: Run.on_stop_requested,
    GraceExpired: Run.on_grace_expired,
    Resumed: Run.on_resumed,
    NodeSucceeded: Run.on_node_succeeded,
    Routed: Run.on_routed,
    ScopeEntered: Run.on_scope_entered,
    ItemReviewed: Run.on_item_reviewed,
    ToolsCalled: Run.on_tools_called,
    NodeFailed: Run.on_node_failed,
    NodeSkipped: Run.on_node_skipped,
    NodeCancelled: Run.on_node_cancelled,
    RetryDue: Run.on_retry_due,
    PersonAsked: Run.on_person_asked,
    WaitBegan: Run.on_wait_began,
    SignalReceived: Run.on_signal_received,
    Approved: Run.on_approved,
}

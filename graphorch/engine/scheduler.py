"""The asyncio driver of the core: it runs what the core says, and tells the core what became of it.

Theory of operation. A *strand* is a task that runs one activation after another: what follows a commit goes on in the strand that made
it, and only further activations get strands of their own. The first strand is the task of whoever called; so a chain makes no task at all,
and a fan-out one for each further branch. Those belong to one TaskGroup: after `execute` returns or raises, nothing of the run is running,
except what cannot be stopped, a thread inside a user's function; it is named in `record.abandoned`.

Rules of this file: the core is asked before anything is started and told before anything else is done; a cancelled attempt tells it
nothing; whatever a user's function raises becomes an event, and only a bug of ours leaves a strand as an exception.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from graphorch.core.events import (
    CancelNode,
    Command,
    EvaluateRoute,
    Event,
    FinishRun,
    GraceExpired,
    LeaveScope,
    NodeFailed,
    NodeSkipped,
    NodeSucceeded,
    PersonAsked,
    Resumed,
    RetryDue,
    Routed,
    RunStarted,
    ScheduleRetry,
    ScopeEntered,
    StopRequested,
    Update,
)
from graphorch.core.retry import handler_of, retry_after
from graphorch.core.run import Run
from graphorch.core.state import UNLIMITED, append_to
from graphorch.core.tree import Activation, Status
from graphorch.engine import events, human_input, node_cache
from graphorch.engine.context import NodeContext
from graphorch.engine.invocation import binding
from graphorch.engine.invocation.invoker import NodeInvoker
from graphorch.engine.node_budgets import NodeBudgets
from graphorch.engine.observers import Observers, build_committed, to_run_event
from graphorch.engine.report import RunReport
from graphorch.engine.run_task import RunTask
from graphorch.engine.settings import RunSettings
from graphorch.engine.state_codec import Unstorable
from graphorch.errors import (
    Ambiguous,
    BudgetExceeded,
    Expired,
    GraphorchError,
    JournalError,
    ModelError,
    Unassigned,
)
from graphorch.graph.plan import Plan
from graphorch.statuses import RunStatus

if TYPE_CHECKING:
    from graphorch.engine.replay import ReplayedRun
    from graphorch.engine.run_journal import CallDescription, RunJournal
    from graphorch.models.budgets.budget import Account
    from graphorch.models.messages import Response

# looked up for every attempt
RETRYING, ROUTING, RUNNING = Status.RETRYING, Status.ROUTING, Status.RUNNING
_NONE: frozenset[str] = frozenset()
OnAmbiguous: TypeAlias = Literal["stop", "repeat", "fail"]


class StrayCancellation(GraphorchError):
    """A node raised `CancelledError` although nobody had cancelled it, perhaps because it awaited a task that somebody else cancelled."""


class Scheduler:
    """Executes one run of a plan. Use it once for `begin`, or again for `resume` of a run that stopped."""

    __slots__ = (
        "_backpressure",
        "_caller",
        "_deadline",
        "_epoch",
        "_fail_in_doubt",
        "_fast_path",
        "_gate",
        "_group",
        "_heartbeat",
        "_idle",
        "_in_grace",
        "_loop",
        "_no_run_overrides",
        "_pin_visits",
        "_recorded_responses",
        "_retry_delays",
        "_strands",
        "_time",
        "_timers",
        "_undelivered",
        "_unobserved",
        "_wallets",
        "_watchers",
        "in_doubt",
        "is_under_way",
        "journal",
        "plan",
        "report",
        "run",
        "settings",
    )  # fmt: skip

    def __init__(
        self,
        plan: Plan,
        settings: RunSettings,
        *,
        pace: Callable[[], Awaitable[None]] | None = None,
        gate: Callable[[Activation], Awaitable[None]] | None = None,
        journal: RunJournal | None = None,
    ) -> None:
        self.plan = plan
        self.journal = journal
        # waited for before each node, so that a slow reader of events slows the run down
        self._backpressure = pace
        # waited for before each attempt, so that a debugger decides which activation is next
        self._gate = gate
        self.settings = settings
        limit = settings.limits.activations
        self.run = Run(
            plan,
            settings.run_id,
            max_activations=UNLIMITED if limit is None else limit,
            on_failure=settings.on_failure,
        )
        self.report = RunReport(self.run, settings.clock())
        self._watchers = (
            Observers(settings.run_id, settings.watchers) if settings.watchers else None
        )
        self._strands: set[RunTask] = set()
        self._caller: NodeInvoker | None = None
        self._timers: Sequence[asyncio.TimerHandle] = ()
        self._deadline: float | None = None
        self._retry_delays: dict[Activation, float] = {}
        self.is_under_way = False  # whether something of the run is running
        # set at the end of what is under way, if somebody waits for that
        self._idle: asyncio.Event | None = None
        self._epoch = 0.0
        self._no_run_overrides = False  # nothing but the options of nodes says how they run
        self._unobserved = False  # nobody has to hear of an event but the core
        self._fast_path = False  # the same, and nobody has to write an event down
        self._in_grace = False
        # nodes with effect `once` that began and did not finish
        self.in_doubt: dict[str, Activation] = {}
        self._fail_in_doubt: frozenset[str] = _NONE  # those of them that are to fail
        self._wallets: NodeBudgets | None = None
        self._pin_visits: dict[str, int] = {}  # of pinned paths
        # answers that an attempt which vanished had got already
        self._recorded_responses: Mapping[tuple[str, str], Response] = {}
        # what watchers hear of once it is durable, with the number of its record
        self._undelivered: Sequence[tuple[int, Event]] = ()
        self._heartbeat: asyncio.Task[None] | None = None
        self._group: asyncio.TaskGroup | None = None  # of the strands, once there are several

    @property
    def is_watched(self) -> bool:
        """Whether somebody hears of what happens."""
        return self._watchers is not None

    @classmethod
    def from_records(
        cls,
        plan: Plan,
        settings: RunSettings,
        rebuilt: ReplayedRun,
        journal: RunJournal | None,
        *,
        pace: Callable[[], Awaitable[None]] | None = None,
        gate: Callable[[Activation], Awaitable[None]] | None = None,
    ) -> Scheduler:
        """The driver of a run that was rebuilt from its journal."""
        self = cls(plan, settings, pace=pace, gate=gate, journal=journal)
        self.run = rebuilt.run
        self.report = RunReport(rebuilt.run, rebuilt.began, rebuilt.ended)
        self.report.add_recorded_calls(rebuilt.answered)
        self._recorded_responses = rebuilt.calls
        self.in_doubt = dict(rebuilt.unsure)
        self._set_rules()
        return self

    # ---- from outside --------------------------------------------------------------------------------
    def begin(self, update: Update) -> Coroutine[Any, Any, None]:
        """Run from START until nothing is left to do. The outcome is in `run.status`; raises only when cancelled, or for a bug."""
        return self._execute(RunStarted(update))

    async def resume(self, ambiguous: OnAmbiguous = "stop") -> None:
        """Go on with a run that stopped, waits, or whose process is gone: what failed or vanished is tried again.

        Questions whose time is over fail as `Expired`. What a node with effect `once` did before it vanished is not known: `ambiguous` says
        whether the run stays stopped because of it, runs the node again (`repeat`), or fails it as `Ambiguous` (`fail`).
        """
        self._enter_loop()
        if self.in_doubt and ambiguous == "stop":
            await self.leave("ambiguous")
            return
        self._fail_in_doubt = frozenset(self.in_doubt) if ambiguous == "fail" else _NONE
        if self.run.status == "running":
            self._dispatch(StopRequested("crashed", at=self.settings.clock()))
        late = [
            activation
            for activation in self.open_questions()
            if human_input.is_late(activation, self.settings.clock())
        ]
        await self._execute(
            Resumed(),
            *(
                self._failure_event(activation, human_input.build_expiry(activation))
                for activation in late
            ),
        )

    async def leave(self, reason: str) -> None:
        """Write down that the run is stopped where it is, for somebody to go on with it later."""
        self._enter_loop()
        self._dispatch(StopRequested(reason, at=self.now()))
        await self._write_end()

    async def cancel(self) -> None:
        """Cancel a run for good of which nothing is under way, also one whose process is gone."""
        self._enter_loop()
        # first what a stop that was under way had left to do
        for status in ("stopped", "cancelled"):
            self._dispatch(StopRequested("cancelled", status, at=self.now()))
        await self._write_end()

    def edit(self, activation: Activation, update: Update) -> None:
        """Commit an update for an activation of a run that is not under way, as if its node had returned it. `resume` goes on from there."""
        self._enter_loop()
        activation.started_at = self.settings.clock()
        self._dispatch(NodeSucceeded(activation, update, activation.started_at))

    async def answer(self, activation: Activation, value: object) -> None:
        """Answer an open question, and go on; while the run is under way elsewhere, wait for that to end.

        Raises `InputError` for an answer of the wrong type.
        """
        event = human_input.build_answer(activation, value, self.settings.clock())
        if isinstance(event, Expired):
            event = self._failure_event(activation, event)
        if not self.is_under_way:
            await self._execute(event)
        else:
            self._spawn_when_durable(self._dispatch(event))
            self._idle = self._idle or asyncio.Event()
            await self._idle.wait()

    def request_stop(self, reason: str, *, now: bool) -> None:
        """The same from any thread; without effect on a run that is not under way."""
        if self.is_under_way:
            self._loop.call_soon_threadsafe(
                functools.partial(self._stop_if_under_way, reason, now=now)
            )

    def _stop_if_under_way(self, reason: str, *, now: bool) -> None:
        if self.is_under_way:
            self.stop(reason, now=now)

    def change(self, settings: RunSettings) -> None:
        """Replace the settings of a run that is not under way. Limits count what was done before."""
        self.settings = settings
        self._wallets = None
        self._set_rules()
        self._watchers = (
            Observers(settings.run_id, settings.watchers) if settings.watchers else None
        )

    def _set_rules(self) -> None:
        """By which limit the core decides from here on, and what it does about a failure; written down if it is not what was said before."""
        run, limit, on_failure = (
            self.run,
            self.settings.limits.activations,
            self.settings.on_failure,
        )
        is_as_before = (
            limit is None and run.activations_left > UNLIMITED // 2 and run.on_failure == on_failure
        )
        if self.journal is not None and not is_as_before:
            self.journal.append_rules(limit, on_failure)
        run.activations_left = UNLIMITED if limit is None else max(0, limit - run.started)
        run.on_failure = on_failure

    def open_questions(self) -> list[Activation]:
        """The activations that wait for a person."""
        return self.run.questions()

    def stop(self, reason: str, *, status: RunStatus = "stopped", now: bool = True) -> None:
        """Have a run under way stop: at once, or after what runs has finished. Must be called on the run's loop."""
        self._spawn_when_durable(self._dispatch(StopRequested(reason, status, now, self.now())))

    # ---- time ------------------------------------------------------------------------------------------
    def _enter_loop(self) -> None:
        """From here on the running loop tells the time."""
        self._loop = asyncio.get_running_loop()
        self._time = self._loop.time
        self._epoch = self.settings.clock() - self._time()

    def monotonic(self) -> float:
        """The event loop's time, which never jumps."""
        return self._loop.time()

    def now(self) -> float:
        """Seconds since the epoch, advancing with the event loop's time."""
        return self._epoch + self._time()

    # ---- model calls ---------------------------------------------------------------------------------
    def recorded_response(self, activation: Activation, key: str) -> Response | None:
        """The answer to this request that an attempt which vanished had paid for already."""
        return self._recorded_responses.get((activation.id, key))

    async def record_call(
        self, activation: Activation, key: str, response: Response, asked: CallDescription
    ) -> None:
        """Write an answer down before the node sees it."""
        if self.journal is not None:
            self.journal.append_call(activation, key, response, asked)
            await self._make_durable()

    def record_failed_call(
        self, activation: Activation, error: ModelError, asked: CallDescription
    ) -> None:
        """Write down that a call failed."""
        if self.journal is not None:
            self.journal.append_failed_call(activation, error, asked)

    # ---- for contexts ------------------------------------------------------------------------------------
    def account_for(self, activation: Activation) -> Account | None:
        """The account that pays for an activation's model calls."""
        if self._wallets is None:
            self._wallets = NodeBudgets(self)
        return self._wallets.account_for(activation)

    def publish(self, event: events.RunEvent) -> None:
        """Hand an event to whoever watches."""
        if self._watchers is not None:
            self._watchers.notify(event)

    # ---- the run -------------------------------------------------------------------------------------------
    async def _execute(self, *first: Event) -> None:
        self._enter_loop()
        self.is_under_way, self._in_grace, self._group = True, False, None
        for event in first:
            event.at = self.now()
        self._unobserved = (
            self.journal is None and self._watchers is None and not self.plan.acts_once
        )
        self._no_run_overrides = (
            self.settings.limits.concurrency is None
            and self._gate is None
            and not self.settings.pins
            and not self._fail_in_doubt
        )
        self._fast_path = (
            self.journal is None and self._no_run_overrides and not self.plan.acts_once
        )
        self._set_deadline()
        try:
            if self.journal is None and type(first[0]) is RunStarted:
                ready, first = self._dispatch(first[0]), ()
                # for as long as one thing comes after another, the caller's task is all that it takes
                while len(ready) == 1:
                    ready = await self._run_chain(_of_caller(self._loop), ready.pop())
                if ready:
                    async with asyncio.TaskGroup() as self._group:
                        await self._run_first(ready)
            else:  # a run that somebody comes back to may go on in many places at once
                await self._run_in_group(first)
            if self.journal is not None:
                await self._write_end()
        except asyncio.CancelledError:
            # the tasks are gone already; the core has yet to hear of it
            self._dispatch(StopRequested("interrupted", at=self.now()))
            await asyncio.shield(self._write_end())
            raise
        except BaseException as error:
            cause = _first_of(error)
            self.run.handle(
                StopRequested(
                    "storage" if isinstance(cause, JournalError) else "interrupted", at=self.now()
                )
            )
            if cause is error:
                raise
            raise cause from error
        finally:
            try:
                if self._caller is not None:
                    await self._caller.stop_processes()
            finally:
                self._close()

    async def _run_in_group(self, first: tuple[Event, ...]) -> None:
        async with asyncio.TaskGroup() as self._group:
            if self.journal is not None:
                self._heartbeat = self._group.create_task(self.journal.keep_lease())
            ready: list[Activation] = []
            for event in first:
                ready += self._dispatch(event)
            await self._make_durable()
            if self.run.status != "running":
                self._stop_heartbeat()
            if ready:
                await self._run_first(ready)

    async def _run_first(self, ready: list[Activation]) -> None:
        self._start_all(ready[1:])
        await self._run_chain(_of_caller(self._loop), ready[0])

    async def _write_end(self) -> None:
        """Nothing is left to do for now: say so in the journal, and let others have the run."""
        if self.journal is not None:
            await self.journal.end(self.run.status, self.run.reason)
            self._notify_durable()
            await self.journal.release()

    def _stop_heartbeat(self) -> None:
        if self._heartbeat is not None:
            self._heartbeat.cancel()
            self._heartbeat = None

    def _close(self) -> None:
        self.report.ended = self.now()
        self.is_under_way, self._group = False, None
        if self._idle is not None:
            self._idle.set()
            self._idle = None
        for timer in self._timers:
            timer.cancel()
        if self._caller is not None:
            self._caller.close()
            self._caller = None
        if self._watchers is not None:
            self.publish(
                events.Ended(self.run.status, self.run.reason, self.run.run_id, self.now())
            )

    def _set_deadline(self) -> None:
        account, seconds = self.settings.account, self.settings.limits.seconds
        left = account.seconds_left if account is not None else None
        if left is not None:
            seconds = left if seconds is None else min(left, seconds)
        if seconds is not None:
            self._deadline = self._loop.time() + seconds
            self._timers = append_to(
                self._timers, (self._loop.call_at(self._deadline, self.stop, "limit:seconds"),)
            )

    # ---- strands -------------------------------------------------------------------------------------------
    def _start_all(self, activations: list[Activation]) -> None:
        for activation in activations:
            assert self._group is not None
            strand = RunTask()
            strand.task = self._group.create_task(self._run_chain(strand, activation))

    def _spawn_when_durable(self, activations: list[Activation]) -> None:
        """Start activations, once what led to them is durable."""
        if self.journal is None:
            self._start_all(activations)
        else:
            assert self._group is not None
            self._group.create_task(self._start_when_durable(activations))

    async def _start_when_durable(self, activations: list[Activation]) -> None:
        await self._make_durable()
        self._start_all(activations)

    async def _make_durable(self) -> None:
        if self.journal is not None:
            await self.journal.flush()
            if self._undelivered:
                self._notify_durable()

    async def _run_chain(self, strand: RunTask, first: Activation) -> list[Activation]:
        """Run an activation, and then whatever its commit makes ready, one after the other.

        Where nothing surrounds a node and nobody writes down what it does, no coroutine and no event stands between it and the core: this
        loop is what a run spends its time in. Returns what is ready at once where there is no group of tasks for it yet.
        """
        run, time, epoch, is_direct, watchers = (
            self.run,
            self._time,
            self._epoch,
            self._fast_path,
            self._watchers,
        )
        task, calm, pace = strand.task, strand.calm, self._backpressure
        self._strands.add(strand)
        activation: Activation | None = first
        try:
            while activation is not None:
                strand.current, step = activation, activation.step
                if not (
                    is_direct
                    and step.is_simple
                    and activation.status is RUNNING
                    and activation.fatal_error is None
                ):
                    ready = await self._commit(strand, await self._run_attempt(strand, activation))
                else:
                    activation.started_at = activation.started_at or epoch + time()
                    if watchers is not None:
                        watchers.notify(
                            events.Started(
                                activation.path, step.name, activation.attempt, epoch + time()
                            )
                        )
                    try:
                        if step.maps_one:
                            try:
                                given = step.read(activation.version)
                            except Unassigned as error:
                                raise binding.MissingInput(str(error)) from error
                            output = await step.fn(given)
                            update = (
                                step.write(output)
                                if output is not given
                                else binding.build_update(step, output, [given], activation.version)
                            )
                        else:
                            given = binding.bind_arguments(activation)
                            output = await (
                                step.fn(self._context_of(activation, None), *given)
                                if step.has_context
                                else step.fn(*given)
                            )
                            update = binding.build_update(step, output, given, activation.version)
                    except BaseException as error:
                        ready = await self._commit(
                            strand, self._event_for_exception(strand, activation, error)
                        )
                    else:
                        if task.cancelling() != calm and not self._is_still_running(
                            strand, activation
                        ):
                            return []
                        commands = run.accept_success(activation, update, epoch + time())
                        if step.decides and commands:
                            commands = self._evaluate_route(activation)
                        elif watchers is not None and not step.decides:
                            watchers.notify(build_committed(activation))
                        if (
                            len(commands) == 1
                            and type(command := commands[0]) is Activation
                            and pace is None
                        ):
                            command.started_at = activation.ended_at
                            activation = command
                            continue
                        if not commands and pace is None:
                            break
                        ready = self._apply(commands)
                        if pace is not None:
                            strand.current = None
                            await pace()
                if len(ready) > 1 and self._group is None:
                    return ready
                activation = self._take_next(ready)
        finally:
            strand.node_ended()
            self._strands.discard(strand)
        return []

    async def _commit(self, strand: RunTask, event: Event | None) -> list[Activation]:
        """Commit what an attempt came to, and return what is ready."""
        strand.node_ended()
        if event is None:
            return []
        ready = self._dispatch(event)
        if self.journal is not None:
            await self._make_durable()
        if self._backpressure is not None:
            await self._backpressure()
        return ready

    def _take_next(self, ready: list[Activation]) -> Activation | None:
        """What the strand goes on with; what else is ready gets strands of its own."""
        if not ready:
            return None
        activation = ready.pop()
        if ready:
            self._start_all(ready)
        return activation

    def _dispatch(self, event: Event) -> list[Activation]:
        """Tell the core, do what it says at once, and return the activations that have to run."""
        return self._apply(self._handle(event))

    def _apply(self, commands: list[Command]) -> list[Activation]:
        """Do what the core says, and return the activations that have to run."""
        starts: list[Activation] = []
        following = 0
        while following < len(commands):
            command = commands[following]
            following += 1
            match command:
                case Activation():
                    starts.append(command)
                case EvaluateRoute(activation):
                    commands += self._evaluate_route(activation)
                case LeaveScope(activation):
                    commands += self._handle(self._leave_scope(activation))
                case ScheduleRetry(activation, seconds):
                    self._retry_delays[activation] = seconds
                    starts.append(activation)
                case CancelNode(activation, reason):
                    self._cancel(activation, reason)
                case FinishRun():
                    self._stop_heartbeat()
        return [start for start in starts if start.status is RUNNING or start.status is RETRYING]

    def _handle(self, event: Event) -> list[Command]:
        """Write an event down, and give it to the core."""
        if self.journal is not None:
            event = self._journal(event)
        commands = self.run.handle(event)
        if (
            self.in_doubt
            and isinstance(event, NodeSucceeded | NodeFailed)
            and event.activation.is_over
        ):
            self.in_doubt.pop(event.activation.path, None)
        if self._watchers is not None:
            if self.journal is None:
                self._notify(event)
            else:
                self._undelivered = append_to(
                    self._undelivered, ((self.journal.last_noted_seq, event),)
                )
        return commands

    def _journal(self, event: Event) -> Event:
        """The event, or the failure of the node whose values cannot be written down."""
        assert self.journal is not None
        try:
            self.journal.append(event)
        except Unstorable as error:
            if not isinstance(event, NodeSucceeded | ScopeEntered):
                raise
            event = self._failure_event(event.activation, error)
            self.journal.append(event)
        return event

    def _notify_durable(self) -> None:
        """Tell watchers what is durable by now."""
        durable = self.journal.last_durable_seq if self.journal is not None else 0
        told = [event for number, event in self._undelivered if number <= durable]
        self._undelivered = self._undelivered[len(told) :]
        for event in told:
            self._notify(event)

    def _notify(self, event: Event) -> None:
        told = to_run_event(event)
        if told is not None:
            self.publish(told)

    def _cancel(self, activation: Activation, reason: str) -> None:
        for strand in self._strands:
            if strand.current is activation:
                strand.stop_node()
        if self.is_watched:
            self.publish(events.Cancelled(activation.path, activation.step.name, reason))

    # ---- one attempt -------------------------------------------------------------------------------------------
    async def _run_attempt(self, strand: RunTask, activation: Activation) -> Event | None:
        """Run one attempt (or wait for the next one), and say what became of it; None if it was cancelled meanwhile."""
        if activation.status is RETRYING:
            return await self._pause(activation)
        if activation.status is not RUNNING or (
            self._gate is not None and not await self._wait_at_gate(self._gate, activation)
        ):
            return None
        if not activation.started_at:
            activation.started_at = self.now()
        if self.is_watched:
            self.publish(
                events.Started(
                    activation.path, activation.step.name, activation.attempt, self.now()
                )
            )
        step = activation.step
        try:
            # by far the most common: without the coroutines in between
            if step.is_simple and self._no_run_overrides and activation.fatal_error is None:
                given = binding.bind_arguments(activation)
                output = await (
                    step.fn(self._context_of(activation, None), *given)
                    if step.has_context
                    else step.fn(*given)
                )
                event = NodeSucceeded(
                    activation,
                    binding.build_update(step, output, given, activation.version),
                    self.now(),
                )
            else:
                event = await self._run_node(activation)
        except BaseException as error:
            return self._event_for_exception(strand, activation, error)
        return event if self._is_still_running(strand, activation) else None

    def _event_for_exception(
        self, strand: RunTask, activation: Activation, error: BaseException
    ) -> Event | None:
        """What an exception comes to: a failure of the node, nothing if the node was cancelled, or the exception if the whole run was."""
        if not isinstance(error, Exception | asyncio.CancelledError):
            raise error
        if not self._is_still_running(strand, activation):
            return None
        if isinstance(error, binding.MissingInput):
            return self._missing_input(activation, error)
        return self._failure_event(
            activation, _by_itself(error) if isinstance(error, asyncio.CancelledError) else error
        )

    def _is_still_running(self, strand: RunTask, activation: Activation) -> bool:
        """Whether what an attempt came to counts: not if its node was cancelled meanwhile. Raises if the whole run is being cancelled."""
        strand.node_ended()
        if strand.is_being_cancelled:
            raise asyncio.CancelledError
        return activation.status is RUNNING

    def _missing_input(self, activation: Activation, error: binding.MissingInput) -> Event:
        """A node lacks what it reads: a dead path if something went wrong before it, else a mistake that `build()` should have seen."""
        return (
            NodeSkipped(activation, str(error), self.now())
            if self.run.has_gaps
            else self._failure_event(activation, error)
        )

    async def _wait_at_gate(
        self, gate: Callable[[Activation], Awaitable[None]], activation: Activation
    ) -> bool:
        """Wait at the gate; False if the activation was cancelled meanwhile."""
        try:
            await gate(activation)
        except asyncio.CancelledError:
            if activation.status is Status.RUNNING:
                raise
        return activation.status is Status.RUNNING

    async def _run_node(self, activation: Activation) -> Event:
        step = activation.step
        if activation.path in self._fail_in_doubt:
            self._fail_in_doubt -= {activation.path}
            raise Ambiguous(
                f"'{activation.path}' began and did not finish; whether it acted is not known."
            )
        if activation.fatal_error is not None:
            raise activation.fatal_error
        if step.inner_plan is not None:
            return ScopeEntered(activation, binding.build_items(activation), self.now())
        if step.ask is not None or (step.node.options.gate == "before" and not activation.approved):
            return PersonAsked(
                activation, human_input.build_question(activation, self.now()), self.now()
            )
        given = binding.bind_arguments(activation)
        pinned = self.settings.pins.get(activation.path)
        if pinned:
            visit = self._pin_visits[activation.path] = self._pin_visits.get(activation.path, 0) + 1
            return NodeSucceeded(activation, dict(pinned[min(visit, len(pinned)) - 1]), self.now())
        cache = step.node.options.cache
        key = (
            node_cache.compute_key(activation, given, self.settings.model)
            if cache is not None
            else ""
        )
        if cache is not None and (kept := self.settings.cache.get(key, self.now())) is not None:
            return NodeSucceeded(activation, kept, self.now())
        if step.node.options.effect == "once":
            self.in_doubt[activation.path] = activation
            if self.journal is not None:
                self.journal.append_starting(activation)
                await self.journal.flush()
        if self._caller is None:
            self._caller = NodeInvoker(
                self._context_of, self._epoch, self.settings.limits.concurrency, self.report.abandon
            )
        output = await self._caller.call(activation, given)
        update = binding.build_update(step, output, given, activation.version)
        if cache is not None:
            self.settings.cache.put(key, update, self.now() + cache.ttl)
        return NodeSucceeded(activation, update, self.now())

    def _context_of(self, activation: Activation, deadline: float | None) -> NodeContext:
        """The context of an attempt, whose time ends with its own deadline or the run's."""
        ends = [item for item in (deadline, self._deadline) if item is not None]
        return NodeContext(self, activation, min(ends, default=None))

    async def _pause(self, activation: Activation) -> Event | None:
        """Wait for the next attempt."""
        attempt = activation.attempt
        try:
            await asyncio.sleep(self._retry_delays.pop(activation, 0.0))
        except asyncio.CancelledError:
            if activation.status is Status.RETRYING:
                raise
            return None
        return RetryDue(activation, attempt, self.now())

    # ---- what users' functions said ----------------------------------------------------------------------------
    def _evaluate_route(self, activation: Activation) -> list[Command]:
        if activation.step.approved_after and not activation.approved:
            return self._handle(
                PersonAsked(
                    activation, human_input.build_question(activation, self.now()), self.now()
                )
            )
        try:
            decision = binding.evaluate_route(activation)
        except Exception as error:
            return self._handle(self._failure_event(activation, error))
        return (
            self.run.accept_route(activation, decision)
            if self._unobserved
            else self._handle(Routed(activation, decision, self.now()))
        )

    def _leave_scope(self, activation: Activation) -> Event:
        try:
            return NodeSucceeded(activation, binding.gather_children(activation), self.now())
        except Exception as error:
            return self._failure_event(activation, error)

    def _failure_event(self, activation: Activation, error: Exception) -> NodeFailed:
        activation.add_to_story(
            f"{activation.path} attempt {activation.attempt} failed after {max(0.0, self.now() - activation.started_at):.3f} s: {type(error).__name__}: {error}"
        )
        handler = handler_of(activation, error)
        pause = retry_after(activation, error)
        options = activation.step.node.options
        if (
            pause is not None
            and options.deadline is not None
            and self.now() + pause >= activation.started_at + options.deadline
        ):
            pause = None  # the next attempt could not even begin
        self._start_grace(pause, handler)
        limit = error.limit if isinstance(error, BudgetExceeded) and handler < 0 else ""
        return NodeFailed(activation, activation.attempt, error, pause, handler, limit, self.now())

    def _start_grace(self, pause: float | None, handler: int) -> None:
        """After the first failure that nobody handles, what runs may finish, but not for ever."""
        grace = self.settings.limits.grace
        if (
            pause is None
            and handler < 0
            and self.run.on_failure == "drain"
            and grace is not None
            and not self._in_grace
        ):
            self._in_grace = True
            self._timers = append_to(self._timers, (self._loop.call_later(grace, self._end_grace),))

    def _end_grace(self) -> None:
        self._spawn_when_durable(self._dispatch(GraceExpired(self.now())))


def _of_caller(loop: asyncio.AbstractEventLoop) -> RunTask:
    """The strand that runs in the task of whoever called."""
    strand, task = RunTask(), asyncio.current_task(loop)
    assert task is not None
    strand.task, strand.calm = task, task.cancelling()
    return strand


def _by_itself(error: asyncio.CancelledError) -> StrayCancellation:
    failure = StrayCancellation(
        "It raised CancelledError, and nobody had cancelled it. Catch that where it awaits a task that others may cancel."
    )
    failure.__cause__ = error
    return failure


def _first_of(error: BaseException) -> BaseException:
    """The bug, or the interrupt, that ended the run; never a user's exception, since those are events."""
    return (
        _first_of(cast("BaseExceptionGroup[BaseException]", error).exceptions[0])
        if isinstance(error, BaseExceptionGroup)
        else error
    )

"""The asyncio driver of the core: the life of one run, from `begin` or `resume` to its end.

Theory of operation. The `Dispatcher` gives events to the core and carries out its commands; the
`TaskPool` runs the activations that become ready, each attempt by the `AttemptRunner`. After
`begin` or `resume` returns or raises, nothing of the run is running, except what cannot be stopped:
a thread inside a user's function, which is named in `report.abandoned`.

Rules of the engine:
1. The core decides before anything is started, and learns of an outcome before anything follows.
2. With a journal, an event is written before the core gets it, and what follows from it starts only
   once it is durable.
3. A cancelled attempt reports nothing to the core.
4. What a user's function raises becomes an event; only our own bugs leave a run task as exceptions.
5. A fast path names the rule that it must equal; `tests/engine/test_fast_path.py` compares both.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast

from graphorch.core.events import (
    Command,
    Event,
    GraceExpired,
    NodeSucceeded,
    Resumed,
    RunStarted,
    SignalReceived,
    StopRequested,
    Update,
)
from graphorch.core.resuming import begin_anew
from graphorch.core.run import Run
from graphorch.core.state import UNLIMITED, append_to
from graphorch.core.tree import Activation, Status
from graphorch.engine import human_input
from graphorch.engine.attempts.attempt import AttemptRunner, Gate
from graphorch.engine.dispatcher import Dispatcher
from graphorch.engine.event_log import EventLog
from graphorch.engine.observers import Observers
from graphorch.engine.report import RunReport
from graphorch.engine.run_services import RunServices
from graphorch.engine.settings import RunSettings
from graphorch.engine.task_pool import Backpressure, TaskPool
from graphorch.errors import Expired, InputError, JournalError, Unstorable
from graphorch.graph.plan import Plan
from graphorch.statuses import HANDED_OVER, RESUMABLE_STATUSES, RunStatus
from graphorch.text import clean, format_error, truncate

if TYPE_CHECKING:
    from graphorch.engine.events import Observer
    from graphorch.engine.invocation.placement import Placement
    from graphorch.engine.mailbox.letter_reader import LetterReader
    from graphorch.engine.replay import ReplayedRun
    from graphorch.engine.run_journal import RunJournal
    from graphorch.journal.record_kinds import RulesBody
    from graphorch.journal.records import Letter

_LONGEST_REASON: Final = 300  # characters of a failure in the reason why a run is undone
_IDLE_PAUSE: Final = 0.01  # seconds between two looks at a run that is to end

_PAUSES_SINCE: Final = 6  # the first format whose readers know that pauses are kept

OnAmbiguous: TypeAlias = Literal["stop", "repeat", "fail"]


class Scheduler:
    """Executes one run of a plan: `begin` starts it, `resume` continues one that is at rest."""

    __slots__ = (
        "_attempts",
        "_dispatcher",
        "_handing_over",
        "_idle",
        "_in_grace",
        "_letters",
        "_log",
        "_pool",
        "_recorded_concurrency",
        "_recorded_model",
        "_services",
        "_timers",
        "_uses_fast_paths",
        "is_under_way",
        "journal",
        "plan",
        "report",
        "run",
    )

    def __init__(
        self,
        plan: Plan,
        settings: RunSettings,
        *,
        pace: Backpressure | None = None,
        gate: Gate | None = None,
        journal: RunJournal | None = None,
        replayed: ReplayedRun | None = None,
        uses_fast_paths: bool = True,
    ) -> None:
        self.plan = plan
        self.journal = journal
        if replayed is None:
            limit = settings.limits.activations
            self.run = Run(
                plan,
                settings.run_id,
                max_activations=UNLIMITED if limit is None else limit,
                on_failure=settings.on_failure,
            )
            self.report = RunReport(self.run, settings.clock())
        else:
            self.run = replayed.run
            self.report = replayed.build_report(settings.clock())
        self._log = EventLog(journal, _build_observers(settings))
        kept_answers = {} if replayed is None else replayed.kept_answers
        last_call = 0 if replayed is None else replayed.last_call
        listings = {} if replayed is None else replayed.listings
        self._services = RunServices(
            self.run, settings, self.report, self._log, kept_answers, last_call, listings
        )
        if settings.on_question is not None:
            self._listen_to_questions(settings)
        in_doubt = {} if replayed is None else replayed.in_doubt
        self._attempts = AttemptRunner(self._services, gate, in_doubt)
        self._dispatcher = Dispatcher(self._services, self._attempts)
        self._pool = TaskPool(self._services, self._attempts, self._dispatcher, pace)
        self._letters: LetterReader | None = None  # once there are any
        if journal is not None:
            from graphorch.engine.mailbox.mailbox import Mailbox

            self._log.mailbox = Mailbox(journal, self._take_in_under_way)
        # of all agents, as the journal has it
        self._recorded_model = settings.model if replayed is None else replayed.model
        self._recorded_concurrency = settings.limits.concurrency
        if replayed is not None:
            self._recorded_concurrency = replayed.concurrency
        self._uses_fast_paths = uses_fast_paths  # only tests turn them off
        self._timers: Sequence[asyncio.TimerHandle] = ()
        self.is_under_way = False  # something of the run is running
        # set when nothing is under way any more, if a caller waits for that
        self._idle: asyncio.Event | None = None
        self._in_grace = False
        self._handing_over = 0  # 1: what runs may finish; 2: it is cancelled

    @classmethod
    def from_records(
        cls,
        plan: Plan,
        settings: RunSettings,
        replayed: ReplayedRun,
        journal: RunJournal | None,
        *,
        pace: Backpressure | None = None,
        gate: Gate | None = None,
    ) -> Scheduler:
        """Return the driver of a run that was rebuilt from its journal."""
        self = cls(plan, settings, pace=pace, gate=gate, journal=journal, replayed=replayed)
        self._set_rules()
        return self

    @property
    def settings(self) -> RunSettings:
        """Settings of the run, which may be replaced; see also `change`."""
        return self._services.settings

    @settings.setter
    def settings(self, settings: RunSettings) -> None:
        self._services.settings = settings

    @property
    def in_doubt(self) -> dict[str, Activation]:
        """Activations with effect `once` that began and did not finish, by path."""
        return self._attempts.in_doubt

    @property
    def unused_pins(self) -> Mapping[str, Sequence[Update]]:
        """What is pinned for visits to come, by path."""
        return self._attempts.unused_pins()

    def waits_for_calls(self, activation: Activation) -> bool:
        """Return whether an attempt under way waits for tool calls inside of it."""
        rounds = self._services.tool_rounds
        return rounds is not None and rounds.is_waiting(activation)

    # ---- for callers -----------------------------------------------------------------------------
    def begin(self, update: Update) -> Coroutine[Any, Any, None]:
        """Run from START until nothing is left to do.

        The outcome is in `run.status`; raises only when cancelled, or because of a bug.
        """
        return self._execute(RunStarted(update))

    async def resume(self, ambiguous: OnAmbiguous = "stop") -> None:
        """Continue a run that stopped, waits, or whose process is gone.

        What failed or vanished is tried again; questions whose time is over fail as `Expired`. What
        a node with effect `once` did before it vanished is not known: `ambiguous` says whether the
        run stays stopped because of it, runs the node again (`repeat`), or fails it as `Ambiguous`
        (`fail`).
        """
        self._services.enter_loop()
        if self.settings.placement is not None:
            await self._take_over_attempts(self.settings.placement)
        if self.in_doubt and ambiguous == "stop":
            await self.leave("ambiguous")
            return
        self._attempts.fail_in_doubt(fail=ambiguous == "fail")
        now = self.settings.clock()
        if self.run.status == "running":
            crash = StopRequested("crashed", at=now, keeps_pauses=self._has_pauses())
            self._dispatcher.dispatch(crash)
        # Letters came before: an answer in time is in time, and a cancelled run does not go on.
        reason = self.run.reason
        ready = await self._take_in_mail()
        is_stopped = self.run.status == "stopped" and self.run.reason != reason  # by a letter
        goes_on = self.run.status in RESUMABLE_STATUSES and not is_stopped
        resumed = [Resumed()] if goes_on else []
        await self._execute(*resumed, commands=ready)

    async def _take_over_attempts(self, placement: Placement) -> None:
        """Let a placement find the attempts of the process before that run elsewhere, or ended.

        Cases: that process is gone; or it handed the run over, which interrupted them.
        """
        unfinished = self.run.unfinished()
        if self.run.status == "running":
            vanished = [item for item in unfinished if item.status is Status.RUNNING]
        elif self.run.reason == HANDED_OVER:
            failed = [item for item in unfinished if item.status is Status.FAILED]
            vanished = [item for item in failed if item.failure is None and item.update is None]
        else:
            return
        self._attempts.settle_placed(await placement.take_over(vanished))

    def _has_pauses(self) -> bool:
        """Return whether the run is in a pause before a retry, which its format can keep."""
        return self._can_keep_pauses() and any(
            activation.status is Status.RETRYING for activation in self.run.unfinished()
        )

    def _can_keep_pauses(self) -> bool:
        return self.journal is None or self.journal.format >= _PAUSES_SINCE

    def _leave_pause(self) -> list[Activation]:
        """Resume a run that rests in a pause, before anything else happens to it."""
        if not self.run.is_paused:
            return []
        return self._dispatcher.dispatch(Resumed(self._services.now()))

    def _rest_in_pauses(self) -> None:
        """Let a run rest in which only long pauses before retries are left, and waits."""
        if self.is_under_way and self._can_keep_pauses():
            now = self._services.now()
            event = StopRequested("waiting", "waiting", now=False, at=now, keeps_pauses=True)
            self._pool.spawn_when_durable(self._dispatcher.dispatch(event))

    async def needs_mail(self) -> bool:
        """Return whether letters have to be taken in before anything else: see `take_in`.

        So it is in a run whose process is gone, too.
        """
        if self.journal is None or self.is_under_way:
            return False
        return self.run.status == "running" or bool(await self.journal.list_letters())

    async def take_in(self) -> None:
        """Take in the letters of a run at rest, and continue with what follows from them.

        A run whose process is gone is resumed.
        """
        if self.run.status == "running":
            await self.resume()
            return
        self._services.enter_loop()
        await self._execute(commands=await self._take_in_mail())

    async def begin_recorded(self) -> None:
        """Run for the first time what is open by the records: nothing was begun, so none is lost.

        So are a fork, and a run whose input another process recorded. A fork may also wait for
        people, or be over, by what it took over from the other run.
        """
        if self.run.status == "waiting":
            await self.resume("repeat")
            return
        self._services.enter_loop()
        self._attempts.fail_in_doubt(fail=False)
        if self.journal is not None:
            self.journal.buffer_continued(self._services.now())
        await self._execute(commands=self.run.list_open_commands())

    async def leave(self, reason: str) -> None:
        """Record that the run is stopped where it is, to be resumed later."""
        self._services.enter_loop()
        self._leave_pause()
        now, keeps_pauses = self._services.now(), self._has_pauses()
        self._dispatcher.dispatch(StopRequested(reason, at=now, keeps_pauses=keeps_pauses))
        await self._write_end()

    async def cancel(self, *, undo: bool = True) -> None:
        """Cancel a run for good that is not under way, even if its process is gone.

        What it committed is undone first, unless `undo` is False. If an undo with effect `once`
        began and did not finish, the run stays stopped as `ambiguous`.
        """
        self._services.enter_loop()
        self._leave_pause()
        if undo and self.plan.has_undos:
            await self._cancel_and_undo()
            return
        # First finish a stop that was under way when the process ended.
        for status in ("stopped", "cancelled"):
            self._dispatcher.dispatch(StopRequested("cancelled", status, at=self._services.now()))
        await self._write_end()
        if self._log.questions is not None:
            await self._log.questions.finish_calls()

    async def _cancel_and_undo(self) -> None:
        if any(activation.scope.is_undo for activation in self.in_doubt.values()):
            await self.leave("ambiguous")
            return
        now = self._services.now()
        if self.run.status == "running":
            self._dispatcher.dispatch(StopRequested("cancelled", at=now))
        await self._execute(StopRequested("cancelled", "cancelled", at=now, undoes=True))

    def edit(self, activation: Activation, update: Update) -> None:
        """Commit an update for an activation as if its node had returned it.

        The run must not be under way; `resume` continues it from there.
        """
        self._services.enter_loop()
        activation.started_at = self.settings.clock()
        self._dispatcher.dispatch(
            NodeSucceeded(activation, update, activation.started_at, served=True)
        )

    async def answer(self, activation: Activation, value: object) -> None:
        """Answer an open question and continue, or wait until the run under way has ended.

        Raises `InputError` for an answer of the wrong type.
        """
        if self.run.is_paused:
            await self.wait_until_idle()  # it has come to rest, and goes on after that
        if not self.is_under_way:
            self._services.enter_loop()
        event = human_input.build_answer(activation, value, self.settings.clock())
        if isinstance(event, Expired):
            event = self._attempts.end_unanswered(activation, event)
        elif self.journal is not None:
            try:
                self.journal.require_storable(event)
            except Unstorable as error:
                message = f"The answer to '{activation.path}' does not fit: {error}"
                raise InputError(message) from error
        if not self.is_under_way:
            await self._execute(event, commands=self._leave_pause())
        else:
            self._pool.spawn_when_durable(self._dispatcher.dispatch(event))
            self._idle = self._idle or asyncio.Event()
            await self._idle.wait()

    async def send(self, signal: SignalReceived) -> None:
        """Give a signal to the run and continue, or wait until the run under way has ended.

        Raises `InputError` for a signal that nothing takes.
        """
        from graphorch.engine.mailbox.expected_signals import require_expected
        from graphorch.engine.mailbox.letter_reader import require_open

        require_open(self.run, "signal")
        require_expected(self.run, signal)
        signal.at = self.settings.clock()
        if self.run.is_paused:
            await self.wait_until_idle()
        if not self.is_under_way:
            self._services.enter_loop()
            await self._execute(signal, commands=self._leave_pause())
        else:
            self._pool.spawn_when_durable(self._dispatcher.dispatch(signal))
            self._idle = self._idle or asyncio.Event()
            await self._idle.wait()

    async def end_wait(self, activation: Activation) -> None:
        """End a wait as if its time had come, and continue, or wait until the run has ended."""
        if not self.is_under_way:
            self._services.enter_loop()
            ready = self._leave_pause()
            await self._execute(self._build_wait_end(activation), commands=ready)
        else:
            self._pool.spawn_when_durable(self._end_wait(activation))
            self._idle = self._idle or asyncio.Event()
            await self._idle.wait()

    def stop(
        self, reason: str, *, status: RunStatus = "stopped", now: bool = True, undo: bool = True
    ) -> None:
        """Stop a run under way: at once, or after what runs has finished.

        One that is cancelled undoes what it committed, unless `undo` is False. Must be called on
        the run's loop.
        """
        undoes = undo and status == "cancelled" and self.plan.has_undos
        event = StopRequested(clean(reason), status, now, self._services.now(), undoes)
        self._pool.spawn_when_durable(self._dispatcher.dispatch(event))

    def request_stop(
        self,
        reason: str,
        *,
        now: bool,
        status: Literal["stopped", "cancelled"] = "stopped",
        undo: bool = True,
    ) -> None:
        """Stop a run from any thread; without effect on a run that is not under way."""
        if self.is_under_way:
            stop = functools.partial(self.stop, reason, status=status, now=now, undo=undo)
            self._services.loop.call_soon_threadsafe(self._call_if_under_way, stop)

    def _call_if_under_way(self, stop: Callable[[], None]) -> None:
        if self.is_under_way:
            stop()

    def hand_over(self, *, now: bool) -> None:
        """Stop a run under way so that another process goes on with it: it stays `running`.

        Nothing new starts, and what runs may finish. With `now` what runs here is cancelled and
        repeated there, and what runs in other places goes on and is taken over.
        Must be called on the run's loop. A run that is about to begin, or to end, is left alone:
        call it again until the run is not under way.
        """
        stage = 2 if now else 1
        if stage <= self._handing_over or not self._pool.is_open or self.run.status != "running":
            return
        self._handing_over = stage
        if now and self.settings.placement is not None:
            self.settings.placement.leave()
        pauses = self._has_pauses()
        at = self._services.now()
        event = StopRequested(HANDED_OVER, now=now, at=at, keeps_pauses=pauses)
        self._pool.spawn_when_durable(self._dispatcher.dispatch(event))

    async def wait_until_idle(self) -> None:
        """Return once nothing of the run is under way, on any event loop."""
        while True:  # an event would belong to one loop
            if not self.is_under_way:
                return
            await asyncio.sleep(_IDLE_PAUSE)

    def open_questions(self) -> list[Activation]:
        """Return the activations that wait for a person."""
        return self.run.questions()

    def change(self, settings: RunSettings) -> None:
        """Replace the settings of a run that is not under way; limits count what was done."""
        self.settings = settings
        self._services.reset_budgets()
        self._set_rules()
        self._log.observers = _build_observers(settings)
        self._listen_to_questions(settings)

    def add_watcher(self, watcher: Observer) -> None:
        """Hand the events from here on to one more watcher."""
        self.settings = replace(self.settings, watchers=(*self.settings.watchers, watcher))
        self._log.observers = _build_observers(self.settings)

    def record_budget(self, budget: dict[str, float] | None) -> None:
        """Record the budget, by unit, that the run has from here on."""
        if self.journal is not None:
            self.journal.buffer_rules(build_rules(self.settings), budget=budget)

    def _set_rules(self) -> None:
        """Give the core the settings that it decides by, and record them if they are new."""
        run, settings = self.run, self.settings
        limit, on_failure = settings.limits.activations, settings.on_failure
        had_no_limit = run.activations_left > UNLIMITED // 2
        concurrency = settings.limits.concurrency
        is_unchanged = (
            limit is None
            and had_no_limit
            and run.on_failure == on_failure
            and concurrency == self._recorded_concurrency
        )
        new_model = "" if settings.model == self._recorded_model else settings.model
        if self.journal is not None and (new_model or not is_unchanged):
            self.journal.buffer_rules(build_rules(settings), model=new_model)
        self._recorded_model = settings.model
        self._recorded_concurrency = concurrency
        run.activations_left = UNLIMITED if limit is None else max(0, limit - run.started)
        run.on_failure = on_failure

    # ---- the run ---------------------------------------------------------------------------------
    async def _execute(self, *first: Event, commands: Sequence[Command] = ()) -> None:
        """Run from some first events, or commands that are open, until nothing is left to do."""
        services, is_journaled, is_interrupted = self._services, self.journal is not None, False
        services.enter_loop()
        for event in first:
            # No call for each run, as `isinstance` would be. Other events have their time.
            if type(event) is RunStarted or type(event) is Resumed or type(event) is SignalReceived:
                event.at = services.now()
        self._open()
        try:
            plan = self.plan
            has_events = plan.may_call_tools or plan.has_due_times or plan.has_undos
            begins_alone = not is_journaled and not has_events
            if begins_alone and first and type(first[0]) is RunStarted:
                await self._pool.run_from_start(first[0])
            else:
                await self._pool.run_in_group(first, commands)
            if self.plan.compensate:
                await self._compensate()
            # A letter that came at the last moment may give the run something to do.
            while is_journaled and (ready := await self._write_end()):
                await self._pool.run_in_group((), ready)
                if self.plan.compensate:
                    await self._compensate()
        except BaseException as error:
            cause = _find_cause(error)
            if isinstance(cause, Exception | GeneratorExit):
                # A bug of ours, or a journal that cannot be written: nothing more is written.
                reason = "storage" if isinstance(cause, JournalError) else "interrupted"
                self.run.handle(StopRequested(reason, at=services.now()))
            else:
                # Cancelled, or Ctrl-C. The tasks are gone; the core has yet to hear of it.
                is_interrupted = True
                self._dispatcher.dispatch(StopRequested("interrupted", at=services.now()))
                await asyncio.shield(self._write_end())
            if cause is error:
                raise
            raise cause from error
        finally:
            try:
                if self._attempts.invoker is not None:
                    await self._attempts.invoker.stop_processes()
                if services.servers is not None:
                    await services.servers.close()
            finally:
                self._close()
                if (hook := self._log.questions) is not None:
                    await hook.finish_calls(is_interrupted=is_interrupted)

    async def _compensate(self) -> None:
        """Undo what a failed run has committed, and cancel it."""
        if self.run.status != "failed":
            return
        ready = self._dispatcher.dispatch(build_compensation(self.run, self._services.now()))
        if ready:
            await self._pool.run_in_group((), ready)

    def _open(self) -> None:
        attempts, dispatcher = self._attempts, self._dispatcher
        if self.report.ended:
            self.report.take_up(self._services.now())
        elif self.run.started:
            # A fork begins only now, whatever it took over from the old run.
            self.report.began = self._services.now()
            begin_anew(self.run.unfinished(), self.report.began)
        if self.journal is not None or self._services.settings.tags:
            self._services.open_trace()
        self.is_under_way, self._in_grace = True, False
        dispatcher.on_final_failure = self._start_grace
        attempts.open(self._start_deadline(), self._rest_in_pauses)
        if self.plan.may_call_tools:
            self._open_tool_rounds()
        # A flow that is called as a tool may wait, too. With a gate, a person says when it is time.
        may_wait = self.plan.has_due_times or self.plan.may_call_tools
        if may_wait and not attempts.is_gated:
            self._open_due_times()
        has_fast_paths = self._uses_fast_paths and self.journal is None and not self.plan.acts_once
        has_fast_paths = has_fast_paths and self._log.questions is None
        dispatcher.is_unobserved = has_fast_paths and self._log.observers is None
        self._pool.takes_fast_path = has_fast_paths and not attempts.has_overrides

    def _open_tool_rounds(self) -> None:
        """Let attempts have tools called, until the run is at rest."""
        if not self.plan.may_call_tools or self._dispatcher.tool_rounds is not None:
            return
        from graphorch.engine.tool_calls.rounds import ToolRounds

        services, dispatcher = self._services, self._dispatcher
        spawn = self._pool.spawn_when_durable
        check_doubt = self._attempts.check_doubt
        rounds = ToolRounds(self.run, dispatcher.dispatch, spawn, services.now, check_doubt)
        services.tool_rounds = dispatcher.tool_rounds = rounds

    def _open_due_times(self) -> None:
        """Watch the times until which something waits, until the run is at rest."""
        from graphorch.engine.waits.due_times import DueTimes

        spawn = self._pool.spawn_when_durable
        self._dispatcher.due_times = DueTimes(self._services.read_clock, self._end_wait, spawn)

    def _end_wait(self, activation: Activation) -> list[Activation]:
        """Let a timer fire, or end the wait of what was waited for too long."""
        return self._dispatcher.dispatch(self._build_wait_end(activation))

    def _build_wait_end(self, activation: Activation) -> Event:
        from graphorch.engine.waits.event_waits import build_expiry

        error = build_expiry(activation)
        event: Event = NodeSucceeded(activation, {}, self._services.now())
        if error is not None:
            event = self._attempts.end_unanswered(activation, error)
        return event

    def _start_deadline(self) -> float | None:
        """Stop the run when its time is over; return that time of the loop, if there is one."""
        settings, loop = self._services.settings, self._services.loop
        seconds = settings.limits.seconds
        left = settings.account.seconds_left if settings.account is not None else None
        if left is not None:
            seconds = left if seconds is None else min(left, seconds)
        if seconds is None:
            return None
        deadline = loop.time() + seconds
        timer = loop.call_at(deadline, self._stop_at_limit)
        self._timers = append_to(self._timers, (timer,))
        return deadline

    def _stop_at_limit(self) -> None:
        """Stop a run whose time is over, unless it undoes its work: that is not cut short."""
        undoing = self.run.undoing
        if undoing is None or not (undoing.is_whole or undoing.is_requested):
            self.stop("limit:seconds")

    def _close(self) -> None:
        now = self._services.now()
        self.report.ended = now
        self.is_under_way = False
        self._pool.close()
        self._dispatcher.on_final_failure = None
        if self._idle is not None:
            self._idle.set()
            self._idle = None
        for timer in self._timers:
            timer.cancel()
        self._timers = ()
        self._services.tool_rounds = self._dispatcher.tool_rounds = None
        self._dispatcher.due_times = None
        self._attempts.close()
        self._log.publish_end(self.run, now)

    # ---- questions -------------------------------------------------------------------------------
    def _listen_to_questions(self, settings: RunSettings) -> None:
        """Tell the function of the settings what becomes of questions from here on."""
        function, hook = settings.on_question, self._log.questions
        if function is None:
            self._log.questions = None
            return
        tags = settings.tags if self.journal is None else {**settings.tags, **self.journal.tags}
        if hook is not None:
            hook.replace(function, tags)
            return
        from graphorch.engine.questions.question_hook import QuestionHook

        self._log.questions = QuestionHook(self.run, function, tags)

    # ---- letters ---------------------------------------------------------------------------------
    async def _write_end(self) -> list[Activation]:
        """Record that the run is at rest, and release it; what came meanwhile is taken in first.

        Returns what is ready to run because of that, in a run that is not released then. A run that
        is handed over is not at rest: its letters are for the next owner.
        """
        if self._handing_over and self.run.reason == HANDED_OVER:
            await self._log.leave_open()
            return []
        while not await self._log.write_end(self.run, self._services.now()):
            ready = await self._take_in_mail()
            if ready:
                return ready
        return []

    async def _take_in_mail(self) -> list[Activation]:
        """Take in all letters of a run at rest, and return what is ready to run."""
        return [] if self.journal is None else self._take_in(await self.journal.list_letters())

    def _take_in_under_way(self, letters: Sequence[Letter]) -> None:
        self._pool.spawn_when_durable(self._take_in(letters))

    def _take_in(self, letters: Sequence[Letter]) -> list[Activation]:
        """Take in letters in their order; each outcome is stored with what follows from it."""
        journal = self.journal
        if journal is None or not letters:
            return []
        if self._letters is None:
            from graphorch.engine.mailbox.letter_reader import LetterReader

            self._letters = LetterReader(
                self.run, self._attempts.end_unanswered, journal.require_storable
            )
        # An answer may let a call of a tool start, which waits for its attempt then.
        self._open_tool_rounds()
        ready = self._leave_pause()
        for letter in letters:
            reading = self._letters.read(letter, self._services.now())
            if reading.event is not None:
                ready += self._dispatcher.dispatch(reading.event)
            if reading.outcome is not None:
                journal.settle(letter, reading.outcome)
        return ready

    # ---- grace time ------------------------------------------------------------------------------
    def _start_grace(self) -> None:
        """After the first failure that is not handled, let what runs finish, but not for ever."""
        grace = self.settings.limits.grace
        if self.run.on_failure == "drain" and grace is not None and not self._in_grace:
            self._in_grace = True
            timer = self._services.loop.call_later(grace, self._end_grace)
            self._timers = append_to(self._timers, (timer,))

    def _end_grace(self) -> None:
        event = GraceExpired(self._services.now())
        self._pool.spawn_when_durable(self._dispatcher.dispatch(event))


def build_rules(settings: RunSettings) -> RulesBody:
    """Return what the record of a run keeps of its settings, to be decided by again."""
    limits = settings.limits
    rules: RulesBody = {"activations": limits.activations, "on_failure": settings.on_failure}
    if limits.concurrency is not None:
        rules["concurrency"] = limits.concurrency
    return rules


def build_compensation(run: Run, at: float) -> StopRequested:
    """Return the event that undoes a failed run, and cancels it then."""
    return StopRequested(clean(_explain_compensation(run)), "cancelled", at=at, undoes=True)


def _explain_compensation(run: Run) -> str:
    """Return why a failed run is undone."""
    failed = run.failed()
    if not failed:
        return f"compensated: {run.reason}"
    cause = failed[0].failure
    reason = format_error(cause) if isinstance(cause, Exception) else str(cause)
    return f"compensated after '{failed[0].path}' failed: {truncate(reason, _LONGEST_REASON)}"


def _build_observers(settings: RunSettings) -> Observers | None:
    return Observers(settings.run_id, settings.watchers) if settings.watchers else None


def _find_cause(error: BaseException) -> BaseException:
    """Return the bug, or the interrupt, that ended the run; users' exceptions are events."""
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return _find_cause(group.exceptions[0])
    return error

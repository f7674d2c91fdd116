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
    Asked,
    CancelNode,
    Command,
    Decide,
    Entered,
    Event,
    FinishRun,
    GraceOver,
    Leave,
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
from graphorch.core.growing import added
from graphorch.core.retry import handler_of, retry_after
from graphorch.core.run import UNLIMITED, Run
from graphorch.core.tree import Activation, Status
from graphorch.engine import events, human_input, node_cache
from graphorch.engine.context import NodeContext
from graphorch.engine.invocation import binding
from graphorch.engine.invocation.invoker import Caller
from graphorch.engine.node_budgets import Wallets
from graphorch.engine.observers import Watchers, committed, told_of
from graphorch.engine.report import Record
from graphorch.engine.run_task import Strand
from graphorch.engine.settings import Settings
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

if TYPE_CHECKING:
    from graphorch.engine.replay import Rebuilt
    from graphorch.engine.run_journal import Asking, RunJournal
    from graphorch.models.budgets.budget import Account
    from graphorch.models.messages import Response

# looked up for every attempt
RETRYING, ROUTING, RUNNING = Status.RETRYING, Status.ROUTING, Status.RUNNING
_NONE: frozenset[str] = frozenset()
Doubtful: TypeAlias = Literal["stop", "repeat", "fail"]


class NotCancelled(GraphorchError):
    """A node raised `CancelledError` although nobody had cancelled it, perhaps because it awaited a task that somebody else cancelled."""


class Scheduler:
    """Executes one run of a plan. Use it once for `begin`, or again for `resume` of a run that stopped."""

    __slots__ = (
        "_caller", "_deadline", "_doubted", "_ended", "_epoch", "_gate", "_group", "_heartbeat", "_in_grace", "_is_calm", "_is_direct", "_is_private",
        "_loop", "_pace", "_pauses", "_served", "_strands", "_time", "_timers", "_untold", "_visits", "_wallets", "_watchers", "is_under_way",
        "journal", "plan", "record", "run", "settings", "unsure",
    )  # fmt: skip

    def __init__(
        self,
        plan: Plan,
        settings: Settings,
        *,
        pace: Callable[[], Awaitable[None]] | None = None,
        gate: Callable[[Activation], Awaitable[None]] | None = None,
        journal: RunJournal | None = None,
    ) -> None:
        self.plan = plan
        self.journal = journal
        # waited for before each node, so that a slow reader of events slows the run down
        self._pace = pace
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
        self.record = Record(self.run, settings.clock())
        self._watchers = Watchers(settings.run_id, settings.watchers) if settings.watchers else None
        self._strands: set[Strand] = set()
        self._caller: Caller | None = None
        self._timers: Sequence[asyncio.TimerHandle] = ()
        self._deadline: float | None = None
        self._pauses: dict[Activation, float] = {}
        self.is_under_way = False  # whether something of the run is running
        # set at the end of what is under way, if somebody waits for that
        self._ended: asyncio.Event | None = None
        self._epoch = 0.0
        self._is_calm = False  # nothing but the options of nodes says how they run
        self._is_private = False  # nobody has to hear of an event but the core
        self._is_direct = False  # the same, and nobody has to write an event down
        self._in_grace = False
        # nodes with effect `once` that began and did not finish
        self.unsure: dict[str, Activation] = {}
        self._doubted: frozenset[str] = _NONE  # those of them that are to fail
        self._wallets: Wallets | None = None
        self._visits: dict[str, int] = {}  # of pinned paths
        # answers that an attempt which vanished had got already
        self._served: Mapping[tuple[str, str], Response] = {}
        # what watchers hear of once it is durable, with the number of its record
        self._untold: Sequence[tuple[int, Event]] = ()
        self._heartbeat: asyncio.Task[None] | None = None
        self._group: asyncio.TaskGroup | None = None  # of the strands, once there are several

    @property
    def is_watched(self) -> bool:
        """Whether somebody hears of what happens."""
        return self._watchers is not None

    @classmethod
    def of_record(
        cls,
        plan: Plan,
        settings: Settings,
        rebuilt: Rebuilt,
        journal: RunJournal | None,
        *,
        pace: Callable[[], Awaitable[None]] | None = None,
        gate: Callable[[Activation], Awaitable[None]] | None = None,
    ) -> Scheduler:
        """The driver of a run that was rebuilt from its journal."""
        self = cls(plan, settings, pace=pace, gate=gate, journal=journal)
        self.run = rebuilt.run
        self.record = Record(rebuilt.run, rebuilt.began, rebuilt.ended)
        self.record.take(rebuilt.answered)
        self._served = rebuilt.calls
        self.unsure = dict(rebuilt.unsure)
        self._set_rules()
        return self

    # ---- from outside --------------------------------------------------------------------------------
    def begin(self, update: Update) -> Coroutine[Any, Any, None]:
        """Run from START until nothing is left to do. The outcome is in `run.status`; raises only when cancelled, or for a bug."""
        return self._execute(RunStarted(update))

    async def resume(self, ambiguous: Doubtful = "stop") -> None:
        """Go on with a run that stopped, waits, or whose process is gone: what failed or vanished is tried again.

        Questions whose time is over fail as `Expired`. What a node with effect `once` did before it vanished is not known: `ambiguous` says
        whether the run stays stopped because of it, runs the node again (`repeat`), or fails it as `Ambiguous` (`fail`).
        """
        self._enter_loop()
        if self.unsure and ambiguous == "stop":
            await self.leave("ambiguous")
            return
        self._doubted = frozenset(self.unsure) if ambiguous == "fail" else _NONE
        if self.run.status == "running":
            self._told(StopRequested("crashed", at=self.settings.clock()))
        late = [
            one for one in self.open_questions() if human_input.is_late(one, self.settings.clock())
        ]
        await self._execute(
            Resumed(), *(self._failed(one, human_input.expired(one)) for one in late)
        )

    async def leave(self, reason: str) -> None:
        """Write down that the run is stopped where it is, for somebody to go on with it later."""
        self._enter_loop()
        self._told(StopRequested(reason, at=self.now()))
        await self._write_end()

    async def cancel(self) -> None:
        """Cancel a run for good of which nothing is under way, also one whose process is gone."""
        self._enter_loop()
        # first what a stop that was under way had left to do
        for status in ("stopped", "cancelled"):
            self._told(StopRequested("cancelled", status, at=self.now()))
        await self._write_end()

    def edit(self, one: Activation, update: Update) -> None:
        """Commit an update for an activation of a run that is not under way, as if its node had returned it. `resume` goes on from there."""
        self._enter_loop()
        one.began = self.settings.clock()
        self._told(NodeSucceeded(one, update, one.began))

    async def answer(self, one: Activation, value: object) -> None:
        """Answer an open question, and go on; while the run is under way elsewhere, wait for that to end.

        Raises `InputError` for an answer of the wrong type.
        """
        event = human_input.answered(one, value, self.settings.clock())
        if isinstance(event, Expired):
            event = self._failed(one, event)
        if not self.is_under_way:
            await self._execute(event)
        else:
            self._go_on(self._told(event))
            self._ended = self._ended or asyncio.Event()
            await self._ended.wait()

    def request_stop(self, reason: str, *, now: bool) -> None:
        """The same from any thread; without effect on a run that is not under way."""
        if self.is_under_way:
            self._loop.call_soon_threadsafe(
                functools.partial(self._stop_if_under_way, reason, now=now)
            )

    def _stop_if_under_way(self, reason: str, *, now: bool) -> None:
        if self.is_under_way:
            self.stop(reason, now=now)

    def change(self, settings: Settings) -> None:
        """Replace the settings of a run that is not under way. Limits count what was done before."""
        self.settings = settings
        self._wallets = None
        self._set_rules()
        self._watchers = Watchers(settings.run_id, settings.watchers) if settings.watchers else None

    def _set_rules(self) -> None:
        """By which limit the core decides from here on, and what it does about a failure; written down if it is not what was said before."""
        run, limit, on_failure = (
            self.run,
            self.settings.limits.activations,
            self.settings.on_failure,
        )
        is_as_before = limit is None and run.left > UNLIMITED // 2 and run.on_failure == on_failure
        if self.journal is not None and not is_as_before:
            self.journal.note_rules(limit, on_failure)
        run.left = UNLIMITED if limit is None else max(0, limit - run.started)
        run.on_failure = on_failure

    def open_questions(self) -> list[Activation]:
        """The activations that wait for a person."""
        return self.run.questions()

    def stop(self, reason: str, *, status: str = "stopped", now: bool = True) -> None:
        """Have a run under way stop: at once, or after what runs has finished. Must be called on the run's loop."""
        self._go_on(self._told(StopRequested(reason, status, now, self.now())))

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
    def served(self, one: Activation, key: str) -> Response | None:
        """The answer to this request that an attempt which vanished had paid for already."""
        return self._served.get((one.id, key))

    async def keep_call(self, one: Activation, key: str, response: Response, asked: Asking) -> None:
        """Write an answer down before the node sees it."""
        if self.journal is not None:
            self.journal.note_call(one, key, response, asked)
            await self._make_durable()

    def keep_unanswered(self, one: Activation, error: ModelError, asked: Asking) -> None:
        """Write down that a call failed."""
        if self.journal is not None:
            self.journal.note_unanswered(one, error, asked)

    # ---- for contexts ------------------------------------------------------------------------------------
    def payer(self, one: Activation) -> Account | None:
        """The account that pays for an activation's model calls."""
        if self._wallets is None:
            self._wallets = Wallets(self)
        return self._wallets.payer(one)

    def tell(self, event: events.RunEvent) -> None:
        """Hand an event to whoever watches."""
        if self._watchers is not None:
            self._watchers.tell(event)

    # ---- the run -------------------------------------------------------------------------------------------
    async def _execute(self, *first: Event) -> None:
        self._enter_loop()
        self.is_under_way, self._in_grace, self._group = True, False, None
        for event in first:
            event.at = self.now()
        self._is_private = (
            self.journal is None and self._watchers is None and not self.plan.acts_once
        )
        self._is_calm = (
            self.settings.limits.concurrency is None
            and self._gate is None
            and not self.settings.pins
            and not self._doubted
        )
        self._is_direct = self.journal is None and self._is_calm and not self.plan.acts_once
        self._set_deadline()
        try:
            if self.journal is None and type(first[0]) is RunStarted:
                ready, first = self._told(first[0]), ()
                # for as long as one thing comes after another, the caller's task is all that it takes
                while len(ready) == 1:
                    ready = await self._follow(_of_caller(self._loop), ready.pop())
                if ready:
                    async with asyncio.TaskGroup() as self._group:
                        await self._begin_with(ready)
            else:  # a run that somebody comes back to may go on in many places at once
                await self._together(first)
            if self.journal is not None:
                await self._write_end()
        except asyncio.CancelledError:
            # the tasks are gone already; the core has yet to hear of it
            self._told(StopRequested("interrupted", at=self.now()))
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

    async def _together(self, first: tuple[Event, ...]) -> None:
        async with asyncio.TaskGroup() as self._group:
            if self.journal is not None:
                self._heartbeat = self._group.create_task(self.journal.keep())
            ready: list[Activation] = []
            for event in first:
                ready += self._told(event)
            await self._make_durable()
            if self.run.status != "running":
                self._stop_heartbeat()
            if ready:
                await self._begin_with(ready)

    async def _begin_with(self, ready: list[Activation]) -> None:
        self._start_all(ready[1:])
        await self._follow(_of_caller(self._loop), ready[0])

    async def _write_end(self) -> None:
        """Nothing is left to do for now: say so in the journal, and let others have the run."""
        if self.journal is not None:
            await self.journal.end(self.run.status, self.run.reason)
            self._show_all()
            await self.journal.release()

    def _stop_heartbeat(self) -> None:
        if self._heartbeat is not None:
            self._heartbeat.cancel()
            self._heartbeat = None

    def _close(self) -> None:
        self.record.ended = self.now()
        self.is_under_way, self._group = False, None
        if self._ended is not None:
            self._ended.set()
            self._ended = None
        for timer in self._timers:
            timer.cancel()
        if self._caller is not None:
            self._caller.close()
            self._caller = None
        if self._watchers is not None:
            self.tell(events.Ended(self.run.status, self.run.reason, self.run.run_id, self.now()))

    def _set_deadline(self) -> None:
        account, seconds = self.settings.account, self.settings.limits.seconds
        left = account.seconds_left if account is not None else None
        if left is not None:
            seconds = left if seconds is None else min(left, seconds)
        if seconds is not None:
            self._deadline = self._loop.time() + seconds
            self._timers = added(
                self._timers, (self._loop.call_at(self._deadline, self.stop, "limit:seconds"),)
            )

    # ---- strands -------------------------------------------------------------------------------------------
    def _start_all(self, activations: list[Activation]) -> None:
        for one in activations:
            assert self._group is not None
            strand = Strand()
            strand.task = self._group.create_task(self._follow(strand, one))

    def _go_on(self, activations: list[Activation]) -> None:
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
            if self._untold:
                self._show_all()

    async def _follow(self, strand: Strand, first: Activation) -> list[Activation]:
        """Run an activation, and then whatever its commit makes ready, one after the other.

        Where nothing surrounds a node and nobody writes down what it does, no coroutine and no event stands between it and the core: this
        loop is what a run spends its time in. Returns what is ready at once where there is no group of tasks for it yet.
        """
        run, time, epoch, is_direct, watchers = (
            self.run,
            self._time,
            self._epoch,
            self._is_direct,
            self._watchers,
        )
        task, calm, pace = strand.task, strand.calm, self._pace
        self._strands.add(strand)
        one: Activation | None = first
        try:
            while one is not None:
                strand.current, step = one, one.step
                if not (
                    is_direct and step.is_simple and one.status is RUNNING and one.problem is None
                ):
                    ready = await self._after(strand, await self._attempt(strand, one))
                else:
                    one.began = one.began or epoch + time()
                    if watchers is not None:
                        watchers.tell(
                            events.Started(one.path, step.name, one.attempt, epoch + time())
                        )
                    try:
                        if step.maps_one:
                            try:
                                given = step.read(one.version)
                            except Unassigned as error:
                                raise binding.Unreadable(str(error)) from error
                            output = await step.fn(given)
                            update = (
                                step.write(output)
                                if output is not given
                                else binding.update_of(step, output, [given], one.version)
                            )
                        else:
                            given = binding.arguments(one)
                            output = await (
                                step.fn(self._context_of(one, None), *given)
                                if step.has_context
                                else step.fn(*given)
                            )
                            update = binding.update_of(step, output, given, one.version)
                    except BaseException as error:
                        ready = await self._after(strand, self._went_wrong(strand, one, error))
                    else:
                        if task.cancelling() != calm and not self._counts(strand, one):
                            return []
                        commands = run.succeeded(one, update, epoch + time())
                        if step.decides and commands:
                            commands = self._decided(one)
                        elif watchers is not None and not step.decides:
                            watchers.tell(committed(one))
                        if (
                            len(commands) == 1
                            and type(command := commands[0]) is Activation
                            and pace is None
                        ):
                            command.began = one.ended
                            one = command
                            continue
                        if not commands and pace is None:
                            break
                        ready = self._done(commands)
                        if pace is not None:
                            strand.current = None
                            await pace()
                if len(ready) > 1 and self._group is None:
                    return ready
                one = self._next_of(ready)
        finally:
            strand.node_ended()
            self._strands.discard(strand)
        return []

    async def _after(self, strand: Strand, event: Event | None) -> list[Activation]:
        """Commit what an attempt came to, and return what is ready."""
        strand.node_ended()
        if event is None:
            return []
        ready = self._told(event)
        if self.journal is not None:
            await self._make_durable()
        if self._pace is not None:
            await self._pace()
        return ready

    def _next_of(self, ready: list[Activation]) -> Activation | None:
        """What the strand goes on with; what else is ready gets strands of its own."""
        if not ready:
            return None
        one = ready.pop()
        if ready:
            self._start_all(ready)
        return one

    def _told(self, event: Event) -> list[Activation]:
        """Tell the core, do what it says at once, and return the activations that have to run."""
        return self._done(self._handled(event))

    def _done(self, commands: list[Command]) -> list[Activation]:
        """Do what the core says, and return the activations that have to run."""
        starts: list[Activation] = []
        following = 0
        while following < len(commands):
            command = commands[following]
            following += 1
            match command:
                case Activation():
                    starts.append(command)
                case Decide(activation):
                    commands += self._decided(activation)
                case Leave(activation):
                    commands += self._handled(self._left(activation))
                case RetryLater(activation, seconds):
                    self._pauses[activation] = seconds
                    starts.append(activation)
                case CancelNode(activation, reason):
                    self._cancel(activation, reason)
                case FinishRun():
                    self._stop_heartbeat()
        return [one for one in starts if one.status is RUNNING or one.status is RETRYING]

    def _handled(self, event: Event) -> list[Command]:
        """Write an event down, and give it to the core."""
        if self.journal is not None:
            event = self._noted(event)
        commands = self.run.handle(event)
        if (
            self.unsure
            and isinstance(event, NodeSucceeded | NodeFailed)
            and event.activation.is_over
        ):
            self.unsure.pop(event.activation.path, None)
        if self._watchers is not None:
            if self.journal is None:
                self._show(event)
            else:
                self._untold = added(self._untold, ((self.journal.noted, event),))
        return commands

    def _noted(self, event: Event) -> Event:
        """The event, or the failure of the node whose values cannot be written down."""
        assert self.journal is not None
        try:
            self.journal.note(event)
        except Unstorable as error:
            if not isinstance(event, NodeSucceeded | Entered):
                raise
            event = self._failed(event.activation, error)
            self.journal.note(event)
        return event

    def _show_all(self) -> None:
        """Tell watchers what is durable by now."""
        durable = self.journal.durable if self.journal is not None else 0
        told = [event for number, event in self._untold if number <= durable]
        self._untold = self._untold[len(told) :]
        for event in told:
            self._show(event)

    def _show(self, event: Event) -> None:
        told = told_of(event)
        if told is not None:
            self.tell(told)

    def _cancel(self, one: Activation, reason: str) -> None:
        for strand in self._strands:
            if strand.current is one:
                strand.stop_node()
        if self.is_watched:
            self.tell(events.Cancelled(one.path, one.step.name, reason))

    # ---- one attempt -------------------------------------------------------------------------------------------
    async def _attempt(self, strand: Strand, one: Activation) -> Event | None:
        """Run one attempt (or wait for the next one), and say what became of it; None if it was cancelled meanwhile."""
        if one.status is RETRYING:
            return await self._pause(one)
        if one.status is not RUNNING or (
            self._gate is not None and not await self._passes(self._gate, one)
        ):
            return None
        if not one.began:
            one.began = self.now()
        if self.is_watched:
            self.tell(events.Started(one.path, one.step.name, one.attempt, self.now()))
        step = one.step
        try:
            # by far the most common: without the coroutines in between
            if step.is_simple and self._is_calm and one.problem is None:
                given = binding.arguments(one)
                output = await (
                    step.fn(self._context_of(one, None), *given)
                    if step.has_context
                    else step.fn(*given)
                )
                event = NodeSucceeded(
                    one, binding.update_of(step, output, given, one.version), self.now()
                )
            else:
                event = await self._run_node(one)
        except BaseException as error:
            return self._went_wrong(strand, one, error)
        return event if self._counts(strand, one) else None

    def _went_wrong(self, strand: Strand, one: Activation, error: BaseException) -> Event | None:
        """What an exception comes to: a failure of the node, nothing if the node was cancelled, or the exception if the whole run was."""
        if not isinstance(error, Exception | asyncio.CancelledError):
            raise error
        if not self._counts(strand, one):
            return None
        if isinstance(error, binding.Unreadable):
            return self._unreadable(one, error)
        return self._failed(
            one, _by_itself(error) if isinstance(error, asyncio.CancelledError) else error
        )

    def _counts(self, strand: Strand, one: Activation) -> bool:
        """Whether what an attempt came to counts: not if its node was cancelled meanwhile. Raises if the whole run is being cancelled."""
        strand.node_ended()
        if strand.is_being_cancelled:
            raise asyncio.CancelledError
        return one.status is RUNNING

    def _unreadable(self, one: Activation, error: binding.Unreadable) -> Event:
        """A node lacks what it reads: a dead path if something went wrong before it, else a mistake that `build()` should have seen."""
        return (
            NodeSkipped(one, str(error), self.now())
            if self.run.has_gaps
            else self._failed(one, error)
        )

    async def _passes(self, gate: Callable[[Activation], Awaitable[None]], one: Activation) -> bool:
        """Wait at the gate; False if the activation was cancelled meanwhile."""
        try:
            await gate(one)
        except asyncio.CancelledError:
            if one.status is Status.RUNNING:
                raise
        return one.status is Status.RUNNING

    async def _run_node(self, one: Activation) -> Event:
        step = one.step
        if one.path in self._doubted:
            self._doubted -= {one.path}
            raise Ambiguous(
                f"'{one.path}' began and did not finish; whether it acted is not known."
            )
        if one.problem is not None:
            raise one.problem
        if step.inner_plan is not None:
            return Entered(one, binding.items_of(one), self.now())
        if step.ask is not None or (step.node.options.gate == "before" and not one.approved):
            return Asked(one, human_input.asking(one, self.now()), self.now())
        given = binding.arguments(one)
        pinned = self.settings.pins.get(one.path)
        if pinned:
            visit = self._visits[one.path] = self._visits.get(one.path, 0) + 1
            return NodeSucceeded(one, dict(pinned[min(visit, len(pinned)) - 1]), self.now())
        cache = step.node.options.cache
        key = node_cache.key_of(one, given, self.settings.model) if cache is not None else ""
        if cache is not None and (kept := self.settings.cache.get(key, self.now())) is not None:
            return NodeSucceeded(one, kept, self.now())
        if step.node.options.effect == "once":
            self.unsure[one.path] = one
            if self.journal is not None:
                self.journal.note_start(one)
                await self.journal.flush()
        if self._caller is None:
            self._caller = Caller(
                self._context_of, self._epoch, self.settings.limits.concurrency, self.record.abandon
            )
        output = await self._caller.call(one, given)
        update = binding.update_of(step, output, given, one.version)
        if cache is not None:
            self.settings.cache.put(key, update, self.now() + cache.ttl)
        return NodeSucceeded(one, update, self.now())

    def _context_of(self, one: Activation, deadline: float | None) -> NodeContext:
        """The context of an attempt, whose time ends with its own deadline or the run's."""
        ends = [each for each in (deadline, self._deadline) if each is not None]
        return NodeContext(self, one, min(ends, default=None))

    async def _pause(self, one: Activation) -> Event | None:
        """Wait for the next attempt."""
        attempt = one.attempt
        try:
            await asyncio.sleep(self._pauses.pop(one, 0.0))
        except asyncio.CancelledError:
            if one.status is Status.RETRYING:
                raise
            return None
        return RetryDue(one, attempt, self.now())

    # ---- what users' functions said ----------------------------------------------------------------------------
    def _decided(self, one: Activation) -> list[Command]:
        if one.step.approved_after and not one.approved:
            return self._handled(Asked(one, human_input.asking(one, self.now()), self.now()))
        try:
            decision = binding.decide(one)
        except Exception as error:
            return self._handled(self._failed(one, error))
        return (
            self.run.routed(one, decision)
            if self._is_private
            else self._handled(Routed(one, decision, self.now()))
        )

    def _left(self, one: Activation) -> Event:
        try:
            return NodeSucceeded(one, binding.leave(one), self.now())
        except Exception as error:
            return self._failed(one, error)

    def _failed(self, one: Activation, error: Exception) -> NodeFailed:
        one.tell(
            f"{one.path} attempt {one.attempt} failed after {max(0.0, self.now() - one.began):.3f} s: {type(error).__name__}: {error}"
        )
        handler = handler_of(one, error)
        pause = retry_after(one, error)
        options = one.step.node.options
        if (
            pause is not None
            and options.deadline is not None
            and self.now() + pause >= one.began + options.deadline
        ):
            pause = None  # the next attempt could not even begin
        self._start_grace(pause, handler)
        limit = error.limit if isinstance(error, BudgetExceeded) and handler < 0 else ""
        return NodeFailed(one, one.attempt, error, pause, handler, limit, self.now())

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
            self._timers = added(self._timers, (self._loop.call_later(grace, self._end_grace),))

    def _end_grace(self) -> None:
        self._go_on(self._told(GraceOver(self.now())))


def _of_caller(loop: asyncio.AbstractEventLoop) -> Strand:
    """The strand that runs in the task of whoever called."""
    strand, task = Strand(), asyncio.current_task(loop)
    assert task is not None
    strand.task, strand.calm = task, task.cancelling()
    return strand


def _by_itself(error: asyncio.CancelledError) -> NotCancelled:
    failure = NotCancelled(
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

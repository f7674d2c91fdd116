"""Begin, find, resume and end the runs of one flow.

A run is kept in memory, in `OpenRuns`, or in a journal. What works on an existing run goes through
`_reopen`, which finds it in either place, and everything that runs nodes goes through `drive`,
which counts the run as under way and its client as in use for exactly that long.
Modules that only a journal needs are imported when a journal is used.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel

from graphorch.clock import system_clock
from graphorch.core.events import SignalReceived, Update
from graphorch.engine.node_cache import NodeCache
from graphorch.engine.scheduler import OnAmbiguous, Scheduler
from graphorch.engine.settings import RunSettings
from graphorch.errors import InputError, WrongOutput
from graphorch.graph.plan import Plan
from graphorch.runs.clients import (
    NO_CALLS,
    ReplayClient,
    SharedClient,
    load_modules,
    open_no_calls,
    share_client,
)
from graphorch.runs.failures import list_not_undone
from graphorch.runs.options import (
    RunOptions,
    build_settings,
    check_choice,
    check_options,
    check_resources,
    check_run_id,
)
from graphorch.runs.registry import OpenRuns
from graphorch.runs.result import Result, build_result, find_asker
from graphorch.runs.stores import open_store
from graphorch.runs.work_queues import find_database
from graphorch.statuses import FINAL_STATUSES, SUCCESS_STATUSES

if TYPE_CHECKING:
    from graphorch.engine.events import RunEvent
    from graphorch.engine.questions.question_event import OnQuestion
    from graphorch.journal.records import Letter
    from graphorch.journal.store import Store
    from graphorch.runs.asked_models import AskedModels
    from graphorch.runs.durable import Claim
    from graphorch.runs.fork import Effects, RerunResult
    from graphorch.runs.left_runs import LeftRun
    from graphorch.runs.stores import Durable


class RunManager:
    """The runs of one plan: those of this process, and those that it reopens from a journal."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._open_runs = OpenRuns(plan.name)
        self._cache = NodeCache()
        self._asked_models: AskedModels | None = None

    # ---- a new run -------------------------------------------------------------------------------
    async def run(
        self,
        input: object,
        options: RunOptions,
        pace: Callable[[], Awaitable[None]] | None = None,
    ) -> Result[Any, Any]:
        """Run from START to the end. `pace` is awaited between events and slows the run down."""
        await load_modules(self._plan)
        settings = self.build_settings(options)
        update = self.build_update(input)
        self.check_needs(settings)
        durable, after = options.get("durable", False), options.get("after", "")
        if durable is False:
            if after:
                raise InputError(
                    f"after={after!r} needs the journal that holds that run. "
                    'Pass durable=True, or durable="its path".'
                )
            if self._plan.shared_regions:
                raise self._build_regions_refusal()
            scheduler = Scheduler(self._plan, settings, pace=pace)
            await self.drive(scheduler, scheduler.begin(update))
            return build_result(scheduler)
        from graphorch.runs.durable import begin, build_next_turn, releasing

        async with open_store(durable) as store:
            if after:
                update = await build_next_turn(store, self._plan, after, update)
            journal = await begin(store, self._plan, settings, update, after)
            scheduler = Scheduler(self._plan, settings, pace=pace, journal=journal)
            async with releasing(journal):
                await self.drive(scheduler, scheduler.begin(update))
            return build_result(scheduler)

    def _build_regions_refusal(self) -> InputError:
        """Return the error about a run in memory, which cannot keep out the runs of a journal."""
        name = min(self._plan.shared_regions)
        return InputError(
            f"The nodes of region '{name}' of flow '{self._plan.name}' are exclusive across the "
            "runs of a journal, and a run in memory has none. "
            'Pass durable=True, or durable="its path".'
        )

    def build_settings(self, options: RunOptions) -> RunSettings:
        """Return the checked settings of a run. Raises `InputError`."""
        check_options(options)
        durable = options["durable"] if "durable" in options else False  # noqa: SIM401  every call counts here
        client = share_client(self._plan, options.get("client"), options.get("budget"), durable)
        return build_settings(self._plan, options, client, self._cache)

    def check_needs(self, settings: RunSettings) -> None:
        """Raise `InputError` unless a run has all that its nodes need: resources and models."""
        check_resources(self._plan, settings.resources)
        if not self._plan.can_ask:
            return
        if self._asked_models is None:
            from graphorch.runs.asked_models import AskedModels

            self._asked_models = AskedModels(self._plan)
        self._asked_models.check(settings)

    def build_update(self, input: object) -> Update:
        """Return the input of a run as the first update of its state. Raises `InputError`."""
        plan = self._plan
        expected = plan.input.__name__
        if not isinstance(input, plan.input):
            got = f"the class {input.__name__}" if isinstance(input, type) else type(input).__name__
            raise InputError(
                f"Flow '{plan.name}' takes a {expected}, got {got}. Write flow.run({expected}(…))."
            )
        try:
            return plan.read_input.update(input)
        except WrongOutput as error:
            raise InputError(f"The input of flow '{plan.name}' does not fit: {error}") from error

    # ---- a run that is left to workers -----------------------------------------------------------
    async def submit(self, input: object, priority: int, delay: float, options: RunOptions) -> str:
        """Record a new run, and leave it to workers; return its id."""
        from graphorch.runs.durable import build_next_turn
        from graphorch.runs.submission import check_submitted, submit
        from graphorch.runs.work_queues import open_queue, require_database

        check_submitted(options, priority, delay)
        durable, after = options.get("durable", True), options.get("after", "")
        require_database(durable, "submit()")
        await load_modules(self._plan)
        settings = self.build_settings({**options, "client": open_no_calls()})
        update = self.build_update(input)
        async with open_store(durable) as store:
            queue = await open_queue(store)
            if after:
                update = await build_next_turn(store, self._plan, after, update)
            place = await submit(store, self._plan, settings, update, after, priority)
            if place is not None:
                await queue.place(place, delay)
        return settings.run_id

    async def wait(self, run_id: str, durable: Durable) -> Result[Any, Any]:
        """Return the result of a run of a journal once it is at rest, whatever drives it."""
        from graphorch.runs.left_runs import wait_for_rest
        from graphorch.runs.mailbox import read_run

        async with self._find_left_run(run_id, durable) as left:
            is_left = left is not None
        async with open_store(durable) as store:
            await wait_for_rest(store, run_id, is_left=is_left)
            return build_result(await read_run(store, self._plan, run_id))

    @asynccontextmanager
    async def _find_left_run(self, run_id: str, durable: Durable) -> AsyncGenerator[LeftRun | None]:
        """Yield a run that is left to workers; None for any other run, in memory or in a file."""
        check_run_id("run_id", run_id)
        if not find_database(durable):
            yield None
            return
        from graphorch.runs.left_runs import find_left_run

        async with find_left_run(durable, run_id) as left:
            yield left

    async def _post_answer(
        self, left: LeftRun, question: object, answer: BaseModel, options: RunOptions
    ) -> Letter:
        from graphorch.runs.mailbox import build_answer_letter, read_run

        clock = options.get("clock") or system_clock
        seen = await read_run(left.store, self._plan, left.run_id)
        return await left.post(build_answer_letter(seen, question, answer, clock()))

    async def _post_signal(self, left: LeftRun, sent: SignalReceived, id: str) -> Letter:
        from graphorch.engine.mailbox.letter_reader import require_open
        from graphorch.runs.mailbox import build_signal_letter, read_run

        require_open((await read_run(left.store, self._plan, left.run_id)).run, "signal")
        return await left.post(build_signal_letter(self._plan, left.run_id, sent, id))

    async def _await_left(self, left: LeftRun, letter: Letter) -> Result[Any, Any]:
        """Return the result of a run once a worker has taken a letter in and it is at rest."""
        from graphorch.runs.left_runs import wait_for_rest
        from graphorch.runs.mailbox import read_run

        await left.settle(letter, wait=True)
        await wait_for_rest(left.store, left.run_id)
        return build_result(await read_run(left.store, self._plan, left.run_id))

    async def _cancel_left(self, left: LeftRun, run_id: str, *, wait: bool) -> list[str]:
        from graphorch.engine.mailbox.letter_reader import require_open
        from graphorch.runs.left_runs import wait_for_rest
        from graphorch.runs.mailbox import build_letter, read_run

        require_open((await read_run(left.store, self._plan, run_id)).run, "cancel")
        await left.settle(await left.post(build_letter(run_id, "cancel", {})), wait=wait)
        if not wait:
            return []
        await wait_for_rest(left.store, run_id)
        return list_not_undone(await read_run(left.store, self._plan, run_id), undo=True)

    # ---- an existing run -------------------------------------------------------------------------
    async def answer(
        self, run_id: str, question: object, answer: BaseModel, options: RunOptions
    ) -> Result[Any, Any]:
        """Answer an open question of a run, and resume the run, or wait for its owner."""
        async with self._find_left_run(run_id, options.get("durable", False)) as left:
            if left is not None:
                letter = await self._post_answer(left, question, answer, options)
                return await self._await_left(left, letter)
        async with self._try_reopen(run_id, options) as scheduler:
            if scheduler is not None and not await scheduler.needs_mail():
                activation = find_asker(scheduler, question)
                self.check_needs(scheduler.settings)
                await self.drive(scheduler, scheduler.answer(activation, answer))
                return build_result(scheduler)
            if scheduler is not None:
                return await self._answer_by_letter(scheduler, question, answer)
        return await self._answer_owner(run_id, question, answer, options)

    async def _answer_by_letter(
        self, scheduler: Scheduler, question: object, answer: BaseModel
    ) -> Result[Any, Any]:
        """Answer after the letters that came before, in a run that is driven from here on."""
        from graphorch.runs.mailbox import build_answer_letter, read_outcome

        assert scheduler.journal is not None
        self.check_needs(scheduler.settings)
        store, given_at = scheduler.journal.store, scheduler.settings.clock()
        letter = await store.post(build_answer_letter(scheduler, question, answer, given_at))
        await self.drive(scheduler, scheduler.take_in())
        await read_outcome(store, letter)
        return build_result(scheduler)

    async def _answer_owner(
        self, run_id: str, question: object, answer: BaseModel, options: RunOptions
    ) -> Result[Any, Any]:
        """Send an answer to the owner of a run, and return the result of the run.

        If its owner is gone before it has come to rest, the run is driven here.
        """
        from graphorch.runs.mailbox import build_answer_letter, read_run

        given_at = self.build_settings(options).clock()
        async with open_store(options.get("durable", False)) as store:
            seen = await read_run(store, self._plan, run_id)
            letter = await store.post(build_answer_letter(seen, question, answer, given_at))
            return await self._follow_letter(store, letter, options)

    async def _follow_letter(
        self, store: Store, letter: Letter, options: RunOptions
    ) -> Result[Any, Any]:
        """Return the result of a run once it has taken a letter in and is at rest.

        The owner of the run takes it in; if there is none, the run is driven here.
        """
        from graphorch.runs.mailbox import (
            PAUSE,
            read_outcome,
            read_run,
            wait_for_outcome,
            wait_for_rest,
        )

        run_id = letter.run_id
        while True:
            if await wait_for_outcome(store, letter):
                await wait_for_rest(store, run_id)
                seen = await read_run(store, self._plan, run_id)
                if seen.run.status != "running":
                    return build_result(seen)
            async with self._try_reopen(run_id, options) as scheduler:
                if scheduler is None:  # by the clock of its owner it has one
                    await asyncio.sleep(PAUSE)
                    continue
                if scheduler.journal is not None:
                    self.check_needs(scheduler.settings)
                    await self.drive(scheduler, scheduler.take_in())
                await read_outcome(store, letter)
                return build_result(scheduler)

    async def send(
        self, run_id: str, signal: object, value: object, key: str, id: str, options: RunOptions
    ) -> Result[Any, Any]:
        """Send a signal to a run, and return the result of the run once it is at rest."""
        check_run_id("run_id", run_id)
        from graphorch.engine.mailbox.expected_signals import build_signal

        durable = options.get("durable", False)
        sent = build_signal(self._plan, signal, value, key, self.build_settings(options).clock())
        async with self._find_left_run(run_id, durable) as left:
            if left is not None:
                return await self._await_left(left, await self._post_signal(left, sent, id))
        if durable is False:
            async with self._reopen(run_id, options) as scheduler:
                self.check_needs(scheduler.settings)
                await self.drive(scheduler, scheduler.send(sent))
                return build_result(scheduler)
        from graphorch.runs.mailbox import build_signal_letter

        async with open_store(durable) as store:
            letter = await store.post(build_signal_letter(self._plan, run_id, sent, id))
            return await self._follow_letter(store, letter, options)

    async def send_signal(
        self,
        run_id: str,
        signal: object,
        value: object,
        key: str,
        id: str,
        durable: Durable,
        *,
        wait: bool,
    ) -> None:
        """Send a signal to the owner of a run, now or later."""
        check_run_id("run_id", run_id)
        from graphorch.engine.mailbox.expected_signals import build_signal
        from graphorch.engine.mailbox.letter_reader import require_open
        from graphorch.runs.mailbox import build_signal_letter, read_run, require_taken

        async with self._find_left_run(run_id, durable) as left:
            if left is not None:
                sent = build_signal(self._plan, signal, value, key, system_clock())
                await left.settle(await self._post_signal(left, sent, id), wait=wait)
                return
        async with open_store(durable) as store:
            seen = await read_run(store, self._plan, run_id)
            require_open(seen.run, "signal")
            sent = build_signal(self._plan, signal, value, key, seen.settings.clock())
            letter = await store.post(build_signal_letter(self._plan, run_id, sent, id))
            if wait:
                await require_taken(store, letter)

    async def send_answer(
        self, run_id: str, question: object, answer: BaseModel, durable: Durable, *, wait: bool
    ) -> None:
        """Send an answer to the owner of a run, now or later."""
        check_run_id("run_id", run_id)
        from graphorch.runs.mailbox import build_answer_letter, read_run, require_taken

        async with self._find_left_run(run_id, durable) as left:
            if left is not None:
                letter = await self._post_answer(left, question, answer, RunOptions())
                await left.settle(letter, wait=wait)
                return
        async with open_store(durable) as store:
            seen = await read_run(store, self._plan, run_id)
            given_at = seen.settings.clock()
            letter = await store.post(build_answer_letter(seen, question, answer, given_at))
            if wait:
                await require_taken(store, letter)

    async def send_stop(
        self, run_id: str, durable: Durable, reason: str, *, now: bool, wait: bool
    ) -> None:
        """Ask the owner of a run to stop it."""
        check_run_id("run_id", run_id)
        from graphorch.runs.mailbox import build_letter, require_taken, send_stop

        async with self._find_left_run(run_id, durable) as left:
            if left is not None and await left.is_under_way():
                stop = build_letter(run_id, "stop", {"reason": reason, "now": now})
                await left.settle(await left.post(stop), wait=wait)
                return
        async with open_store(durable) as store:
            letter = await send_stop(store, run_id, reason, now=now)
            if wait:
                await require_taken(store, letter)

    async def resume(
        self, run_id: str, ambiguous: OnAmbiguous, options: RunOptions
    ) -> Result[Any, Any]:
        """Resume a run, or return the result of one that has succeeded meanwhile."""
        check_choice("ambiguous", ambiguous, get_args(OnAmbiguous))
        async with self._reopen(run_id, options) as scheduler:
            if scheduler.run.status not in SUCCESS_STATUSES:
                self.check_needs(scheduler.settings)
                await self.drive(scheduler, scheduler.resume(ambiguous))
            return build_result(scheduler)

    async def take_in(self, run_id: str, options: RunOptions) -> None:
        """Take in the letters of a run of a journal, and go on with what follows from them.

        A run whose process is gone is resumed. Raises `LeaseHeld` if another owner drives the run.
        """
        async with self._reopen(run_id, options) as scheduler:
            if scheduler.journal is not None:
                self.check_needs(scheduler.settings)
                await self.drive(scheduler, scheduler.take_in())

    def stop(self, run_id: str, *, now: bool, reason: str) -> None:
        """Ask an open run of this process to stop."""
        check_run_id("run_id", run_id)
        self._open_runs.find(run_id).request_stop(reason, now=now)

    async def cancel(
        self,
        run_id: str,
        durable: Durable,
        on_question: OnQuestion | None,
        resources: object,
        *,
        wait: bool,
        undo: bool,
    ) -> list[str]:
        """Cancel a run for good, also one that is under way; return what stays committed.

        Raises `InputError` if it is over, and `RunFailed` if something could not be undone.
        """
        options = RunOptions() if resources is None else RunOptions(resources=resources)
        if on_question is not None:
            options["on_question"] = on_question
            check_options(options)
        if durable is False:
            return await self._cancel_here(run_id, options, wait=wait, undo=undo) or []
        kept: RunOptions = {**options, "durable": durable, "client": NO_CALLS}  # none is configured
        from graphorch.runs.mailbox import cancel_with_owner, read_run

        if undo and self._plan.has_undos:  # workers have what its undos need
            async with self._find_left_run(run_id, durable) as left:
                if left is not None:
                    return await self._cancel_left(left, run_id, wait=wait)
        cancel = partial(self._cancel_here, run_id, kept, wait=wait, undo=undo)
        async with open_store(durable) as store:
            kept_back = await cancel_with_owner(store, run_id, cancel, wait=wait, undo=undo)
            if kept_back is None and wait and self._plan.has_undos:
                kept_back = list_not_undone(await read_run(store, self._plan, run_id), undo=undo)
        return kept_back or []

    async def _cancel_here(
        self, run_id: str, options: RunOptions, *, wait: bool, undo: bool
    ) -> list[str] | None:
        """Cancel a run of this process, or one of a journal. Raises `LeaseHeld`."""
        async with self._reopen(run_id, options) as scheduler:
            if undo and self._plan.has_undos:
                check_resources(self._plan, scheduler.settings.resources)
            await self._cancel_open_run(scheduler, wait=wait, undo=undo)
            if scheduler.is_under_way or not self._plan.has_undos:
                return None
            return list_not_undone(scheduler, undo=undo)

    async def _cancel_open_run(self, scheduler: Scheduler, *, wait: bool, undo: bool) -> None:
        was_under_way = scheduler.is_under_way
        if was_under_way:
            scheduler.request_stop("cancelled", now=True, status="cancelled", undo=undo)
            if not wait:
                return
            await scheduler.wait_until_idle()
        status = scheduler.run.status
        if status == "cancelled" and was_under_way:
            return
        if status in FINAL_STATUSES:
            raise InputError(
                f"Run {scheduler.run.run_id} is {status}: there is nothing left to cancel."
            )
        self._open_runs.begin(scheduler)
        try:
            await scheduler.cancel(undo=undo)
        finally:
            self._open_runs.end(scheduler)

    # ---- a run that is read, or changed in a copy ------------------------------------------------
    async def replay(self, run_id: str, durable: Durable) -> Result[Any, Any]:
        """Replay a run from its journal: pure functions are called again, nodes and models not."""
        check_run_id("run_id", run_id)
        from graphorch.engine.replay import verify
        from graphorch.runs.durable import check_log, check_outcome

        async with open_store(durable) as store:
            log = await store.load(run_id)
            migrated = check_log(log, self._plan)
            replayed = verify(self._plan, run_id, migrated.records, adopted=migrated.adopted)
            check_outcome(log.head, replayed)
            settings = RunSettings(client=ReplayClient(), run_id=run_id)
            return build_result(Scheduler.from_records(self._plan, settings, replayed, None))

    async def follow(
        self, run_id: str, durable: Durable, after: int, *, through_waits: bool
    ) -> AsyncGenerator[RunEvent]:
        """Yield the events of a run in a journal, as its records come."""
        check_run_id("run_id", run_id)
        from graphorch.runs.follower import check_after, open_follower

        check_after(after)
        async with open_follower(durable, self._plan, run_id) as follower:
            events = follower.follow(after=after, through_waits=through_waits)
            async with aclosing(events):
                async for event in events:
                    yield event

    async def rerun(
        self,
        run_id: str,
        start: str,
        output: BaseModel | tuple[BaseModel, ...] | None,
        model: str,
        effects: Effects,
        durable: Durable,
        options: RunOptions,
    ) -> RerunResult[Any, Any]:
        """Run a fork in which the activation at `start` runs again, or gives `output` instead."""
        check_run_id("run_id", run_id)
        from graphorch.runs.durable import releasing
        from graphorch.runs.fork import Effects, RerunResult, build_edit, fork

        check_options(RunOptions(model=model))
        check_choice("effects", effects, get_args(Effects))
        await load_modules(self._plan)
        async with open_store(durable) as store:
            settings = self.build_settings(options)
            forked = await fork(
                store,
                self._plan,
                run_id,
                start,
                settings,
                effects,
                model=model,
                check=self.check_needs,
            )
            scheduler, change = forked.scheduler, forked.change
            async with releasing(scheduler.journal):
                if output is not None:
                    scheduler.edit(change, build_edit(change, output))
                await self.drive(scheduler, scheduler.begin_recorded())
            return RerunResult(build_result(scheduler), forked.difference())

    async def fork(self, run_id: str, start: str, durable: Durable, options: RunOptions) -> str:
        """Copy a run up to `start` into a new one that is stopped there; return its id."""
        check_run_id("run_id", run_id)
        check_options(options)
        from graphorch.runs.durable import releasing
        from graphorch.runs.fork import fork

        async with open_store(durable) as store:
            # The budgets, models and keys of the configuration are those of whoever resumes it.
            settings = self.build_settings({**options, "client": open_no_calls()})
            forked = await fork(store, self._plan, run_id, start, settings, "repeat")
            async with releasing(forked.scheduler.journal):
                await forked.scheduler.leave("forked")
            return forked.scheduler.run.run_id

    # ---- how a run is found and driven -----------------------------------------------------------
    @asynccontextmanager
    async def _try_reopen(
        self, run_id: str, options: RunOptions
    ) -> AsyncGenerator[Scheduler | None]:
        """Yield the scheduler of an existing run, or None if another owner drives it."""
        from graphorch.journal.errors import LeaseHeld

        async with AsyncExitStack() as stack:
            try:
                scheduler = await stack.enter_async_context(self._reopen(run_id, options))
            except LeaseHeld:
                scheduler = None
            yield scheduler

    def take(
        self, run_id: str, options: RunOptions, claim: Claim
    ) -> AbstractAsyncContextManager[Scheduler]:
        """Return a context with the scheduler of a stored run, as a worker takes it.

        It has to be driven or left there. Raises `LeaseHeld` if another owner drives the run.
        """
        return self._reopen(run_id, options, claim)

    @asynccontextmanager
    async def _reopen(
        self, run_id: str, options: RunOptions, claim: Claim | None = None
    ) -> AsyncGenerator[Scheduler]:
        """Yield the scheduler of an existing run: the one in memory, or one of its records.

        Raises `LeaseHeld` for a run that another owner drives.
        """
        check_run_id("run_id", run_id)
        if after := options.get("after"):
            raise InputError(
                f"after={after!r} begins a new run, but run {run_id} exists already. "
                "Pass it to run(…) instead."
            )
        await load_modules(self._plan)
        durable = options.get("durable", False)
        if durable is False:
            yield self._find_in_memory(run_id, options)
            return
        from graphorch.runs.durable import releasing, reopen

        settings = self.build_settings({**options, "run_id": run_id})
        async with open_store(durable) as store:
            on_failure = options.get("on_failure")
            scheduler = await reopen(store, self._plan, settings, on_failure, claim)
            async with releasing(scheduler.journal):
                yield scheduler

    def _find_in_memory(self, run_id: str, options: RunOptions) -> Scheduler:
        scheduler = self._open_runs.find(run_id)
        if options:
            from graphorch.runs.durable import merge_settings

            before = scheduler.settings
            kept = RunOptions(
                client=before.client,
                resources=before.resources,
                tags=before.tags,
                watch=before.watchers,
                clock=before.clock,
                on_alert=before.on_alert,
                on_question=before.on_question,
            )
            given: RunOptions = {**kept, **options, "run_id": run_id}
            settings = self.build_settings(given)
            scheduler.change(merge_settings(scheduler, settings, options.get("on_failure")))
        return scheduler

    async def drive(self, scheduler: Scheduler, work: Coroutine[Any, Any, None]) -> None:
        """Await the work of a run, which is open and holds its client meanwhile."""
        try:
            client = self._acquire(scheduler)
        except InputError:
            work.close()
            raise
        try:
            await self._prepare(client, work)
            await work
        finally:
            self._open_runs.end(scheduler)
            await client.end()

    async def _prepare(self, client: SharedClient, work: Coroutine[Any, Any, None]) -> None:
        """Prepare the client of a run that may ask a model, before the time of any node runs."""
        if not self._plan.can_ask:
            return
        try:
            await client.prepare()
        except BaseException:
            work.close()
            raise

    def _acquire(self, scheduler: Scheduler) -> SharedClient:
        """Count a run as under way, and return its client, to be ended with it."""
        client = scheduler.settings.client
        shared = client if isinstance(client, SharedClient) else share_client(self._plan, client)
        self._open_runs.begin(scheduler)
        shared.begin()
        return shared

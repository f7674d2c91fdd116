"""Runs that requests begin, answer and wait for; each outlives the request that began it.

Requests are calls of tools by an MCP client, and those of the HTTP API.

1. A run is in the journal, and tasks of this process work on it: one that drives it, and one for
   each answer. A call only waits for them: it may end, or be cancelled, meanwhile.
2. What is true of a run is in its records, so that a call finds it after a restart of the server,
   and one that another process works on.
3. A run that a server left, because it crashed or was stopped, goes on with the next call for it.
   One that failed, or reached a limit, is resumed by a person.
4. The first answer to a question counts. It may come while other nodes of the run are under way.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, TypeAlias, cast

from pydantic import BaseModel

from graphorch.engine.events import Committed, QuestionAsked, RunEvent
from graphorch.engine.scheduler import Scheduler
from graphorch.engine.settings import RunSettings
from graphorch.errors import Expired, InputError, QuestionClosed, RunFailed
from graphorch.flow.flow import Flow
from graphorch.journal.errors import LeaseHeld, RunNotFound
from graphorch.journal.records import Letter
from graphorch.runs.clients import ReplayClient
from graphorch.runs.durable import rebuild_run
from graphorch.runs.mailbox import read_outcome
from graphorch.runs.manager import RunManager
from graphorch.runs.options import RunOptions
from graphorch.runs.result import Question, Result, build_question, build_result
from graphorch.runs.stores import open_store
from graphorch.statuses import FINAL_STATUSES

_logger = logging.getLogger(__name__)

AnyFlow: TypeAlias = Flow[Any, Any, Any]
Outcome: TypeAlias = "Result[Any, Any] | RunFailed"
"""A run at rest: it reached its end or waits for people, or it failed or was stopped."""

SERVER_ENDED: Final = "the MCP server ended"
CALL_CANCELLED: Final = "the MCP client cancelled its call"
_GOES_ON: Final = frozenset({SERVER_ENDED, CALL_CANCELLED})
"""Reasons for which a server stopped a run; the next call for it lets it go on."""

_LOOK_SECONDS: Final = 0.5  # between two looks at a run that another process works on
_STORE_SECONDS: Final = 0.02  # between two looks whether a run is stored
_REST_SECONDS: Final = 0.2  # for a run that asks to come to rest
_Task: TypeAlias = "asyncio.Task[bool]"

Start: TypeAlias = Callable[[RunManager, RunOptions], Coroutine[Any, Any, Any]]
"""What is to be done for a run: begun by the manager of its flow, with the options of all runs."""


@dataclass(frozen=True, slots=True)
class RunView:
    """A run as its records show it.

    `outcome` is there if it is at rest. It is `adrift` if a server left it in the middle. `open`
    are its open questions, also those of a run under way.
    """

    outcome: Outcome | None
    is_adrift: bool
    open: Mapping[str, Question]


@dataclass(slots=True)
class _Work:
    """What this process does for a run: its tasks, the questions that they answer, its progress."""

    manager: RunManager
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    tasks: set[_Task] = field(default_factory=set[_Task])
    answering: set[str] = field(default_factory=set[str])
    has_begun: bool = False  # something of the run has happened in this process
    has_asked: bool = False  # since a leg last looked
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    steps: int = 0
    last_path: str = ""

    def watch(self, event: RunEvent) -> None:
        self.has_begun = True
        if isinstance(event, Committed):
            self.steps += 1
            self.last_path = event.path
        elif isinstance(event, QuestionAsked):
            self.has_asked = True
            self.changed.set()


class ServedRuns:
    """The runs of one journal that this process works on or looks at.

    `durable` is the path of the journal, and `options` are those of every run, of `RunOptions`.
    `watch` is called with the id of a run and each of its events.
    """

    def __init__(
        self,
        durable: str,
        options: Mapping[str, Any],
        watch: Callable[[str, RunEvent], None] | None = None,
    ) -> None:
        self._durable = durable
        self._options = options
        self._watch = watch
        self._works: dict[str, _Work] = {}
        self._managers: dict[AnyFlow, RunManager] = {}

    def check(self, flow: AnyFlow) -> None:
        """Raise `InputError` unless the runs of a flow will have their models and resources."""
        manager = self._find_manager(flow)
        manager.check_needs(manager.build_settings(RunOptions(**self._options)))

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[None]:
        """Keep the journal open meanwhile: opening it for each call takes longer than a short run.

        At the end, wait until every run that this process works on is at rest.
        """
        async with open_store(self._durable):
            try:
                yield
            finally:
                await self._finish()

    # ---- work ------------------------------------------------------------------------------------
    def begin(
        self, flow: AnyFlow, value: BaseModel, run_id: str, tags: Mapping[str, str]
    ) -> _Task | None:
        """Begin a run; return None if this process works on a run of that id already."""
        if run_id in self._works:
            return None
        work = self._works[run_id] = _Work(self._find_manager(flow), tags)
        options: RunOptions = {**self._build_options(run_id, work), "tags": tags, "run_id": run_id}
        return self._employ(run_id, work, _drive(work.manager.run(value, options)))

    def is_at_work(self, run_id: str) -> bool:
        """Return whether this process does something for a run."""
        return run_id in self._works

    def has_begun(self, run_id: str) -> bool:
        """Return whether something of a run has happened in this process since it works on it."""
        work = self._works.get(run_id)
        return work is not None and work.has_begun

    def employ(self, flow: AnyFlow, run_id: str, start: Start) -> _Task:
        """Have something done for a run of a flow, until the run is at rest.

        The task raises what keeps it from being done; how the run ends is in its records.
        """
        work = self._works.get(run_id) or _Work(self._find_manager(flow))
        self._works[run_id] = work
        coroutine = _await_rest(start(work.manager, self._build_options(run_id, work)))
        return self._employ(run_id, work, coroutine)

    def settle(self, flow: AnyFlow, letter: Letter, own: RunOptions) -> _Task:
        """See to it that a letter is taken in: by the owner of its run, or here if it has none.

        `own` replaces options of all runs.
        """

        def start(manager: RunManager, options: RunOptions) -> Coroutine[Any, Any, None]:
            return self._settle(manager, letter, {**options, **own})

        return self.employ(flow, letter.run_id, start)

    async def _settle(self, manager: RunManager, letter: Letter, options: RunOptions) -> None:
        pause = _STORE_SECONDS
        async with open_store(self._durable) as store:
            # A letter that was refused is settled as well: who sent it reads why.
            with suppress(InputError, Expired):
                while not await read_outcome(store, letter):
                    if not (await store.read_head(letter.run_id)).is_under_way:
                        with suppress(LeaseHeld):
                            await manager.take_in(letter.run_id, options)
                            return
                    await asyncio.sleep(pause)
                    pause = min(_LOOK_SECONDS, 1.5 * pause)

    def answer(self, flow: AnyFlow, run_id: str, question: str, answer: BaseModel) -> _Task | None:
        """Answer an open question; the task tells whether the answer counts.

        Return None if this process gives another answer to it already.
        """
        work = self._works.get(run_id) or _Work(self._find_manager(flow))
        if question in work.answering:
            return None
        self._works[run_id] = work
        work.answering.add(question)
        task = self._employ(run_id, work, self._give(flow, work, run_id, question, answer))
        task.add_done_callback(partial(_reopen_if_failed, work, question))
        return task

    async def _give(
        self, flow: AnyFlow, work: _Work, run_id: str, question: str, answer: BaseModel
    ) -> bool:
        """Return whether an answer counts."""
        try:
            await work.manager.answer(run_id, question, answer, self._build_options(run_id, work))
        except RunFailed:
            return True
        except (QuestionClosed, Expired):
            return False
        except InputError:
            # Another answer may have come since somebody looked, and the run may be over.
            view = await self._read(flow, run_id)
            if question in view.open:
                raise
            return False
        return True

    def count_under_way(self) -> int:
        """Return how many runs this process works on."""
        return len(self._works)

    def get_progress(self, run_id: str) -> tuple[int, str]:
        """Return how many nodes committed since this process works on a run, and the last one."""
        work = self._works.get(run_id)
        return (0, "") if work is None else (work.steps, work.last_path)

    def _find_manager(self, flow: AnyFlow) -> RunManager:
        """Return the manager of the runs of a flow here, which stops them too."""
        return self._managers.setdefault(flow, RunManager(flow.plan))

    def _build_options(self, run_id: str, work: _Work) -> RunOptions:
        watch: list[Callable[[RunEvent], None]] = [work.watch]
        if self._watch is not None:
            watch.append(partial(self._watch, run_id))
        options = {**self._options, "durable": self._durable, "watch": watch}
        return cast("RunOptions", options)

    def _employ(self, run_id: str, work: _Work, coroutine: Coroutine[Any, Any, bool]) -> _Task:
        """Start a task for a run; how the run ends is in its records."""
        task = asyncio.create_task(coroutine, name=f"run {run_id}")
        work.tasks.add(task)
        task.add_done_callback(partial(self._end, run_id, work))
        return task

    def _end(self, run_id: str, work: _Work, task: _Task) -> None:
        work.tasks.discard(task)
        work.changed.set()
        if not work.tasks:
            del self._works[run_id]
        # Perhaps no call waits for it any more.
        if not task.cancelled() and (error := task.exception()) is not None:
            _logger.error("%s: %s", task.get_name(), error)

    # ---- wait ------------------------------------------------------------------------------------
    async def follow(
        self,
        flow: AnyFlow,
        run_id: str,
        seconds: float,
        *,
        asks: bool = True,
        tasks: Sequence[_Task] = (),
    ) -> RunView | None:
        """Return a run once it is at rest, or asks something with `asks`; None after some seconds.

        A run that a server left, or that waits for a time which has come, goes on. Raises what one
        of `tasks` raised, and as `look` does.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while True:
            for task in tasks:
                if task.done() and not task.cancelled():
                    task.result()
            view = await self._look_if_needed(flow, run_id, asks=asks)
            work = self._works.get(run_id)
            if view is not None:
                is_due = _is_due(view.outcome)
                is_at_rest = view.outcome is not None and work is None and not is_due
                if is_at_rest or (asks and view.open):
                    return view
                if (view.is_adrift or is_due) and work is None:
                    work = self._works[run_id] = _Work(self._find_manager(flow))
                    resuming = work.manager.resume(
                        run_id, "stop", self._build_options(run_id, work)
                    )
                    self._employ(run_id, work, _drive(resuming))
            left = deadline - loop.time()
            if left <= 0:
                return None
            await _pause(work, left)

    async def wait_until_stored(self, run_id: str, beginning: _Task) -> None:
        """Return once a run that a task begins is in the journal, or the task has ended.

        Before that, a server that ends would leave nothing that its client could ask for.
        """
        while not beginning.done():
            async with open_store(self._durable) as store:
                with suppress(RunNotFound):
                    if (await store.read_head(run_id)).last_seq:
                        return
            await asyncio.sleep(_STORE_SECONDS)

    async def wait_until_taken(self, flow: AnyFlow, run_id: str) -> None:
        """Return once the answers that this process gives are in the records, or have failed."""
        while (work := self._works.get(run_id)) is not None:
            view = await self._read(flow, run_id)
            if not work.answering & view.open.keys():
                return
            await asyncio.sleep(_STORE_SECONDS)

    async def _look_if_needed(self, flow: AnyFlow, run_id: str, *, asks: bool) -> RunView | None:
        """Return a run as its records show it, unless it is under way here with nothing to ask."""
        work = self._works.get(run_id)
        if work is None:
            return await self.look(flow, run_id)
        work.changed.clear()
        if not (asks and work.has_asked):
            return None
        work.has_asked = False
        # A run that only waits from here on is at rest in a moment, and is better answered then.
        await asyncio.wait(work.tasks, timeout=_REST_SECONDS)
        view = await self.look(flow, run_id)
        # As long as one is open, every call for the run looks again.
        work.has_asked = work.has_asked or bool(view.open)
        return view

    # ---- look ------------------------------------------------------------------------------------
    async def find_tags(self, run_id: str) -> Mapping[str, str] | None:
        """Return the tags of a run; None if there is no such run."""
        if (work := self._works.get(run_id)) is not None and work.tags:
            return work.tags
        async with open_store(self._durable) as store:
            try:
                return (await store.load(run_id)).head.tags
            except RunNotFound:
                return None

    async def look(self, flow: AnyFlow, run_id: str) -> RunView:
        """Return a run as its records show it, without the questions that are being answered here.

        Raises as `_read` does.
        """
        view = await self._read(flow, run_id)
        work = self._works.get(run_id)
        if work is None:
            return view
        questions = {key: each for key, each in view.open.items() if key not in work.answering}
        return replace(view, open=questions)

    async def _read(self, flow: AnyFlow, run_id: str) -> RunView:
        """Return a run as its records show it.

        Raises `InputError` for a run that is not in the journal, `JournalError` and
        `ReplayDiverged`.
        """
        async with open_store(self._durable) as store:
            try:
                head, rebuilt = await rebuild_run(store, flow.plan, run_id)
            except RunNotFound:
                raise InputError(
                    f"Run {run_id} is not in the journal: it was pruned, or the journal is another "
                    "one. Call the tool without requestState to begin a new run."
                ) from None
        settings = RunSettings(client=ReplayClient(), run_id=run_id)
        scheduler = Scheduler.from_records(flow.plan, settings, rebuilt, None)
        is_over = scheduler.run.status in FINAL_STATUSES
        askers = [] if is_over else scheduler.open_questions()
        is_held = head.is_under_way
        run = scheduler.run
        is_left = run.status == "running" or (run.status == "stopped" and run.reason in _GOES_ON)
        outcome = None if is_held or is_left else _read_outcome(scheduler)
        questions = {asker.id: build_question(asker) for asker in askers}
        return RunView(outcome, is_left and not is_held, questions)

    # ---- stop ------------------------------------------------------------------------------------
    def stop(self, run_id: str, reason: str, *, now: bool = False) -> bool:
        """Stop a run that this process works on: nothing new starts. It can be resumed.

        Return whether this process drives it.
        """
        work = self._works.get(run_id)
        if work is None:
            return False
        try:
            work.manager.stop(run_id, now=now, reason=reason)
        except InputError:  # it has not begun yet, or is over already, or another process drives it
            for task in work.tasks:
                task.cancel()
            return False
        return True

    async def wait_for_all(self, seconds: float) -> bool:
        """Return whether every run that this process works on comes to rest within some seconds."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._finish(), seconds)
        return not self._works

    async def _finish(self) -> None:
        while tasks := [task for work in self._works.values() for task in work.tasks]:
            await asyncio.wait(tasks)

    def stop_all(self, reason: str, *, now: bool = False) -> list[str]:
        """Stop every run that this process works on; return those that it drives."""
        return [run_id for run_id in list(self._works) if self.stop(run_id, reason, now=now)]


def _reopen_if_failed(work: _Work, question: str, task: _Task) -> None:
    """Let a question be asked again whose answer could not be given."""
    if task.cancelled() or task.exception() is not None:
        work.answering.discard(question)


async def _drive(coroutine: Coroutine[Any, Any, Result[Any, Any]]) -> bool:
    """Wait until a run is at rest, or another process drives it; return True."""
    with suppress(RunFailed, LeaseHeld):
        await coroutine
    return True


async def _await_rest(coroutine: Coroutine[Any, Any, Any]) -> bool:
    """Wait until a run is at rest; return True."""
    with suppress(RunFailed):
        await coroutine
    return True


async def _pause(work: _Work | None, seconds: float) -> None:
    """Wait until something changes for a run under way here, or until another look at it is due."""
    if work is None:
        await asyncio.sleep(min(seconds, _LOOK_SECONDS))
        return
    with suppress(TimeoutError):
        await asyncio.wait_for(work.changed.wait(), seconds)


def _is_due(outcome: Outcome | None) -> bool:
    """Return whether a run waits for a time that has come."""
    due = outcome.due if isinstance(outcome, Result) else None
    return due is not None and due <= time.time()


def _read_outcome(scheduler: Scheduler) -> Outcome:
    try:
        return build_result(scheduler)
    except RunFailed as failure:
        return failure

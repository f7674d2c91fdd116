"""Runs that calls of tools begin, answer and wait for; each outlives the call that began it.

1. A run is in the journal. At most one task of this process works on it, its worker, which lives
   until the run is at rest. A call only waits for a worker: it may end, or be cancelled, meanwhile.
2. What is true of a run without a worker is in its records, so that a call finds it after a restart
   of the server, and one that another process works on.
3. A run that a server left, because it crashed or was stopped, goes on with the next call for it.
   One that failed, or reached a limit, is resumed by a person.
4. An answer counts once. It is taken if its question is open, and no other answer was taken for it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from pydantic import BaseModel

from graphorch.engine.events import Committed, RunEvent
from graphorch.engine.scheduler import Scheduler
from graphorch.engine.settings import RunSettings
from graphorch.errors import InputError, RunFailed
from graphorch.flow.flow import Flow
from graphorch.journal.errors import LeaseHeld, RunNotFound
from graphorch.runs.clients import ReplayClient
from graphorch.runs.durable import rebuild_run
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
_Coroutine: TypeAlias = "Coroutine[Any, Any, Result[Any, Any]]"


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
class _Worker:
    """The task that works on a run, the answers that it still has to give, and its progress."""

    flow: AnyFlow
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    answers: deque[tuple[str, BaseModel]] = field(default_factory=deque[tuple[str, BaseModel]])
    taken: set[str] = field(default_factory=set[str])
    steps: int = 0
    last_path: str = ""
    task: asyncio.Task[Outcome | None] | None = None

    def watch(self, event: RunEvent) -> None:
        if isinstance(event, Committed):
            self.steps += 1
            self.last_path = event.path


class ServedRuns:
    """The runs of one journal that this process works on or looks at.

    `durable` is the path of the journal, and `options` are those of every run, of `RunOptions`.
    """

    def __init__(self, durable: str, options: Mapping[str, Any]) -> None:
        self._durable = durable
        self._options = options
        self._workers: dict[str, _Worker] = {}

    def check(self, flow: AnyFlow) -> None:
        """Raise `InputError` unless the runs of a flow will have their models and resources."""
        manager = RunManager(flow.plan)
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
    def begin(self, flow: AnyFlow, value: BaseModel, run_id: str, tags: Mapping[str, str]) -> bool:
        """Begin a run; return False if this process works on a run of that id already."""
        if run_id in self._workers:
            return False
        worker = _Worker(flow, tags)
        options = self._build_options(worker)
        options["tags"] = tags
        self._employ(run_id, worker, flow.run(value, run_id=run_id, **options))
        return True

    def take_answer(self, flow: AnyFlow, run_id: str, question: str, answer: BaseModel) -> bool:
        """Give an answer to an open question; return False if another one was taken before."""
        worker = self._workers.get(run_id)
        if worker is None:
            worker = _Worker(flow)
            self._employ(run_id, worker, None)
        if question in worker.taken:
            return False
        worker.taken.add(question)
        worker.answers.append((question, answer))
        return True

    def get_progress(self, run_id: str) -> tuple[int, str]:
        """Return how many nodes committed since this process works on a run, and the last one."""
        worker = self._workers.get(run_id)
        return (0, "") if worker is None else (worker.steps, worker.last_path)

    def _build_options(self, worker: _Worker) -> dict[str, Any]:
        return {**self._options, "durable": self._durable, "watch": [worker.watch]}

    def _employ(self, run_id: str, worker: _Worker, first: _Coroutine | None) -> None:
        """Start the worker of a run, which begins with `first`, then gives the answers."""
        self._workers[run_id] = worker
        worker.task = asyncio.create_task(self._work(run_id, worker, first), name=f"run {run_id}")
        worker.task.add_done_callback(_log_error)

    async def _work(self, run_id: str, worker: _Worker, first: _Coroutine | None) -> Outcome | None:
        try:
            result = None if first is None else await first
            while worker.answers:
                question, value = worker.answers.popleft()
                options = self._build_options(worker)
                result = await worker.flow.answer(run_id, question, value, **options)
            return result
        except RunFailed as failure:
            return failure
        finally:
            # Nothing is awaited since the last answer was looked for, so none is lost.
            del self._workers[run_id]

    # ---- wait ------------------------------------------------------------------------------------
    async def follow(self, flow: AnyFlow, run_id: str, seconds: float) -> Outcome | None:
        """Return a run that comes to rest within some seconds, or None.

        A run that a server left goes on. Raises what the run raises beside `RunFailed`, and as
        `look` does.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while True:
            left = max(deadline - loop.time(), 0.0)
            worker = self._workers.get(run_id)
            if worker is None:
                outcome = await self._find_at_rest(flow, run_id)
                if outcome is None and run_id not in self._workers:
                    await asyncio.sleep(min(left, _LOOK_SECONDS))
            else:
                outcome = await self._wait_for(worker, left)
            if outcome is not None or loop.time() >= deadline:
                return outcome

    async def _wait_for(self, worker: _Worker, seconds: float) -> Outcome | None:
        assert worker.task is not None
        await asyncio.wait([worker.task], timeout=seconds)
        if not worker.task.done() or worker.task.cancelled():
            return None
        try:
            return worker.task.result()
        except LeaseHeld:  # another process was faster, and works on the run
            if worker.taken:
                raise
            return None

    async def _find_at_rest(self, flow: AnyFlow, run_id: str) -> Outcome | None:
        """Return a run that its records show at rest; let one go on that a server left."""
        view = await self.look(flow, run_id)
        if view.is_adrift and run_id not in self._workers:
            worker = _Worker(flow)
            options = self._build_options(worker)
            self._employ(run_id, worker, flow.resume(run_id, **options))
        return view.outcome

    # ---- look ------------------------------------------------------------------------------------
    async def find_tags(self, run_id: str) -> Mapping[str, str] | None:
        """Return the tags of a run; None if there is no such run."""
        if (worker := self._workers.get(run_id)) is not None:
            return worker.tags
        async with open_store(self._durable) as store:
            try:
                return (await store.load(run_id)).head.tags
            except RunNotFound:
                return None

    async def look(self, flow: AnyFlow, run_id: str) -> RunView:
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
        is_held = head.lease is not None and head.lease.is_running(time.time())
        run = scheduler.run
        is_left = run.status == "running" or (run.status == "stopped" and run.reason in _GOES_ON)
        outcome = None if is_held or is_left else _read_outcome(scheduler)
        by_id = {asker.id: build_question(asker) for asker in askers}
        return RunView(outcome, is_left and not is_held, by_id)

    # ---- stop ------------------------------------------------------------------------------------
    def stop(self, run_id: str, reason: str, *, now: bool = False) -> None:
        """Stop a run that this process works on: nothing new starts. It can be resumed."""
        worker = self._workers.get(run_id)
        if worker is None:
            return
        worker.answers.clear()
        try:
            worker.flow.stop(run_id, now=now, reason=reason)
        except InputError:  # it has not begun yet, or is over already
            assert worker.task is not None
            worker.task.cancel()

    async def wait_for_all(self, seconds: float) -> bool:
        """Return whether every run that this process works on comes to rest within some seconds."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._finish(), seconds)
        return not self._workers

    async def _finish(self) -> None:
        while tasks := [worker.task for worker in self._workers.values() if worker.task]:
            await asyncio.wait(tasks)

    def stop_all(self, reason: str, *, now: bool = False) -> None:
        """Stop every run that this process works on."""
        for run_id in list(self._workers):
            self.stop(run_id, reason, now=now)


def _log_error(task: asyncio.Task[Outcome | None]) -> None:
    """Log what ended a worker; perhaps no call waits for it any more."""
    if not task.cancelled() and (error := task.exception()) is not None:
        _logger.error("%s: %s", task.get_name(), error)


def _read_outcome(scheduler: Scheduler) -> Outcome:
    try:
        return build_result(scheduler)
    except RunFailed as failure:
        return failure

"""A run that advances one activation at a time: the scheduler with a gate before each attempt.

Theory of operation. Everything that the core wants to start arrives at the gate and is held there.
The run is *quiet* when all that could run is held, or when it has ended. Then one activation is let
through, the first in canonical order, and no other until the run is quiet again. So steps have one
order that timing does not change, and a point between two steps is a number of the journal, which
is kept in memory: going back, or changing the past, opens a new scheduler over the records up to a
point.
Replay and the core decide what records mean, never this file.

Rules of this file:
1. Everything runs on one event loop.
2. Between two calls the run is quiet.
3. After a call was cancelled, a point has to be opened again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeAlias

from graphorch.core.events import SignalReceived, Update
from graphorch.core.run import Run
from graphorch.core.tree import Activation, Place, Status, ToolScope, ToolScopes
from graphorch.engine.events import Observer
from graphorch.engine.lease_heartbeat import LEASE_SECONDS
from graphorch.engine.record_bodies import RecordEncoder
from graphorch.engine.replay import rebuild
from graphorch.engine.run_journal import RunJournal, new_owner
from graphorch.engine.scheduler import Scheduler
from graphorch.engine.settings import RunSettings
from graphorch.graph.fingerprint import compute_fingerprint
from graphorch.graph.plan import Plan
from graphorch.journal.memory import MemoryStore
from graphorch.journal.record_kinds import FORMAT
from graphorch.journal.records import NewRun, Record

Change: TypeAlias = Callable[[Run], tuple[Activation, Update]]
"""Chooses an open activation of a run, and the update to commit for it instead of running it."""


def canonical_key(activation: Activation) -> tuple[tuple[Place, int, int], ...]:
    """Return the sort key of an activation in the order of steps.

    Item, depth and declaration index at each level, the outermost first; of a tool call its round
    and its place there.
    """
    levels: list[tuple[Place, int, int]] = []
    current: Activation | None = activation
    while current is not None:
        scope = current.scope
        if isinstance(scope, ToolScope):
            levels.append(((_find_round(scope),), scope.call.place, current.step.index))
        else:
            levels.append((scope.place, current.depth, current.step.index))
        current = scope.parent
    return tuple(reversed(levels))


def _find_round(scope: ToolScope) -> int:
    """Return the number of the round that a call belongs to."""
    agent = scope.parent
    assert agent is not None
    assert isinstance(agent.children, ToolScopes)
    return list(agent.children.rounds).index(scope.round.key)


def is_inside(activation: Activation, outer: Activation) -> bool:
    """Return whether an activation runs inside another one, at any depth."""
    parent = activation.scope.parent
    while parent is not None and parent is not outer:
        parent = parent.scope.parent
    return parent is not None


class SteppedRun:
    """One run behind a gate.

    `scheduler` is replaced whenever a point is opened. The run's id, and so every id, stays.
    """

    def __init__(self, plan: Plan, settings: RunSettings) -> None:
        self.plan = plan
        self.settings = settings
        self.scheduler = Scheduler(plan, settings)
        self.store = MemoryStore()
        self._held: dict[Activation, asyncio.Future[None]] = {}
        self._passing: Activation | None = None
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    # ---- where it stands -------------------------------------------------------------------------
    @property
    def run(self) -> Run:
        """State of the run."""
        return self.scheduler.run

    @property
    def last_seq(self) -> int:
        """Number of the last record: the point at which the run is."""
        journal = self.scheduler.journal
        if journal is None:
            return 0
        return journal.last_buffered_seq

    @property
    def passing(self) -> Activation | None:
        """Activation that was let through and runs, if any."""
        return self._passing

    def held_activations(self) -> list[Activation]:
        """Return the activations that could run next, in canonical order."""
        return sorted(self._held.copy(), key=canonical_key)

    def next_inside(self, outer: Activation) -> Activation | None:
        """Return the first held activation inside another one."""
        for activation in self.held_activations():
            if is_inside(activation, outer):
                return activation
        return None

    async def read_records(self, until: int | None = None) -> list[Record]:
        """Return the records of the run, up to a point."""
        log = await self.store.load(self.settings.run_id)
        return list(log.records[:until])

    # ---- begin, and open again -------------------------------------------------------------------
    async def begin(self, update: Update) -> None:
        """Start the run, up to the gate."""
        journal = await self._open_journal([])
        self.scheduler = Scheduler(
            self.plan, self.settings, pace=self._on_event, gate=self._gate, journal=journal
        )
        self._start(self.scheduler.begin(update))
        await self._until_quiet()

    async def open(self, records: Sequence[Record], change: Change | None = None) -> None:
        """Open the run where the records end, with what is open there at the gate again.

        With a change, open it where that leads. What runs now is cancelled.
        """
        await self.halt()
        journal = await self._open_journal(records)
        run_id, on_failure = self.settings.run_id, self.settings.on_failure
        replayed = rebuild(self.plan, run_id, records, on_failure=on_failure)
        self.scheduler = Scheduler.from_records(
            self.plan, self.settings, replayed, journal, pace=self._on_event, gate=self._gate
        )
        if change is not None:
            self.scheduler.edit(*change(replayed.run))
            await journal.flush()
        if replayed.run.status == "running":
            self._start(self.scheduler.resume("repeat"))
        await self._until_quiet()

    async def halt(self) -> None:
        """Cancel what runs and what is held; nothing of the run is left running."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        self._held.clear()
        self._passing = None

    def replace_settings(self, settings: RunSettings) -> None:
        """Use other settings from now on."""
        self.settings = self.scheduler.settings = settings

    def watch(self, watcher: Observer) -> None:
        """Hand the events from here on to one more watcher."""
        self.scheduler.add_watcher(watcher)
        self.settings = self.scheduler.settings

    # ---- forward ---------------------------------------------------------------------------------
    async def let_through(self, activation: Activation) -> None:
        """Let a held activation run, its retries included, until the run is quiet again."""
        future = self._held.pop(activation)
        # It begins now, later than its record: time in which a person thinks is not the node's.
        activation.started_at = 0.0
        self._passing = activation
        future.set_result(None)
        try:
            await self._until_quiet()
        finally:
            self._passing = None

    async def answer(self, activation_id: str, value: object) -> None:
        """Answer the question of an activation, until the run is quiet again.

        Raises `InputError` for an answer that is refused.
        """
        if not self.scheduler.is_under_way:
            # The run had ended, and its journal with it.
            await self.open(await self.read_records())
        askers = self.scheduler.open_questions()
        asker = next(activation for activation in askers if activation.id == activation_id)
        await self._react(self.scheduler.answer(asker, value))

    async def send(self, signal: SignalReceived) -> None:
        """Give a signal to the run, until it is quiet again. Raises `InputError` for a refusal."""
        if not self.scheduler.is_under_way:
            await self.open(await self.read_records())
        await self._react(self.scheduler.send(signal))

    async def end_wait(self, activation_id: str) -> None:
        """End the wait of an activation as if its time had come, until the run is quiet again."""
        if not self.scheduler.is_under_way:
            await self.open(await self.read_records())
        waits = self.run.waits()
        activation = next(each for each in waits if each.id == activation_id)
        await self._react(self.scheduler.end_wait(activation))

    async def _react(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something to the run from outside, until the run is quiet again."""
        task = self._start(work)
        await asyncio.sleep(0)
        if task.done():
            # It was refused: the task holds the exception, which is raised here.
            self._tasks.remove(task)
            await task
        # Nothing may come to the gate because of it, which would look again once it is written.
        if self.scheduler.is_under_way and self.scheduler.journal is not None:
            await self.scheduler.journal.flush()
        await self._until_quiet()

    # ---- the gate --------------------------------------------------------------------------------
    async def _gate(self, activation: Activation) -> None:
        """Hold an activation until it is let through; its further attempts pass.

        So does one that comes back to tool calls that have not ended: these are held.
        """
        children = activation.children
        has_open_calls = isinstance(children, ToolScopes) and children.unfinished > 0
        if activation is self._passing or has_open_calls:
            return
        future = self._held[activation] = asyncio.get_running_loop().create_future()
        self._changed.set()
        try:
            await future
        finally:
            self._held.pop(activation, None)

    async def _on_event(self) -> None:
        """Look again whether the run is quiet; the scheduler awaits this after each event."""
        self._changed.set()

    async def _until_quiet(self) -> None:
        """Wait until the run is quiet. Raises what ended it, if that is a bug of graphorch."""
        while not self._is_quiet():
            self._changed.clear()
            await self._changed.wait()
        for task in [task for task in self._tasks if task.done()]:
            self._tasks.remove(task)
            await task

    def _is_quiet(self) -> bool:
        # 1. The run has ended.
        if all(task.done() for task in self._tasks):
            return True
        # 2. It is under way, and something is not written yet, or nothing is held.
        run, journal = self.run, self.scheduler.journal
        if run.status != "running" or not self._held:
            return False
        if journal is not None and journal.last_buffered_seq != journal.last_durable_seq:
            return False
        # 3. All that could run is held, or waits for what is.
        return all(
            activation in self._held or self.scheduler.waits_for_calls(activation)
            for activation in run.unfinished()
            if activation.status <= Status.RETRYING
        )

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        task.add_done_callback(lambda _: self._changed.set())
        self._tasks.append(task)
        return task

    async def _open_journal(self, records: Sequence[Record]) -> RunJournal:
        """Open a journal in a new store, which drops what came after the records."""
        self.store = MemoryStore()
        run_id, tags = self.settings.run_id, self.settings.tags
        fingerprint = compute_fingerprint(self.plan)
        await self.store.create(NewRun(run_id, self.plan.name, fingerprint, FORMAT, tags=tags))
        lease = await self.store.claim(run_id, new_owner(), ttl=LEASE_SECONDS)
        if records:
            await self.store.append(lease, records, expected_last_seq=0)
        encoder = RecordEncoder(self.plan, limits=self.store.limits)
        return RunJournal(self.store, lease, len(records), encoder)

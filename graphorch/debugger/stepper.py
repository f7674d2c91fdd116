"""A run that goes one activation at a time: the same scheduler, with a gate in front of every attempt, over a journal in memory.

Theory of operation. Whatever the core wants to start arrives at the gate and is held there. The run is *quiet* when all that could run is
held, or when it has ended. Then one activation is let through, the first in canonical order, and until the run is quiet again nothing else
is. So steps have one order, whatever the timing, and a point between two steps is a number of the journal: going back, and changing what
was, opens a new scheduler over the records up to a point. Which records mean what is decided by replay and the core, never here.

Rules of this file: everything runs on one event loop; between two calls the run is quiet; whoever cancels a call has to `open` a point again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from graphorch.core.events import Update
from graphorch.core.run import Run
from graphorch.core.tree import Activation, Status
from graphorch.engine.replay import rebuild
from graphorch.engine.run_journal import FORMAT, LEASE_SECONDS, RunJournal, new_owner
from graphorch.engine.scheduler import Scheduler
from graphorch.engine.settings import RunSettings
from graphorch.graph.fingerprint import compute_fingerprint
from graphorch.graph.plan import Plan
from graphorch.journal.memory import MemoryStore
from graphorch.journal.records import NewRun, Record

Change = Callable[[Run], tuple[Activation, Update]]
"""Chooses an open activation of a run, and what is committed for it as if its node had returned it."""


def canonical(activation: Activation) -> tuple[tuple[int, int, int], ...]:
    """Where an activation stands in the order of steps: item, depth and declaration index at each level, the outermost first."""
    key: list[tuple[int, int, int]] = []
    at: Activation | None = activation
    while at is not None:
        key.append((at.scope.item, at.depth, at.step.index))
        at = at.scope.parent
    return tuple(reversed(key))


def is_inside(activation: Activation, outer: Activation) -> bool:
    """Whether an activation is part of what runs inside another one."""
    above = activation.scope.parent
    while above is not None and above is not outer:
        above = above.scope.parent
    return above is not None


class SteppedRun:
    """One run under a gate. `scheduler` is replaced whenever a point is opened; the run's id, and with it every other id, stays."""

    def __init__(self, plan: Plan, settings: RunSettings) -> None:
        self.plan = plan
        self.settings = settings
        self.scheduler = Scheduler(plan, settings)
        self.store = MemoryStore()
        self._held: dict[Activation, asyncio.Future[None]] = {}
        self._passing: Activation | None = None
        self._changed = asyncio.Event()
        self._work: list[asyncio.Task[None]] = []

    # ---- where it stands -------------------------------------------------------------------------
    @property
    def run(self) -> Run:
        """The run's state."""
        return self.scheduler.run

    @property
    def point(self) -> int:
        """Where the run is, as the number of its last record."""
        return 0 if self.scheduler.journal is None else self.scheduler.journal.last_noted_seq

    @property
    def passing(self) -> Activation | None:
        """The activation that runs, if one does."""
        return self._passing

    def held(self) -> list[Activation]:
        """What could run next, in canonical order."""
        return sorted(self._held.copy(), key=canonical)

    def next_inside(self, outer: Activation) -> Activation | None:
        """The first of what is held inside an activation."""
        return next(
            (activation for activation in self.held() if is_inside(activation, outer)), None
        )

    async def records(self, until: int | None = None) -> list[Record]:
        """The run's records, up to a point."""
        return list((await self.store.load(self.settings.run_id)).records[:until])

    # ---- beginning, and beginning again ------------------------------------------------------------
    async def begin(self, update: Update) -> None:
        """Start the run, up to the gate."""
        journal = await self._new_journal([])
        self.scheduler = Scheduler(
            self.plan, self.settings, pace=self._pace, gate=self._gate, journal=journal
        )
        self._start(self.scheduler.begin(update))
        await self._quiet()

    async def open(self, records: Sequence[Record], change: Change | None = None) -> None:
        """Be where the records end, with what is open there at the gate again; or where a change of it leads. What runs now is dropped."""
        await self.halt()
        journal = await self._new_journal(records)
        rebuilt = rebuild(
            self.plan, self.settings.run_id, records, on_failure=self.settings.on_failure
        )
        self.scheduler = Scheduler.from_records(
            self.plan, self.settings, rebuilt, journal, pace=self._pace, gate=self._gate
        )
        if change is not None:
            self.scheduler.edit(*change(rebuilt.run))
            await journal.flush()
        if rebuilt.run.status == "running":
            self._start(self.scheduler.resume("repeat"))
        await self._quiet()

    async def halt(self) -> None:
        """Cancel what runs and what is held; nothing of the run is left running."""
        for task in self._work:
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)
        self._work.clear()
        self._held.clear()
        self._passing = None

    def change(self, settings: RunSettings) -> None:
        """Other settings from now on."""
        self.settings = self.scheduler.settings = settings

    # ---- going on ------------------------------------------------------------------------------------
    async def let_through(self, activation: Activation) -> None:
        """Let a held activation run, its retries included, and return when the run is quiet again."""
        held = self._held.pop(activation)
        # it begins now, whatever a record says: the time that a person thinks is not the node's
        activation.started_at = 0.0
        self._passing = activation
        held.set_result(None)
        try:
            await self._quiet()
        finally:
            self._passing = None

    async def answer(self, question: str, value: object) -> None:
        """Answer an open question by its activation's id, and return when the run is quiet again. Raises `InputError`."""
        if not self.scheduler.is_under_way:
            await self.open(await self.records())  # it had ended, and its journal with it
        activation = next(
            open_question
            for open_question in self.scheduler.open_questions()
            if open_question.id == question
        )
        task = self._start(self.scheduler.answer(activation, value))
        await asyncio.sleep(0)
        if task.done():
            self._work.remove(task)
            await task  # it was refused
        await self._quiet()

    # ---- the gate ------------------------------------------------------------------------------------
    async def _gate(self, activation: Activation) -> None:
        """Hold an activation until it is let through; its further attempts pass."""
        if activation is self._passing:
            return
        future = self._held[activation] = asyncio.get_running_loop().create_future()
        self._changed.set()
        try:
            await future
        finally:
            self._held.pop(activation, None)

    async def _pace(self) -> None:
        self._changed.set()

    async def _quiet(self) -> None:
        """Return when all that could run is held, or the run has ended. Raises what ended it, if that is a bug of ours."""
        while not self._is_quiet():
            self._changed.clear()
            await self._changed.wait()
        for task in [item for item in self._work if item.done()]:
            self._work.remove(task)
            await task

    def _is_quiet(self) -> bool:
        if all(task.done() for task in self._work):
            return True
        run, journal = self.run, self.scheduler.journal
        if (
            run.status != "running"
            or not self._held
            or (journal is not None and journal.last_noted_seq != journal.last_durable_seq)
        ):
            return False
        return all(
            activation in self._held
            for activation in run.unfinished()
            if activation.status <= Status.RETRYING
        )

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        task.add_done_callback(lambda _: self._changed.set())
        self._work.append(task)
        return task

    async def _new_journal(self, records: Sequence[Record]) -> RunJournal:
        """A store of its own for each timeline: what came after a point is gone with the store that held it."""
        self.store = MemoryStore()
        run_id = self.settings.run_id
        await self.store.create(
            NewRun(
                run_id,
                self.plan.name,
                compute_fingerprint(self.plan),
                FORMAT,
                tags=self.settings.tags,
            )
        )
        lease = await self.store.claim(run_id, new_owner(), ttl=LEASE_SECONDS)
        if records:
            await self.store.append(lease, records, expected_last_seq=0)
        return RunJournal(self.store, lease, len(records), self.plan)

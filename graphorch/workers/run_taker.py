"""How a worker takes runs, drives them to rest, and hands them over.

Rules of this file:

1. A job is a hint. What is to be done with a run is read from its journal, after it was claimed.
2. A run that another owner drives is left to it, unless that owner is gone: a lease that is not
   renewed is waited for.
3. A worker whose run was taken by another one has been cut off. Its process has to end before it
   says that a job is done: the job belongs to the next owner by now.
4. A run that cannot go on comes to rest with the reason: in its journal if that can be written, and
   otherwise where the run is placed. It never goes round in a circle.
5. What a run waits for needs no process: a job is put for its next time, and letters bring theirs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final, TypeAlias

from graphorch.distributed.engine import Job
from graphorch.distributed.placed_runs import PlacedRun
from graphorch.distributed.work_queue import put_hints
from graphorch.distributed.worker_placement import WorkerPlacement
from graphorch.engine.scheduler import Scheduler
from graphorch.engine.waits.event_waits import find_next_due
from graphorch.errors import InputError, JournalError, ReplayDiverged
from graphorch.graph.plan import Plan
from graphorch.journal.errors import (
    AppendConflict,
    LeaseHeld,
    LeaseLost,
    RunErased,
    RunNotFound,
    StoreUnavailable,
)
from graphorch.journal.record_kinds import FORMAT
from graphorch.runs.durable import Claim
from graphorch.runs.migration import find_migrated
from graphorch.runs.options import RunOptions
from graphorch.statuses import BETWEEN_OWNERS, FINAL_STATUSES
from graphorch.text import clean, truncate
from graphorch.workers.run_places import RunPlaces
from graphorch.workers.served_flows import ServedFlow

_LOG = logging.getLogger(__name__)
_STEP: Final = 1.0  # seconds of a lease that are waited for at a time
_MARGIN: Final = 0.05  # seconds after the end of a lease
_PAUSES: Final = (0.2, 0.5, 1.0, 2.0)  # seconds before a database is tried again; the last repeats
_LONGEST: Final = 300  # characters of a reason

PlaceRun: TypeAlias = Callable[[str, Plan], WorkerPlacement]
"""Makes the placement of the nodes of a run, of its id and its graph."""


class RunTaker:
    """Takes the runs of some kinds by claims of this name.

    `options` are those of every run. A run that ended its worker is taken `attempts` times without
    getting on. `on_fenced` is called with the reason when another worker has taken a run of this
    one; it should not return. `place` makes the placement of the nodes of a run; without it, they
    run here.
    """

    def __init__(
        self,
        places: RunPlaces,
        flows: Mapping[str, ServedFlow],
        options: RunOptions,
        *,
        claim: Claim,
        attempts: int,
        on_fenced: Callable[[str], None],
        place: PlaceRun | None = None,
    ) -> None:
        self._places = places
        self._flows = flows
        self._options = options
        self._claim = claim
        self._attempts = attempts
        self._on_fenced = on_fenced
        self._place = place
        self._taken: dict[str, Scheduler | None] = {}
        self._is_stopping = asyncio.Event()

    @property
    def count(self) -> int:
        """How many runs it has."""
        return len(self._taken)

    # ---- handing over ----------------------------------------------------------------------------
    def begin_stop(self) -> None:
        """Take no more runs, and hand over those that it has once their nodes have finished."""
        self._is_stopping.set()
        self.hand_over(now=False)

    def hand_over(self, *, now: bool) -> None:
        """Have other workers go on with the runs: at once, or after what runs has finished.

        A run that is about to begin or to end is left alone: call it again until there are none.
        """
        for scheduler in [each for each in self._taken.values() if each is not None]:
            with suppress(RuntimeError):  # its tasks are ending because of an error
                scheduler.hand_over(now=now)

    # ---- a job -----------------------------------------------------------------------------------
    async def handle(self, job: Job) -> None:
        """Take the run that a job names, and drive it until it is at rest or handed over."""
        run_id = job.payload.decode(errors="replace")
        if run_id in self._taken or self._is_stopping.is_set():
            return  # of a run that is not begun any more, the reconciler of another worker hears
        self._taken[run_id] = None
        taking = asyncio.create_task(self._take_safely(run_id, job.kind))
        is_cancelled = False
        while not taking.done():
            try:
                await asyncio.wait([taking])
            except asyncio.CancelledError:
                # What the run is in the middle of is handed over, which needs some moments.
                is_cancelled = True
                self.begin_stop()
                self.hand_over(now=True)
        if is_cancelled:
            raise asyncio.CancelledError

    async def _take_safely(self, run_id: str, kind: str) -> None:
        try:
            await self._take_patiently(run_id, kind)
        except (LeaseLost, AppendConflict) as error:
            self._on_fenced(str(error))
        except Exception:
            # A bug. The run is found again by the reconciler, and counted.
            _LOG.exception("run %s ended with an unexpected error, and is tried again", run_id)
        finally:
            del self._taken[run_id]

    async def _take_patiently(self, run_id: str, kind: str) -> None:
        """Take a run, waiting for a database that is away and for an owner that is gone."""
        failures, renewed = 0, _LeaseWatch()
        while not self._is_stopping.is_set():
            try:
                await self._take(run_id, self._flows[kind], kind)
                return
            except LeaseHeld as held:
                if renewed.is_alive(held):
                    return
                await self._pause(min(held.seconds_left + _MARGIN, _STEP))
            except StoreUnavailable as error:
                pause = _PAUSES[min(failures, len(_PAUSES) - 1)]
                failures += 1
                _LOG.warning("run %s: %s Trying again in %g s.", run_id, error, pause)
                await self._pause(pause)
            except (RunNotFound, RunErased) as error:
                _LOG.warning("%s", error)
                await self._places.placed_runs.remove(run_id)
                return
            except (LeaseLost, AppendConflict):
                raise
            except (JournalError, ReplayDiverged, InputError) as error:
                await self._hold(run_id, kind, str(error))
                return

    async def _pause(self, seconds: float) -> None:
        """Wait so long, or until the worker stops."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._is_stopping.wait(), seconds)

    async def _hold(self, run_id: str, kind: str, problem: str) -> None:
        """Leave a run alone that cannot be read, unless it is for another version by now."""
        placed = await self._places.placed_runs.find(run_id)
        if placed is not None and placed.kind == kind:
            placed = await self._follow_migration(placed)
        if placed is not None and placed.kind != kind:
            await put_hints(self._places.engine, [placed.build_job(placed.fingerprint)])
            return
        _LOG.error("run %s cannot be continued here: %s", run_id, problem)
        await self._places.placed_runs.hold(run_id, truncate(clean(problem), 4 * _LONGEST))

    async def _follow_migration(self, placed: PlacedRun) -> PlacedRun:
        """Return where a run is placed, at the version that has migrated it.

        Whoever migrated it may have died before it moved the run, or be a person's own process.
        """
        with suppress(JournalError):
            log = await self._places.store.load(placed.run_id)
            migrated = find_migrated(log)
            # Of a run of an earlier format, fingerprints are others than those of workers.
            if migrated not in (None, placed.fingerprint) and log.head.format == FORMAT:
                await self._places.placed_runs.move(placed.run_id, migrated)
                return replace(placed, fingerprint=migrated)
        return placed

    # ---- a run -----------------------------------------------------------------------------------
    async def _take(self, run_id: str, flow: ServedFlow, kind: str) -> None:
        options: RunOptions = {**self._options, "durable": self._places.store}
        async with flow.runs.take(run_id, options, self._claim) as scheduler:
            journal = scheduler.journal
            if journal is None:
                await self._places.placed_runs.remove(run_id)
                return
            if not await _has_work(scheduler):
                await journal.release()
                await self._settle(run_id, scheduler)
                return
            if flow.kinds[0] != kind:
                await self._places.placed_runs.move(run_id, flow.fingerprint)
            if not await self._may_go_on(run_id, scheduler, flow):
                await self._settle(run_id, scheduler)
                return
            self._taken[run_id] = scheduler
            if self._is_stopping.is_set():
                await journal.release()
            else:
                await self._drive(run_id, flow, scheduler)
        await self._settle(run_id, scheduler)

    async def _drive(self, run_id: str, flow: ServedFlow, scheduler: Scheduler) -> None:
        """Drive a run until it is at rest or handed over; its nodes may run on other workers."""
        if self._place is None:
            await flow.runs.drive(scheduler, _begin(scheduler))
            return
        placement = self._place(run_id, flow.plan)
        scheduler.settings = replace(scheduler.settings, placement=placement)
        is_at_rest = False
        try:
            await flow.runs.drive(scheduler, _begin(scheduler))
            is_at_rest = not _goes_on(scheduler)
        finally:
            await placement.close(is_at_rest=is_at_rest)

    async def _may_go_on(self, run_id: str, scheduler: Scheduler, flow: ServedFlow) -> bool:
        """Return whether a run may go on; otherwise it was stopped, with the reason."""
        count = await self._places.placed_runs.begin(run_id, len(scheduler.run.history))
        reason = ""
        if count > self._attempts:
            reason = f"{self._attempts} workers ended while they drove it, and it did not get on"
        else:
            try:
                flow.runs.check_needs(scheduler.settings)
            except InputError as error:
                reason = f"the worker cannot drive it: {error}"
        if reason:
            _LOG.error("run %s is stopped: %s", run_id, reason)
            await scheduler.leave(truncate(clean(reason), _LONGEST))
        return not reason

    async def _settle(self, run_id: str, scheduler: Scheduler) -> None:
        """Record where a run is that was left in order, and put a job for what comes next."""
        run, journal = scheduler.run, scheduler.journal
        if run.status in FINAL_STATUSES or journal is None:
            await self._places.placed_runs.remove(run_id)
            return
        due = find_next_due(run) if run.status == "waiting" else None
        last_seq = journal.last_durable_seq
        await self._places.placed_runs.settle(run_id, last_seq, due)
        placed = await self._places.placed_runs.find(run_id)
        if placed is None:
            return
        if _goes_on(scheduler):
            await put_hints(self._places.engine, [placed.build_job(f"after {last_seq}")])
        elif due is not None:
            delay = due - scheduler.settings.clock()
            await put_hints(self._places.engine, [placed.build_job(f"due {last_seq}", delay)])
        elif run.status in ("failed", "stopped"):
            _LOG.warning("run %s %s: %s", run_id, run.status, run.reason)


class _LeaseWatch:
    """Distinguishes an owner that renews its lease from one that is gone."""

    def __init__(self) -> None:
        self._seen: tuple[str, float] | None = None

    def is_alive(self, held: LeaseHeld) -> bool:
        """Return whether the owner has renewed its lease since it was seen first."""
        if self._seen is None or self._seen[0] != held.owner:
            self._seen = held.owner, held.expires_at
            return False
        return held.expires_at > self._seen[1] + _MARGIN


def _goes_on(scheduler: Scheduler) -> bool:
    """Return whether a run is not at rest: it was under way, or was handed over."""
    run = scheduler.run
    return run.status == "running" or (run.status == "stopped" and run.reason in BETWEEN_OWNERS)


async def _has_work(scheduler: Scheduler) -> bool:
    """Return whether a run has something to do: work, letters, or a time that has come."""
    run = scheduler.run
    if _goes_on(scheduler) or await scheduler.needs_mail():
        return True
    due = find_next_due(run) if run.status == "waiting" else None
    return due is not None and due <= scheduler.settings.clock()


def _begin(scheduler: Scheduler) -> Coroutine[Any, Any, None]:
    """Return what continues a run.

    Cases: nothing but its input is recorded; it was under way, or its time has come; or letters
    came to a run that waits, failed or was stopped, and say whether it goes on.
    """
    run, journal = scheduler.run, scheduler.journal
    assert journal is not None
    if run.status == "running" and journal.last_durable_seq == 1:
        return scheduler.begin_recorded()
    due = find_next_due(run) if run.status == "waiting" else None
    is_due = due is not None and due <= scheduler.settings.clock()
    if _goes_on(scheduler) or is_due:
        return scheduler.resume()
    return scheduler.take_in()

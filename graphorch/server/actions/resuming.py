"""Runs that go on, stop or end because of a request."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final

from graphorch.engine.lease_heartbeat import LEASE_SECONDS
from graphorch.engine.scheduler import OnAmbiguous
from graphorch.errors import InputError
from graphorch.journal.records import RunHead
from graphorch.runs.durable import cancel as cancel_in_store
from graphorch.runs.mailbox import build_letter, cancel_with_owner
from graphorch.runs.manager import RunManager
from graphorch.runs.options import RunOptions
from graphorch.runs.work_queues import find_placed
from graphorch.server.actions.letters import LetterReceipt, await_taken, post_letter
from graphorch.server.actions.limits import LimitsBody, change_limits
from graphorch.server.context import ServerContext
from graphorch.server.fitting_run import open_fitting
from graphorch.server.problems import Problem
from graphorch.statuses import FINAL_STATUSES
from graphorch.views.runs.run_row import RunState, find_state

_PATIENCE: Final = 2.0  # seconds in which a run usually begins to go on, or is cancelled
_PAUSE: Final = 0.01


@dataclass(frozen=True, slots=True)
class RunChange:
    """A run after a request: its status by now. It may go on after the response."""

    run_id: str
    status: RunState
    is_under_way: bool


async def resume_run(
    context: ServerContext, run_id: str, limits: LimitsBody, ambiguous: OnAmbiguous
) -> RunChange:
    """Let a run go on in this process: one that failed, was stopped, waits, or crashed.

    Raises `Problem` for a run that is over or under way, limits above those of the server, and if
    too many runs are under way.
    """
    async with open_fitting(context, run_id, "Resuming a run") as (run, plan):
        _require_idle(run.head)
        own = change_limits(context, run.rebuild(plan), limits)
        served = context.find_flow(run.head.flow)
        assert served is not None

    def start(manager: RunManager, options: RunOptions) -> Coroutine[Any, Any, Any]:
        return manager.resume(run_id, ambiguous, {**options, **own})

    context.begun_runs.take()
    task = context.runs.employ(served.flow, run_id, start)
    task.add_done_callback(lambda _: context.begun_runs.give_back())
    return await _wait_for_begin(context, run_id, task)


def _require_idle(head: RunHead) -> None:
    """Raise `Problem` for a run that is over, or that a process drives."""
    _require_unfinished(head, "resume")
    if head.is_under_way:
        raise Problem(
            409,
            "run-held",
            f"Run {head.run_id} is under way: there is nothing to resume. A process that died "
            f"keeps its run for at most {LEASE_SECONDS:g} s.",
        )


def _require_unfinished(head: RunHead, what: str) -> None:
    if head.is_erased:
        raise Problem(410, "run-erased", f"The content of run {head.run_id} was erased.")
    if head.status in FINAL_STATUSES:
        raise Problem(
            409, "run-over", f"Run {head.run_id} is {head.status}: there is nothing to {what}."
        )


async def _wait_for_begin(
    context: ServerContext, run_id: str, task: asyncio.Task[bool]
) -> RunChange:
    """Return once a run is under way, or at rest again. Raises what keeps it from going on."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _PATIENCE
    while not task.done() and loop.time() < deadline:
        if (await context.store.read_head(run_id)).is_under_way:
            break
        await asyncio.sleep(_PAUSE)
    if task.done() and not task.cancelled():
        task.result()
    return await read_change(context, run_id)


async def read_change(context: ServerContext, run_id: str) -> RunChange:
    """Return what has become of a run by now."""
    head = await context.store.read_head(run_id)
    placed = await find_placed(context.store, [run_id])
    return RunChange(run_id, find_state(head, is_placed=bool(placed)), head.is_under_way)


# ---- stop and cancel -----------------------------------------------------------------------------
async def stop_run(context: ServerContext, run_id: str, reason: str, *, now: bool) -> LetterReceipt:
    """Ask the process that drives a run to stop it. Raises `Problem` if none does."""
    head = await context.store.read_head(run_id)
    _require_unfinished(head, "stop")
    placed = await find_placed(context.store, [run_id])
    if not head.is_under_way and not (placed and head.status == "running"):
        raise Problem(
            409, "not-under-way", f"Run {run_id} is not under way: there is nothing to stop."
        )
    letter = build_letter(run_id, "stop", {"reason": reason, "now": now})
    stored, is_left = await post_letter(context, letter)
    taken = await await_taken(context, stored)
    is_here = context.runs.is_at_work(run_id)
    driver = "workers" if is_left else "server" if is_here else "owner"
    return LetterReceipt(run_id, stored.letter_id, stored.sent_at, taken, driver)


async def cancel_run(context: ServerContext, run_id: str, *, undo: bool) -> RunChange:
    """Cancel a run for good, here or by the process that drives it.

    What its nodes committed and can undo is undone, if `undo`. Raises `Problem` for a run that is
    over, and for one that needs its flow if that is not loaded.
    """
    head = await context.store.read_head(run_id)
    _require_unfinished(head, "cancel")
    served = context.find_flow(head.flow)
    if served is None:
        await _cancel_without_flow(context, head, undo=undo)
        return await read_change(context, run_id)

    def start(manager: RunManager, options: RunOptions) -> Coroutine[Any, Any, Any]:
        durable, resources = options.get("durable", True), options.get("resources")
        return manager.cancel(run_id, durable, None, resources, wait=True, undo=undo)

    task = context.runs.employ(served.flow, run_id, start)
    await asyncio.wait({task}, timeout=_PATIENCE)
    if task.done() and not task.cancelled():
        task.result()
    return await read_change(context, run_id)


async def _cancel_without_flow(context: ServerContext, head: RunHead, *, undo: bool) -> None:
    store, run_id = context.store, head.run_id
    try:
        await cancel_with_owner(
            store,
            run_id,
            lambda: cancel_in_store(store, run_id, context.clock(), undo=undo),
            wait=False,
            undo=undo,
        )
    except InputError as error:
        raise Problem(409, "flow-not-loaded", str(error), extra={"flow": head.flow}) from error

"""New runs that requests begin: stored before the response, and driven on in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from graphorch.engine.lease_heartbeat import LEASE_SECONDS
from graphorch.errors import InputError
from graphorch.journal.errors import JournalError, LeaseHeld
from graphorch.mcp_server.served_runs import Start
from graphorch.runs.work_queues import find_placed
from graphorch.server.actions.request_ids import RequestId, find_begun
from graphorch.server.context import ServerContext
from graphorch.server.endpoint import Reply
from graphorch.server.problems import Problem
from graphorch.server.served_flow import AnyFlow
from graphorch.views.runs.run_row import RunState, find_state

_PAUSE: Final = 0.01  # seconds between two looks whether a run is stored
_MOST_LOOKS: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class BegunRun:
    """A run that is stored. `is_new`: this request began it, and not an earlier one of its key."""

    run_id: str
    status: RunState
    is_new: bool
    links: Mapping[str, str] = field(default_factory=dict[str, str])


async def begin_run(
    context: ServerContext, flow: AnyFlow, request: RequestId, start: Start, wait: float = 0.0
) -> Reply:
    """Begin a run, unless it was begun by the same request before; wait for its end for a while.

    Returns once the run is stored. Raises `Problem` if too many runs are under way, and what keeps
    the run from being begun.
    """
    if context.ending.is_set():
        raise Problem(503, "ending", "This server is about to end. Nothing was begun.")
    while (found := await find_begun(context, request)) is None:
        if not context.runs.is_at_work(request.run_id):
            break
        await asyncio.sleep(_PAUSE)  # the same request is beginning it
    if found is not None:
        return await _reply(context, request, is_new=False)
    context.begun_runs.take()
    task = context.runs.employ(flow, request.run_id, start)
    task.add_done_callback(lambda _: context.begun_runs.give_back())
    await context.runs.wait_until_stored(request.run_id, task)
    await _wait_for_first_event(context, request, task)
    is_new = True
    if task.done() and not task.cancelled() and (error := task.exception()) is not None:
        # Another server may have been faster with the same request.
        if not isinstance(error, InputError | JournalError):
            raise error
        await _wait_for_other(context, request, error)
        is_new = False
    elif wait:
        await _wait(context, task, wait)
    return await _reply(context, request, is_new=is_new)


async def _wait_for_first_event(
    context: ServerContext, request: RequestId, task: asyncio.Task[bool]
) -> None:
    """Return once a stored run goes on here, or it is known that another server has begun it."""
    for _ in range(_MOST_LOOKS):
        if task.done() or not request.digest or context.runs.has_begun(request.run_id):
            return
        await asyncio.sleep(_PAUSE)


async def _wait_for_other(
    context: ServerContext, request: RequestId, error: InputError | JournalError
) -> None:
    """Return once another server has begun the run of a request.

    Raises `error` if none does, and `Problem` if one has the run and does not begin it.
    """
    for _ in range(_MOST_LOOKS):
        if await find_begun(context, request) is not None:
            return
        if not isinstance(error, LeaseHeld):
            raise error
        await asyncio.sleep(_PAUSE)
    raise Problem(
        503,
        "run-held",
        "Another process began to store this run and may have died. Repeat the request: the claim "
        f"of a dead process ends within {LEASE_SECONDS:g} s.",
        headers={"retry-after": "5"},
    )


async def _wait(context: ServerContext, task: asyncio.Task[bool], seconds: float) -> None:
    """Wait until a run is at rest, some seconds have passed, or the server ends."""
    ending = asyncio.ensure_future(context.ending.wait())
    try:
        await asyncio.wait({task, ending}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ending.cancel()
        with suppress(asyncio.CancelledError):
            await ending


async def _reply(context: ServerContext, request: RequestId, *, is_new: bool) -> Reply:
    head = await context.store.read_head(request.run_id)
    placed = await find_placed(context.store, [request.run_id])
    path = f"/api/runs/{request.run_id}"
    begun = BegunRun(
        run_id=request.run_id,
        status=find_state(head, is_placed=bool(placed)),
        is_new=is_new,
        links={"run": path, "events": f"{path}/events", "answers": f"{path}/answers"},
    )
    return Reply(begun, 201 if is_new else 200, {"location": path})

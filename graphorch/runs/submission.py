"""Runs for workers: recorded here, and driven by whichever worker takes them.

A run is created, its input is recorded, and then it is placed. A process that dies in between has
placed nothing: repeating the call with the same id finishes what was left.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, cast

from graphorch.core.events import RunStarted, Update
from graphorch.engine.lease_heartbeat import LEASE_SECONDS
from graphorch.engine.run_journal import new_owner
from graphorch.engine.settings import Limits, RunSettings
from graphorch.errors import InputError
from graphorch.graph.options import LONGEST_WAIT, is_number
from graphorch.graph.plan import Plan
from graphorch.journal import codec
from graphorch.journal.errors import AppendConflict, LeaseHeld
from graphorch.journal.records import Record, RunHead, RunLog
from graphorch.journal.store import Store
from graphorch.runs.durable import prepare_run
from graphorch.runs.options import RunOptions
from graphorch.statuses import FINAL_STATUSES

if TYPE_CHECKING:
    from graphorch.distributed.placed_runs import PlacedRun

_PAUSE: Final = 0.05  # seconds between two looks at a run that another call records
_HIGHEST: Final = 1_000_000  # priority
_NEVER_COMPARED: Final = frozenset({"at", "flow", "defaults"})  # of two first records

_HERE: Final = {
    "client": "a client cannot be sent to a worker: give it to the workers, Worker(client=…)",
    "resources": "resources cannot be sent to a worker: give them to it, Worker(resources=…)",
    "watch": "a watcher would hear nothing: read the events of a stored run instead",
    "on_alert": "it would hear nothing: give it to the workers, Worker(on_alert=…)",
    "on_question": "it would hear nothing: give it to the workers, Worker(on_question=…)",
    "clock": "workers read the clock of their machine",
}
"""Options of the process that drives a run → why they are refused, and what to do instead."""


def check_submitted(options: RunOptions, priority: object, delay: object) -> None:
    """Raise `InputError` for an option that matters to the process that drives a run only.

    So it does for a priority or a delay that is none.
    """
    if type(priority) is not int or abs(priority) > _HIGHEST:
        raise InputError(
            f"priority={priority!r:.80} is not a whole number up to {_HIGHEST:,}. "
            "Greater ones come first."
        )
    if not is_number(delay) or not 0 <= cast(float, delay) <= LONGEST_WAIT:
        raise InputError(f"delay={delay!r:.80} is not a number of seconds from 0 on.")
    for name, why in _HERE.items():
        if options.get(name) is not None:
            raise InputError(f"submit() takes no {name}=…: {why}.")
    limits, budget = options.get("limits"), options.get("budget")
    kept = Limits() if limits is None else limits
    own = Limits(activations=kept.activations, concurrency=kept.concurrency)
    if limits is not None and limits != own:
        raise InputError(
            f"submit() takes no {limits!r}: a run keeps its limits on activations and concurrency "
            "wherever it goes on; seconds, grace and waiting are those of one process."
        )
    if budget is not None and budget.seconds is not None:
        raise InputError(
            f"submit() takes no {budget!r}: the seconds of a budget are those of one process. "
            "Give dollars, tokens or calls."
        )


async def submit(
    store: Store,
    plan: Plan,
    settings: RunSettings,
    update: Update,
    after: str = "",
    priority: int = 0,
) -> PlacedRun | None:
    """Record a run that is to be placed; return its place, or None if it is over already.

    Raises `InputError` if a run of this id has another input or other options, and `JournalError`.
    """
    from graphorch.distributed.placed_runs import PlacedRun

    head = await _record_input(store, plan, settings, update, after)
    if head.status in FINAL_STATUSES:
        return None
    return PlacedRun(settings.run_id, plan.name, head.fingerprint, priority)


async def _record_input(
    store: Store, plan: Plan, settings: RunSettings, update: Update, after: str
) -> RunHead:
    """Create a run, and record its input unless that was done before; return its head."""
    run_id = settings.run_id
    encoder, new_run = prepare_run(plan, settings, update, store.limits, after)
    body = encoder.encode_started(RunStarted(update, settings.clock()))
    first = Record(1, "started", body)
    head = await store.create(new_run)
    while not head.last_seq:
        try:
            await _append_first(store, run_id, first)
        except (LeaseHeld, AppendConflict):  # another call with this id records its input
            await asyncio.sleep(_PAUSE)
        else:
            return (await store.load(run_id)).head
        head = (await store.load(run_id)).head
    _require_same(await store.load(run_id), dict(body), store)
    return head


async def _append_first(store: Store, run_id: str, first: Record) -> None:
    lease = await store.claim(run_id, new_owner(), ttl=LEASE_SECONDS)
    try:
        await store.append(lease, [first], expected_last_seq=0)
    finally:
        await store.release(lease)


def _require_same(log: RunLog, body: dict[str, Any], store: Store) -> None:
    """Raise `InputError` unless the first record of a run is the one that would be written."""
    if not log.records:
        return
    run_id, first = log.head.run_id, log.records[0]
    if first.is_erased or first.kind != "started":
        raise InputError(f"Run {run_id} is in the journal already. Choose another run_id.")
    stored: dict[str, Any] = first.body
    given = codec.load(codec.dump(body, store.limits), store.limits)
    names = sorted((stored.keys() | given.keys()) - _NEVER_COMPARED)
    differing = [name for name in names if stored.get(name) != given.get(name)]
    if differing:
        raise InputError(
            f"Run {run_id} was submitted before, with another {' and '.join(differing)}. "
            "Choose another run_id, or submit it with what it had."
        )

"""Forks of runs in a journal: a new run that took over what stays true, and has open what has to be done anew."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Generic, Literal

from pydantic import BaseModel
from typing_extensions import TypeVar

from graphorch.core.events import Update
from graphorch.core.run import Run
from graphorch.core.tree import Activation
from graphorch.engine import fork as forks
from graphorch.engine.fork import Difference
from graphorch.engine.replay import ReplayedRun, rebuild
from graphorch.engine.report import RunReport as RunRecord
from graphorch.engine.run_journal import LEASE_SECONDS, RunJournal, new_owner
from graphorch.engine.scheduler import Scheduler
from graphorch.engine.settings import RunSettings
from graphorch.errors import InputError, InternalError
from graphorch.graph.fingerprint import compute_fingerprint
from graphorch.graph.plan import Plan
from graphorch.journal.record_kinds import FORMAT
from graphorch.journal.records import NewRun, Record
from graphorch.journal.store import Store
from graphorch.runs.durable import check_log
from graphorch.runs.result import Result

Out = TypeVar("Out", bound=BaseModel, covariant=True)
State = TypeVar("State", bound=BaseModel, covariant=True, default=BaseModel)
Effects = Literal["refuse", "repeat", "serve"]


@dataclass(frozen=True, slots=True)
class RerunResult(Generic[Out, State]):
    """What a run would have given with something changed, and how that differs."""

    result: Result[Out, State]
    difference: Difference


@dataclass(slots=True)
class ForkedRun:
    """A new run, ready to go on, and what it was made of. `change` is the activation that is done anew."""

    scheduler: Scheduler
    change: Activation
    old: RunRecord
    copied: set[str]

    def difference(self) -> Difference:
        """How the new run differs from the old one, once it has run."""
        return forks.compare_runs(self.old, self.scheduler.report, self.copied)


async def fork(
    store: Store, plan: Plan, run_id: str, start: str, settings: RunSettings, effects: Effects
) -> ForkedRun:
    """Make a new run that is the old one up to `start`, which is done anew. Raises `InputError` and `JournalError`."""
    log = await store.load(run_id)
    read = check_log(log, plan)
    old = rebuild(plan, run_id, read.records, adopted=read.adopted)
    change = forks.find_activation(old.run, start)
    gone, around = forks.find_affected(old.run, change)
    settings = _with_effects(settings, old.run, gone, effects)
    copied = forks.select_records(read.records, gone, around)
    head = await store.create(
        NewRun(
            settings.run_id,
            plan.name,
            compute_fingerprint(plan),
            FORMAT,
            tags=settings.tags,
            parent=run_id,
        )
    )
    if head.last_seq:
        raise InputError(
            f"Run {settings.run_id} is in the journal already. Choose another run_id, or leave it out."
        )
    lease = await store.claim(settings.run_id, new_owner(), ttl=LEASE_SECONDS)
    records = [
        Record(1, "forked", {"from": run_id, "at": change.path, "copied": len(copied)}),
        *copied,
    ]
    await store.append(lease, records, expected_last_seq=0)
    rebuilt = rebuild(plan, settings.run_id, records)
    for activation in rebuilt.unfinished():
        activation.started_at = 0.0  # it begins here, and not when the old run came to it
    scheduler = Scheduler.from_records(
        plan, settings, rebuilt, RunJournal(store, lease, len(records), plan)
    )
    taken_over = {item.id for item in rebuilt.run.history}
    return ForkedRun(scheduler, _opened(rebuilt, change), _recorded(old), taken_over)


def _with_effects(settings: RunSettings, old: Run, gone: set[str], effects: Effects) -> RunSettings:
    """Effects that would happen again are refused, repeated, or served from the record."""
    again = forks.find_effects(old, gone)
    if not again or effects == "repeat":
        return settings
    if effects == "refuse":
        names = ", ".join(f"'{item.path}' ({item.step.node.options.effect})" for item in again)
        raise InputError(
            f'Doing this anew would repeat effects under new keys: {names}. Say effects="repeat", or effects="serve" to use what they returned.'
        )
    pins: dict[str, list[Update]] = {}
    for activation in again:
        pins.setdefault(activation.path, []).append(activation.update or {})
    return replace(settings, pins={**settings.pins, **pins})


def _opened(rebuilt: ReplayedRun, change: Activation) -> Activation:
    """The activation of the new run that stands where the changed one stood."""
    for activation in rebuilt.unfinished():
        if activation.path == change.path:
            return activation
    raise InternalError(
        f"The fork of run {rebuilt.run.run_id} does not have '{change.path}' open. Please report this as a bug of graphorch."
    )


def _recorded(rebuilt: ReplayedRun) -> RunRecord:
    record = RunRecord(rebuilt.run, rebuilt.began)
    record.add_recorded_calls(rebuilt.answered)
    return record


def build_edit(activation: Activation, output: Any) -> Update:
    """The update of an output that a person gives in place of the node's. Raises `WrongOutput`."""
    return activation.step.writes[0].update(output)

"""Forks of runs in a journal: new runs that keep what stays true, and run the rest again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Generic, Literal, TypeAlias

from pydantic import BaseModel
from typing_extensions import TypeVar

from graphorch.core.events import Update
from graphorch.core.tree import Activation, Status
from graphorch.engine.fork_selection import (
    Difference,
    compare_runs,
    find_activation,
    find_affected,
    find_effects,
    find_open_reviews,
    find_survived,
    select_records,
)
from graphorch.engine.invocation.binding import build_update
from graphorch.engine.lease_heartbeat import LEASE_SECONDS
from graphorch.engine.record_bodies import RecordEncoder
from graphorch.engine.replay import ReplayedRun, find_plan, rebuild
from graphorch.engine.report import RunReport
from graphorch.engine.run_journal import RunJournal, new_owner
from graphorch.engine.scheduler import Scheduler
from graphorch.engine.settings import RunSettings
from graphorch.engine.tool_calls.pinned_calls import find_pinned_plan, find_place
from graphorch.errors import InputError, InternalError
from graphorch.graph.fingerprint import compute_fingerprint
from graphorch.graph.plan import Plan
from graphorch.journal.record_kinds import FORMAT
from graphorch.journal.records import NewRun, Record, RunHead, RunLog
from graphorch.journal.store import Store
from graphorch.runs.durable import (
    check_log,
    check_outcome,
    describe_budget,
    open_stored_budget,
    releasing,
)
from graphorch.runs.result import Result
from graphorch.state.version import Version
from graphorch.trace_context import PARENT, open_context

Out = TypeVar("Out", bound=BaseModel, covariant=True)
State = TypeVar("State", bound=BaseModel, covariant=True, default=BaseModel)
_OF_CALLER: Final = frozenset({"traceparent", "tracestate"})  # tags that name who began a run
Effects: TypeAlias = Literal["refuse", "repeat", "serve"]
"""What to do about nodes with effects that would act again: serve what they returned before."""


@dataclass(frozen=True, slots=True)
class RerunResult(Generic[Out, State]):
    """The result of a run with something changed, and how it differs from the old one."""

    result: Result[Out, State]
    difference: Difference


@dataclass(slots=True)
class ForkedRun:
    """A new run, ready to be resumed, and what it was made of.

    `change` is the activation that runs again; `copied` are the ids of those that were kept.
    """

    scheduler: Scheduler
    change: Activation
    old: RunReport
    copied: set[str]

    def difference(self) -> Difference:
        """Return how the new run differs from the old one, once it has run."""
        return compare_runs(self.old, self.scheduler.report, self.copied)


def _accept(settings: RunSettings) -> None:
    """Accept the settings of a run that is not run yet."""


async def fork(
    store: Store,
    plan: Plan,
    run_id: str,
    start: str,
    settings: RunSettings,
    effects: Effects,
    *,
    model: str = "",
    check: Callable[[RunSettings], None] = _accept,
) -> ForkedRun:
    """Create a new run that is the old one up to `start`, which runs again there.

    There it asks `model`, if one is given; everywhere else the models of the old run. `check` gets
    the settings of the new run before anything is stored. Raises what it raises, `InputError` and
    `JournalError`.
    """
    # 1. Read the old run, and find what the change makes invalid.
    log = await store.load(run_id)
    selected = select_change(plan, log, start)
    old, change = selected.old, selected.change
    pins = _choose_pins(old, selected.gone, effects)
    # The tags say what kind of work it is, and which budgets count it; the caller is another one.
    inherited = {name: value for name, value in log.head.tags.items() if name not in _OF_CALLER}
    settings = replace(settings, tags={**inherited, **settings.tags})
    # Without a budget of its own it gets that of the old run, for what it pays itself.
    settings = open_stored_budget(settings, plan, old.budget)
    models = {**old.models, change.path: model} if model else old.models
    settings = replace(settings, model=old.model, models=models)
    check(settings)

    # 2. Store the new run: a record that names its origin, those that stay true, and the pins.
    copies = selected.copy_records(describe_budget(settings))
    origin: dict[str, Any] = {"from": run_id, "at": change.path, "copied": len(copies)}
    if models:
        origin["models"] = models
    engagement = max(1, old.engagements.number)
    context = open_context(run_id, log.head.tags, engagement=engagement, is_recorded=True)
    if context is not None:
        origin["trace"] = context.for_run()[PARENT]
    records = [Record(1, "forked", origin), *copies]
    encoder = RecordEncoder(plan, limits=store.limits)
    for place, update in pins:
        pinned_plan = find_pinned_plan(place) or find_plan(plan, place)
        body = encoder.encode_pinned(pinned_plan, place, update)
        records.append(Record(len(records) + 1, "pinned", body))
    # Nothing is stored of a run that cannot be opened.
    replayed = rebuild(plan, settings.run_id, records)
    opened = _find_open(replayed, change.path)
    journal = await _create_run(store, plan, settings, log.head, records)

    # 3. Open it where its records end.
    settings = replace(settings, pins={**settings.pins, **replayed.pins})
    scheduler = Scheduler.from_records(plan, settings, replayed, journal)
    copied = {activation.id for activation in replayed.run.history}
    return ForkedRun(scheduler, opened, old.build_report(settings.clock()), copied)


# ---- what would be done, and nothing happens -----------------------------------------------------
@dataclass(frozen=True, slots=True)
class SelectedChange:
    """A run, an activation of it that is to run again, and what that makes untrue.

    `gone` are the ids of the activations that depend on the change, with the change itself, and
    `around` those of which only the outcome does. `records` are those of the run.
    """

    old: ReplayedRun
    records: Sequence[Record]
    change: Activation
    gone: set[str]
    around: set[str]

    @property
    def effects(self) -> list[Activation]:
        """Activations whose effect on the world would happen again."""
        return find_effects(self.old.run, self.gone)

    def copy_records(self, budget: dict[str, float] | None) -> list[Record]:
        """Return the records that stay true, for a run with this budget of its own."""
        run = self.old.run
        return select_records(
            self.records,
            self.gone,
            self.around,
            budget,
            survived=find_survived(run, self.around),
            open_reviews=find_open_reviews(run, self.gone, self.around),
        )

    def rebuild_fork(self) -> ReplayedRun:
        """Return the fork as it would begin; nothing is stored."""
        run = self.old.run
        copies = self.copy_records(self.old.budget)
        origin = {"from": run.run_id, "at": self.change.path, "copied": len(copies)}
        return rebuild(run.plan, f"{run.run_id}-fork", [Record(1, "forked", origin), *copies])


def select_change(plan: Plan, log: RunLog, start: str) -> SelectedChange:
    """Return what changes if a run is run again from `start` on.

    Raises `InputError` for a start that does not exist, `JournalError` and `ReplayDiverged`.
    """
    migrated = check_log(log, plan)
    old = rebuild(plan, log.head.run_id, migrated.records, adopted=migrated.adopted)
    check_outcome(log.head, old)
    change = find_activation(old.run, start)
    gone, around = find_affected(old.run, change)
    return SelectedChange(old, migrated.records, change, gone, around)


# ---- the new run ---------------------------------------------------------------------------------
async def _create_run(
    store: Store, plan: Plan, settings: RunSettings, parent: RunHead, records: list[Record]
) -> RunJournal:
    """Store a fork. It has a key only if its parent has one: a copy is no better than that."""
    run_id = settings.run_id
    fingerprint = compute_fingerprint(plan)
    new_run = NewRun(
        run_id,
        plan.name,
        fingerprint,
        FORMAT,
        tags=settings.tags,
        parent=parent.run_id,
        is_keyed=parent.is_keyed,
    )
    head = await store.create(new_run)
    if head.last_seq:
        raise InputError(
            f"Run {run_id} is in the journal already. Choose another run_id, or leave it out."
        )
    lease = await store.claim(run_id, new_owner(), ttl=LEASE_SECONDS)
    encoder = RecordEncoder(plan, limits=store.limits)
    journal = RunJournal(store, lease, len(records), encoder, head.tags)
    async with releasing(journal):
        await store.append(lease, records, expected_last_seq=0)
    return journal


def _choose_pins(old: ReplayedRun, gone: set[str], effects: Effects) -> list[tuple[str, Update]]:
    """Refuse effects that would happen again, repeat them, or return what to pin instead, in order.

    What is pinned in the old run and was not visited there stays pinned, unless it is to act again.
    """
    if effects == "repeat":
        return []
    acting_again = find_effects(old.run, gone)
    if acting_again and effects == "refuse":
        names = _name_effects(acting_again)
        raise InputError(
            f"Running this again would repeat effects under new keys: {names}. "
            'Pass effects="repeat", or effects="serve" to use what they returned.'
        )
    without = [activation for activation in acting_again if activation.status is not Status.DONE]
    if without:
        raise InputError(
            f"effects='serve': {_name_effects(without)} did not return anything that could be used "
            'instead, and may have acted all the same. Pass effects="repeat", or start later.'
        )
    served = [(find_place(activation), activation.update or {}) for activation in acting_again]
    kept = [(place, update) for place, updates in old.pins.items() for update in updates]
    return served + kept


def _name_effects(activations: Iterable[Activation]) -> str:
    return ", ".join(f"'{item.path}' ({item.step.node.options.effect})" for item in activations)


def _find_open(replayed: ReplayedRun, path: str) -> Activation:
    """Return the open activation of the new run at a path."""
    for activation in replayed.unfinished():
        if activation.path == path:
            return activation
    raise InternalError(
        f"The fork of run {replayed.run.run_id} does not have '{path}' open. "
        "Please report this as a bug of graphorch."
    )


def build_edit(activation: Activation, output: Any) -> Update:
    """Return the update of an output that a person gives. Raises `WrongOutput`."""
    return build_update(activation.step, output, [], Version({}, {}))

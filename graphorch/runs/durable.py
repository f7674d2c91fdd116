"""Runs in a journal: begun, reopened and cancelled there, in this process or another one.

Also the next turn of a conversation: a new run that begins with what an earlier one remembers.
Modules that read a journal are imported when one is read: a run that begins only writes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from graphorch.core.events import StopRequested, Update
from graphorch.core.state import UNLIMITED, OnFailure
from graphorch.engine.lease_heartbeat import LEASE_SECONDS
from graphorch.engine.record_bodies import RecordEncoder, encode_end
from graphorch.engine.run_journal import RunJournal, new_owner
from graphorch.engine.scheduler import Scheduler, build_compensation, build_rules
from graphorch.engine.settings import RunSettings
from graphorch.errors import InputError, JournalError, Unstorable
from graphorch.graph.fingerprint import compute_fingerprint, describe
from graphorch.graph.plan import Plan
from graphorch.journal.codec import BodyLimits, dump
from graphorch.journal.errors import InvalidRecord, JournalDamaged
from graphorch.journal.record_kinds import FORMAT, RecordKind, RulesBody, StartedOptions
from graphorch.journal.records import Lease, NewRun, Record, RunHead, RunLog, Settlement
from graphorch.journal.store import Store
from graphorch.runs.clients import NO_CALLS, name_own_client
from graphorch.statuses import BETWEEN_OWNERS, FINAL_STATUSES, SUCCESS_STATUSES
from graphorch.text import LONGEST_NAME, clean

if TYPE_CHECKING:
    from graphorch.engine.replay import ReplayedRun
    from graphorch.models.budgets.budget import Budget
    from graphorch.runs.migration import MigratedLog


_DEFAULT_RULES: RulesBody = {"activations": None, "on_failure": "drain"}
_LOG = logging.getLogger(__name__)
_LARGE = 5_000  # nodes of a graph whose description may be too large for a record


# ---- begin ---------------------------------------------------------------------------------------
async def begin(
    store: Store, plan: Plan, settings: RunSettings, update: Update, after: str = ""
) -> RunJournal:
    """Create a run with this input in the store.

    Raises `InputError` if it exists already, or if its input cannot be stored, and `JournalError`.
    """
    encoder, new_run = prepare_run(plan, settings, update, store.limits, after)
    head = await store.create(new_run)
    if head.last_seq:
        raise InputError(
            f"Run {settings.run_id} is in the journal already, {head.status}. "
            "Resume it, or choose another run_id."
        )
    lease = await store.claim(settings.run_id, new_owner(), ttl=LEASE_SECONDS)
    return RunJournal(store, lease, 0, encoder, head.tags)


def prepare_run(
    plan: Plan, settings: RunSettings, update: Update, limits: BodyLimits, after: str = ""
) -> tuple[RecordEncoder, NewRun]:
    """Return the encoder of a new run, and the run to create. Raises `InputError`."""
    encoder = RecordEncoder(plan, _describe_start(plan, settings, after), limits)
    _check_graph(plan, limits)
    try:
        encoder.encode_input(update)
    except Unstorable as error:
        raise InputError(f"The input of flow '{plan.name}' does not fit: {error}") from error
    fingerprint = compute_fingerprint(plan)
    return encoder, NewRun(settings.run_id, plan.name, fingerprint, FORMAT, tags=settings.tags)


def _check_graph(plan: Plan, limits: BodyLimits) -> None:
    """Raise `InputError` for a graph that the first record of a run could not hold."""
    if plan.size < _LARGE:
        return
    try:
        dump(describe(plan), limits)
    except InvalidRecord as error:
        raise InputError(
            f"Flow '{plan.name}' has {plan.size:,} nodes with those of its sub-flows, which is too "
            f"much for a journal: {error} Or run it in memory."
        ) from None


@asynccontextmanager
async def releasing(journal: RunJournal | None) -> AsyncGenerator[None]:
    """Release a run, whatever is raised meanwhile, so that it can be resumed at once."""
    try:
        yield
    except BaseException:
        if journal is not None:
            await asyncio.shield(journal.release_if_held())
        raise


def _describe_start(plan: Plan, settings: RunSettings, after: str) -> StartedOptions:
    """Return what the first record holds beside the input.

    The turn that the run follows, the rules of the core, the budget, the model of all agents, and
    the class of the caller's own client; each if there is one.
    """
    body: StartedOptions = {}
    if after:
        body["after"] = after
    rules = build_rules(settings)
    if rules != _DEFAULT_RULES:
        body["rules"] = rules
    if (budget := describe_budget(settings)) is not None:
        body["budget"] = budget
    if settings.model:
        body["model"] = settings.model
    if plan.can_ask and (client := name_own_client(settings)):
        body["client"] = client
    return body


def describe_budget(settings: RunSettings) -> dict[str, float] | None:
    """Return what a run may spend itself, by unit; None without a budget of its own.

    The budgets of a day and of tags are not its own: they hold for it wherever it is resumed.
    """
    if settings.account is None:
        return None
    amounts = settings.account.budget.amounts()
    return {unit: amount for unit, amount in amounts if amount is not None} or None


# ---- reopen --------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Claim:
    """By which name, and for how long without a renewal, a run is claimed."""

    owner: str
    seconds: float = LEASE_SECONDS


async def reopen(
    store: Store,
    plan: Plan,
    settings: RunSettings,
    on_failure: OnFailure | None = None,
    claim: Claim | None = None,
) -> Scheduler:
    """Return a scheduler of a stored run; a run that is over is only read, without a lease.

    The run is claimed for this call alone, unless there is another `claim`.

    Limits on activations and on how many nodes run at once, a budget, the model and the handling of
    failures stay as they were unless new ones are given; limits count what was done. How the run
    came to rest is recorded first, if its last process died before it did. Raises `JournalError`
    and `ReplayDiverged`, and `InputError` if the run was cancelled or never begun.
    """
    claim = claim or Claim(new_owner())
    lease = await store.claim(settings.run_id, claim.owner, ttl=claim.seconds)
    try:
        log, migrated, replayed = await _read_claimed(store, lease, plan)
        settings = _continue_settings(settings, replayed, log, on_failure)
        is_final = log.head.status in FINAL_STATUSES
        last_seq = log.head.last_seq
        if not is_final and not migrated.is_current:
            last_seq = await _append_mark(store, lease, plan, log.head)
        if is_final and (refusals := await _refuse_mail(store, settings.run_id, log.head.status)):
            await store.append(lease, [], expected_last_seq=last_seq, settled=refusals)
    except BaseException:
        await store.release(lease)
        raise
    if is_final:
        await store.release(lease)
        return Scheduler.from_records(plan, settings, replayed, None)
    if plan.can_ask:
        _warn_of_other_client(log, plan, settings)
    encoder = RecordEncoder(plan, limits=store.limits)
    journal = RunJournal(store, lease, last_seq, encoder, log.head.tags, log.head.format)
    scheduler = Scheduler.from_records(plan, settings, replayed, journal)
    if settings.has_own_budget:
        scheduler.record_budget(describe_budget(settings))
    return scheduler


async def _read_claimed(
    store: Store, lease: Lease, plan: Plan
) -> tuple[RunLog, MigratedLog, ReplayedRun]:
    """Return a claimed run: its records, the same as this flow reads them, and what follows.

    What its last process died before it recorded is recorded first. Raises as `reopen` does.
    """
    from graphorch.engine.replay import rebuild

    while True:
        log = await store.load(lease.run_id)
        migrated = check_log(log, plan)
        _require_resumable(log)
        replayed = rebuild(plan, lease.run_id, migrated.records, adopted=migrated.adopted)
        check_outcome(log.head, replayed)
        owed = _build_owed_record(store, plan, log.head, replayed)
        if owed is None:
            return log, migrated, replayed
        last_seq = log.head.last_seq
        if not migrated.is_current:
            last_seq = await _append_mark(store, lease, plan, log.head)
        record = Record(last_seq + 1, *owed)
        status = replayed.run.status if record.kind == "ended" else None
        await store.append(lease, [record], expected_last_seq=last_seq, status=status)


def _build_owed_record(
    store: Store, plan: Plan, head: RunHead, replayed: ReplayedRun
) -> tuple[RecordKind, Mapping[str, Any]] | None:
    """Return what the process of a run would have recorded next if it had not died.

    Three cases: it was to stop once its nodes have finished, which are gone now; it has failed and
    is to be undone; or it has come to rest. None for a run that another process has to go on with.
    """
    run, at = replayed.run, replayed.engagements.last
    if head.status != "running" or (run.stopping or run.reason) in BETWEEN_OWNERS:
        return None
    encode = RecordEncoder(plan, limits=store.limits).encode
    if run.status == "running":
        is_stopping = bool(run.stopping) and run.stop_status == "stopped"
        return encode(StopRequested(run.stopping, at=at)) if is_stopping else None
    if run.status == "failed" and plan.compensate:
        return encode(build_compensation(run, at))
    return "ended", encode_end(run, at)


def _warn_of_other_client(log: RunLog, plan: Plan, settings: RunSettings) -> None:
    """Warn that a run with a client of its own goes on with the models of the configuration."""
    began_with = _read_client(log)
    if not began_with or name_own_client(settings) or settings.client is NO_CALLS:
        return
    from graphorch.runs.asked_models import name_models

    _LOG.warning(
        "Run %s was begun with a client of its own (%s), and goes on without one: it asks %s, as "
        "it is configured here. Pass client=… to have another one asked.",
        settings.run_id,
        clean(began_with, LONGEST_NAME),
        ", ".join(name_models(plan, settings)),
    )


async def _refuse_mail(store: Store, run_id: str, status: str) -> list[Settlement]:
    """Return the refusals of the letters to a run that is over, with this status."""
    letters = [item for item in await store.list_letters(run_id) if item.outcome is None]
    if not letters:
        return []
    from graphorch.engine.mailbox.letter_reader import build_run_over, refuse

    return [
        Settlement(letter.number, refuse(build_run_over(run_id, status, letter.kind)))
        for letter in letters
    ]


def _require_resumable(log: RunLog) -> None:
    run_id = log.head.run_id
    if not log.records:
        raise InputError(
            f"Run {run_id} was created, but its input was never written down. "
            "Begin it with run(…, run_id=…) again."
        )
    if log.head.status == "cancelled":
        raise InputError(
            f"Run {run_id} was cancelled for good. Fork it, or begin a new run instead."
        )


async def _append_mark(store: Store, lease: Lease, plan: Plan, head: RunHead) -> int:
    """Record that a changed graph writes from here on; return the number of that record."""
    from graphorch.runs.migration import build_mark

    seq = head.last_seq + 1
    mark = build_mark(plan, seq, head.format)
    await store.append(lease, [mark], expected_last_seq=head.last_seq)
    return seq


def merge_settings(
    scheduler: Scheduler, settings: RunSettings, on_failure: OnFailure | None
) -> RunSettings:
    """Merge new settings into those of a run in memory; unset options keep their value."""
    before = scheduler.settings
    limits, account = settings.limits, settings.account
    if limits.activations is None:
        limits = replace(limits, activations=before.limits.activations)
    if not settings.has_own_budget:
        account = before.account
        if account is not None and settings.on_alert is not before.on_alert:
            # The same budget, for another listener.
            account = settings.open_account(scheduler.plan.name, account.budget, settings.tags)
    if account is not None and account is not before.account:
        from graphorch.models.budgets.charge import sum_charges

        account.count_earlier(
            sum_charges(call.charge for call in scheduler.report.paid_calls).booked
        )
    return replace(
        settings,
        limits=limits,
        account=account,
        model=settings.model or before.model,
        models=before.models,
        pins=before.pins,
        on_failure=on_failure or before.on_failure,
    )


def _continue_settings(
    settings: RunSettings, replayed: ReplayedRun, log: RunLog, on_failure: OnFailure | None
) -> RunSettings:
    """Merge new settings into those of a stored run; unset options keep their recorded value."""
    run, limits = replayed.run, settings.limits
    is_limited = run.activations_left < UNLIMITED // 2
    if limits.activations is None and is_limited:
        limits = replace(limits, activations=run.activations_left + run.started)
    if limits.concurrency is None:
        limits = replace(limits, concurrency=replayed.concurrency)
    # The tags of the run decide which budgets of the configuration it counts at.
    settings = replace(
        settings,
        limits=limits,
        tags={**log.head.tags, **settings.tags},
        model=settings.model or replayed.model,
        models=replayed.models,
        pins=replayed.pins,
        on_failure=on_failure or run.on_failure,
    )
    settings = open_stored_budget(settings, run.plan, replayed.budget)
    if settings.account is not None:
        settings.account.count_earlier(replayed.sum_paid())
    return settings


def open_stored_budget(
    settings: RunSettings, plan: Plan, stored: dict[str, float] | None
) -> RunSettings:
    """Return the settings with an account for the recorded budget, unless a new one was given."""
    if settings.has_own_budget:
        return settings
    budget = None if stored is None else _build_budget(stored)
    return replace(settings, account=settings.open_account(plan.name, budget, settings.tags))


def _build_budget(amounts: dict[str, float]) -> Budget | None:
    """Return the recorded budget of a whole run; None if it limited only the time.

    Without its seconds: they belonged to the first process.
    """
    if not amounts.keys() - {"seconds"}:
        return None
    from graphorch.models.budgets.budget import Budget

    tokens, calls = amounts.get("tokens"), amounts.get("calls")
    return Budget(
        usd=amounts.get("usd"),
        tokens=None if tokens is None else int(tokens),
        calls=None if calls is None else int(calls),
    )


# ---- cancel --------------------------------------------------------------------------------------
async def cancel(store: Store, run_id: str, now: float, *, undo: bool = True) -> RunHead:
    """Cancel a run at rest for good, without its flow; return its head as it was before.

    Raises `InputError` for a run that is over, or that was under way when its process ended: only
    its flow knows what was left then. So it is for a run whose graph can undo what it did, unless
    `undo` is False.
    """
    lease = await store.claim(run_id, new_owner(), ttl=LEASE_SECONDS)
    try:
        log = await store.load(run_id)
        head = log.head
        if head.status in FINAL_STATUSES:
            raise InputError(f"Run {run_id} is {head.status}: there is nothing left to cancel.")
        if head.status == "running" and head.last_seq:
            raise InputError(
                f"Run {run_id} was under way when its process ended. "
                "Only its flow can cancel it: flow.cancel(…), or name it with --flow."
            )
        starts = [record for record in log.records if record.kind == "started"]
        if undo and any(record.body.get("undoes") for record in starts):
            raise InputError(
                f"Run {run_id} may have work to undo, and only its flow can do that: "
                "flow.cancel(…), or name it with --flow. Or leave all as it is: undo=False, or "
                "--no-undo."
            )
        records = _build_cancel_records(log, now)
        await store.append(
            lease,
            records,
            expected_last_seq=head.last_seq,
            status="cancelled",
            settled=await _refuse_mail(store, run_id, "cancelled"),
        )
        return head
    finally:
        await store.release(lease)


def _build_cancel_records(log: RunLog, now: float) -> list[Record]:
    """Return the records of a cancelled run; none for a run that never began.

    One that rests in a pause before a retry is resumed first.
    """
    last_seq = log.head.last_seq
    if not last_seq:
        return []
    bodies: list[tuple[RecordKind, Any]] = [
        ("continued", {"at": now}),
        *([("resumed", {"at": now})] if log.head.status == "waiting" else []),
        ("stopping", {"at": now, "reason": "cancelled", "status": "cancelled", "now": True}),
        ("ended", {"at": now, "status": "cancelled", "reason": "cancelled"}),
    ]
    return [Record(last_seq + 1 + number, *body) for number, body in enumerate(bodies)]


# ---- read ----------------------------------------------------------------------------------------
async def rebuild_run(
    store: Store, plan: Plan, run_id: str, *, until: int | None = None
) -> tuple[RunHead, ReplayedRun]:
    """Return a run as its records left it, without touching it."""
    from graphorch.engine.replay import rebuild

    log = await store.load(run_id)
    migrated = check_log(log, plan)
    replayed = rebuild(plan, run_id, migrated.records, until=until, adopted=migrated.adopted)
    if until is None:
        check_outcome(log.head, replayed)
    return log.head, replayed


def check_log(log: RunLog, plan: Plan) -> MigratedLog:
    """Return the records of a run as this flow reads them.

    Raises `JournalError` unless they are of this flow or can be migrated to it, are not erased,
    and have a known format.
    """
    from graphorch.runs.migration import migrate_records

    check_head(log.head)
    return migrate_records(log, plan)


def check_head(head: RunHead) -> None:
    """Raise `JournalError` unless the records of a run are of a known format and not erased."""
    if head.format > FORMAT:
        raise JournalError(
            f"Run {head.run_id} was written in format {head.format}, this is format {FORMAT}. "
            "Update graphorch to read it."
        )
    if head.is_erased:
        raise JournalError(
            f"The content of run {head.run_id} was erased; only its hashes are left."
        )


def check_outcome(head: RunHead, replayed: ReplayedRun) -> None:
    """Raise `JournalDamaged` unless all records of a run lead to what its head says.

    The head of a run that is not over may lag behind: it changes with the first records of an
    engagement, and when the run comes to rest.
    """
    status = replayed.run.status
    if head.last_seq and not replayed.has_begun:
        problem = "no record holds the input that it began with."
    elif head.status in FINAL_STATUSES and status != head.status:
        problem = f"its head says that it is {head.status}, its records that it is {status}."
    else:
        return
    raise JournalDamaged(f"Run '{head.run_id}'", problem)


def read_model(log: RunLog) -> str:
    """Return the model that replaces that of every agent in a stored run, empty if none does."""
    model = ""
    for record in log.records:
        if record.kind in ("started", "rules"):
            model = str(record.body.get("model", model))
    return model


def _read_client(log: RunLog) -> str:
    """Return the class of the client that the caller of a stored run passed, empty for none."""
    bodies = [record.body for record in log.records if record.kind == "started"]
    return str(bodies[0].get("client", "")) if bodies else ""


# ---- the next turn -------------------------------------------------------------------------------
async def build_next_turn(store: Store, plan: Plan, after: str, given: Update) -> Update:
    """Return the input of a run that follows another one.

    The remembered fields as they were at the end of that run, and the given input. Given fields
    win; a field with a reducer folds its given value into the remembered one. All of it becomes
    the input of the new run, so that it can be replayed without the earlier one. Raises
    `InputError` if there is nothing to follow, `ReducerFailed`, and `JournalError`.
    """
    if not plan.remember:
        raise InputError(
            f"after={after!r}: flow '{plan.name}' remembers nothing. "
            "Declare what its next turn needs: Graph(…, remember=[Slice])."
        )
    update = await _read_remembered(store, plan, after)
    for index, value in given.items():
        field = plan.schema.fields[index]
        if field.reduce is not None and index in update:
            value = field.fold_one(update[index], value)
        update[index] = value
    return plan.schema.defaults.complete(update, getattr(given, "defaults", None))


async def _read_remembered(store: Store, plan: Plan, run_id: str) -> Update:
    head, replayed = await rebuild_run(store, plan, run_id)
    version = replayed.run.root.output
    if version is None or replayed.run.status not in SUCCESS_STATUSES:
        raise InputError(
            f"after={run_id!r}: that run is {head.status}, but a next turn follows a run that "
            "reached its end. Resume that run first."
        )
    update: Update = {}
    for model in plan.remember:
        for name in model.model_fields:
            field = plan.schema.by_name[name]
            if version.is_written(field.index):
                update[field.index] = field.value(version)
    return update

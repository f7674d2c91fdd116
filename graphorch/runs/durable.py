"""Runs in a journal: begun there, and found again there, in this process or another one.

What reads a journal is loaded when one is read: a run that begins writes only.

The next turn of a conversation: a new run that begins with what an earlier one remembers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from graphorch.core.events import Update
from graphorch.core.state import UNLIMITED, OnFailure
from graphorch.engine.run_journal import LEASE_SECONDS, RunJournal, new_owner
from graphorch.engine.scheduler import Scheduler
from graphorch.engine.settings import RunSettings
from graphorch.errors import InputError, JournalError
from graphorch.graph.fingerprint import compute_fingerprint
from graphorch.graph.plan import Plan
from graphorch.journal.record_kinds import FORMAT, StartedOptions
from graphorch.journal.records import NewRun, Record, RunHead, RunLog
from graphorch.journal.store import Store

if TYPE_CHECKING:
    from graphorch.engine.replay import ReplayedRun
    from graphorch.models.budgets.budget import Amount, Budget
    from graphorch.models.messages import Response
    from graphorch.runs.migration import MigratedLog


FINAL = ("succeeded", "partial", "cancelled")


async def begin(store: Store, plan: Plan, settings: RunSettings, after: str = "") -> RunJournal:
    """Make a run in the store. Raises `InputError` if it is there already, and `JournalError`."""
    head = await store.create(
        NewRun(settings.run_id, plan.name, compute_fingerprint(plan), FORMAT, tags=settings.tags)
    )
    if head.last_seq:
        raise InputError(
            f"Run {settings.run_id} is in the journal already, {head.status}. Resume it, or choose another run_id."
        )
    lease = await store.claim(settings.run_id, new_owner(), ttl=LEASE_SECONDS)
    return RunJournal(store, lease, 0, plan, _about(settings, after))


def _about(settings: RunSettings, after: str) -> StartedOptions:
    """What the first record says of a run beside its input: the turn that it follows, its budget, and by which rules the core decides."""
    found: StartedOptions = {"after": after} if after else {}
    if settings.limits.activations is not None or settings.on_failure != "drain":
        found["rules"] = {
            "activations": settings.limits.activations,
            "on_failure": settings.on_failure,
        }
    if settings.account is not None:
        found["budget"] = {
            unit: amount for unit, amount in settings.account.left.amounts() if amount is not None
        }
    return found


async def reopen(
    store: Store, plan: Plan, settings: RunSettings, on_failure: OnFailure | None = None
) -> Scheduler:
    """The driver of a run that is in the store; one that succeeded is only read, since nothing of it is left to do.

    A limit on activations, a budget and what to do about a failure stay as they were unless there are new ones; they count what was done.
    Raises `JournalError` and `ReplayDiverged`, and `InputError` if the run was cancelled or never begun.
    """
    from graphorch.engine.replay import rebuild
    from graphorch.runs.migration import build_mark

    lease = await store.claim(settings.run_id, new_owner(), ttl=LEASE_SECONDS)
    try:
        log = await store.load(settings.run_id)
        read = check_log(log, plan)
        if not log.records:
            raise InputError(
                f"Run {settings.run_id} was created, but its input was never written down. Begin it with run(…, run_id=…) again."
            )
        if log.head.status == "cancelled":
            raise InputError(
                f"Run {settings.run_id} was cancelled for good. A fork of it, or a new run, can do something else."
            )
        rebuilt = rebuild(plan, settings.run_id, read.records, adopted=read.adopted)
        settings = _continued(settings, rebuilt, log, on_failure)
        last_seq = log.head.last_seq
        if not read.is_current and log.head.status not in FINAL:
            await store.append(
                lease, [build_mark(plan, last_seq + 1, log.head.format)], expected_last_seq=last_seq
            )
            last_seq += 1
    except BaseException:
        await store.release(lease)
        raise
    if log.head.status in FINAL:
        await store.release(lease)
        return Scheduler.from_records(plan, settings, rebuilt, None)
    return Scheduler.from_records(plan, settings, rebuilt, RunJournal(store, lease, last_seq, plan))


def merge_settings(
    scheduler: Scheduler, settings: RunSettings, on_failure: OnFailure | None
) -> RunSettings:
    """The settings with which a run in memory goes on: what is not said anew is as it was."""
    before, limits, account = scheduler.settings, settings.limits, settings.account
    if limits.activations is None:
        limits = replace(limits, activations=before.limits.activations)
    if account is None:
        account = before.account
    else:
        account.count_earlier(
            _spent(
                [call.response for _, call in scheduler.report.calls if call.response is not None]
            )
        )
    return replace(
        settings, limits=limits, account=account, on_failure=on_failure or before.on_failure
    )


def _continued(
    settings: RunSettings, rebuilt: ReplayedRun, log: RunLog, on_failure: OnFailure | None
) -> RunSettings:
    """The same for a run of which only its records are known."""
    from graphorch.models.budgets.budget import Account

    run, limits, account = rebuilt.run, settings.limits, settings.account
    if limits.activations is None and run.activations_left < UNLIMITED // 2:
        limits = replace(limits, activations=run.activations_left + run.started)
    stored: Any = cast("dict[str, Any]", log.records[0].body).get("budget")
    if account is None and isinstance(stored, dict):
        account = Account(run.plan.name, _budget(cast("dict[str, float]", stored)))
    if account is not None:
        account.count_earlier(_spent([response for _, response in rebuilt.answered]))
    return replace(
        settings, limits=limits, account=account, on_failure=on_failure or run.on_failure
    )


def _budget(amounts: dict[str, float]) -> Budget:
    """What a run may spend in all; its seconds were those of its first process."""
    from graphorch.models.budgets.budget import Budget

    tokens, calls = (
        None if amounts.get(unit) is None else int(amounts[unit]) for unit in ("tokens", "calls")
    )
    return Budget(usd=amounts.get("usd"), tokens=tokens, calls=calls)


def _spent(responses: Sequence[Response]) -> Amount:
    """What model calls came to."""
    from graphorch.models.budgets.budget import Amount

    tokens = sum(
        response.usage.input_tokens + response.usage.output_tokens for response in responses
    )
    return Amount(
        usd=sum(response.usd for response in responses), tokens=tokens, calls=len(responses)
    )


async def cancel(store: Store, run_id: str, now: float) -> RunHead:
    """Cancel a run for good of which nothing is under way, without its flow; returns what it was before.

    Raises `InputError` for a run that is over, or that was under way when its process ended: only its flow knows what was left then.
    """
    lease = await store.claim(run_id, new_owner(), ttl=LEASE_SECONDS)
    try:
        head = (await store.load(run_id)).head
        if head.status in FINAL:
            raise InputError(f"Run {run_id} is {head.status}: there is nothing left to cancel.")
        if head.status == "running" and head.last_seq:
            raise InputError(
                f"Run {run_id} was under way when its process ended. Only its flow can cancel it: flow.cancel(…), or name it with --flow."
            )
        stop = {"at": now, "reason": "cancelled", "status": "cancelled", "now": True}
        bodies = (
            [("stopping", stop), ("ended", {"status": "cancelled", "reason": "cancelled"})]
            if head.last_seq
            else []
        )
        records = [
            Record(head.last_seq + number, kind, body)
            for number, (kind, body) in enumerate(bodies, 1)
        ]
        await store.append(lease, records, expected_last_seq=head.last_seq, status="cancelled")
        return head
    finally:
        await store.release(lease)


async def rebuild_run(
    store: Store, plan: Plan, run_id: str, *, until: int | None = None
) -> tuple[RunHead, ReplayedRun]:
    """A run as its records left it, without touching it."""
    from graphorch.engine.replay import rebuild

    log = await store.load(run_id)
    read = check_log(log, plan)
    return log.head, rebuild(plan, run_id, read.records, until=until, adopted=read.adopted)


def check_log(log: RunLog, plan: Plan) -> MigratedLog:
    """The records of a run. Raises `JournalError` unless it is of this flow, or can be migrated to it, in a format that is understood."""
    from graphorch.runs.migration import migrate_records

    head = log.head
    if head.format > FORMAT:
        raise JournalError(
            f"Run {head.run_id} was written in format {head.format}, this is format {FORMAT}. Update graphorch to read it."
        )
    if head.is_erased:
        raise JournalError(
            f"The content of run {head.run_id} was erased; only its hashes are left."
        )
    return migrate_records(log, plan)


async def build_next_turn(store: Store, plan: Plan, after: str, given: Update) -> Update:
    """What a run after another one begins with: the remembered fields of that one as they were at its end, and what is given now.

    What is given wins; a field with a reducer folds it into what is remembered. It all becomes the input of the new run, so that run can
    be replayed without the earlier one. Raises `InputError` if there is nothing to follow, and `JournalError`.
    """
    if not plan.remember:
        raise InputError(
            f"after={after!r}: flow '{plan.name}' remembers nothing. Declare what its next turn needs: Graph(…, remember=[Slice])."
        )
    remembered = await _remembered(store, plan, after)
    for index, value in given.items():
        reduce = plan.schema.fields[index].reduce
        remembered[index] = (
            value if reduce is None or index not in remembered else reduce(remembered[index], value)
        )
    return remembered


async def _remembered(store: Store, plan: Plan, run_id: str) -> Update:
    head, rebuilt = await rebuild_run(store, plan, run_id)
    version = rebuilt.run.root.output
    if version is None or rebuilt.run.status not in ("succeeded", "partial"):
        raise InputError(
            f"after={run_id!r}: that run is {head.status}, and a next turn follows a run that reached its end. Go on with it first."
        )
    fields = [plan.schema.by_name[name] for model in plan.remember for name in model.model_fields]
    return {
        field.index: field.value(version)
        for field in fields
        if version.get(field.index) is not None
    }

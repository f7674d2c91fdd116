"""Runs in a journal: begun there, and found again there, in this process or another one."""

from __future__ import annotations

from graphorch.core.activation import Activation
from graphorch.core.run import OnFailure
from graphorch.engine.journaling import FORMAT, LEASE_SECONDS, RunJournal, new_owner
from graphorch.engine.replay import Rebuilt, rebuild
from graphorch.engine.scheduler import Scheduler
from graphorch.engine.settings import Settings
from graphorch.errors import InputError, JournalError
from graphorch.graph.fingerprint import differences, fingerprint
from graphorch.graph.plan import Plan
from graphorch.journal.records import NewRun, Record, RunHead, RunLog
from graphorch.journal.store import Store

FINAL = ("succeeded", "partial", "cancelled")


async def begin(store: Store, plan: Plan, settings: Settings) -> RunJournal:
    """Make a run in the store. Raises `InputError` if it is there already, and `JournalError`."""
    head = await store.create(NewRun(settings.run_id, plan.name, fingerprint(plan), FORMAT, tags=settings.tags))
    if head.last_seq:
        raise InputError(f"Run {settings.run_id} is in the journal already, {head.status}. Resume it, or choose another run_id.")
    lease = await store.claim(settings.run_id, new_owner(), ttl=LEASE_SECONDS)
    return RunJournal(store, lease, 0, plan)


async def reopen(store: Store, plan: Plan, settings: Settings) -> Scheduler:
    """The driver of a run that is in the store; one that succeeded is only read, since nothing of it is left to do.

    Raises `JournalError` and `ReplayDiverged`, and `InputError` if the run was cancelled.
    """
    lease = await store.claim(settings.run_id, new_owner(), ttl=LEASE_SECONDS)
    try:
        log = await store.load(settings.run_id)
        check_flow(log, plan)
        if log.head.status == "cancelled":
            raise InputError(f"Run {settings.run_id} was cancelled for good. A fork of it, or a new run, can do something else.")
        rebuilt = rebuild(plan, settings.run_id, log.records, on_failure=settings.on_failure)
    except BaseException:
        await store.release(lease)
        raise
    if log.head.status in FINAL:
        await store.release(lease)
        return Scheduler.of_record(plan, settings, rebuilt, None)
    return Scheduler.of_record(plan, settings, rebuilt, RunJournal(store, lease, log.head.last_seq, plan))


async def rebuilt_run(store: Store, plan: Plan, run_id: str, *, on_failure: OnFailure = "drain", until: int | None = None) -> tuple[RunHead, Rebuilt]:
    """A run as its records left it, without touching it."""
    log = await store.load(run_id)
    check_flow(log, plan)
    return log.head, rebuild(plan, run_id, log.records, on_failure=on_failure, until=until)


def check_flow(log: RunLog, plan: Plan) -> None:
    """Raise `JournalError` unless the run was written by this flow, in a format that is understood."""
    head = log.head
    if head.format > FORMAT:
        raise JournalError(f"Run {head.run_id} was written in format {head.format}, this is format {FORMAT}. Update graphorch to read it.")
    if head.is_erased:
        raise JournalError(f"The content of run {head.run_id} was erased; only its hashes are left.")
    if head.fingerprint != fingerprint(plan):
        changed = "; ".join(differences(_described(log.records), plan)[:6])
        raise JournalError(
            f"Run {head.run_id} belongs to flow '{head.flow}' as it was, and flow '{plan.name}' is not the same graph: {changed}. "
            "Resume it with the flow that wrote it."
        )


def unsure_of(rebuilt: Rebuilt) -> list[Activation]:
    """The activations whose effect may or may not have happened when the process ended."""
    return list(rebuilt.unsure.values())


def _described(records: tuple[Record, ...]) -> object:
    first = records[0].body if records else None
    return first.get("flow") if isinstance(first, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]

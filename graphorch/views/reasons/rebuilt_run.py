"""A run rebuilt from its records by the code of its flow, which views explain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphorch.core.run import Run
from graphorch.core.tree import Activation
from graphorch.graph.plan import Plan
from graphorch.journal.records import Record
from graphorch.journal.store import Store
from graphorch.runs.durable import rebuild_run
from graphorch.trace.conversation.builder import Conversation, build_conversation


@dataclass(frozen=True, slots=True)
class RebuiltRun:
    """A run rebuilt from its records, in the three forms that explain it.

    `concurrency` is how many of its nodes could run at once, None without a limit; it has
    `taken_over` so many of the first activations of its history from another run. `in_doubt` are
    nodes that must not act twice, began, and did not finish.
    """

    plan: Plan
    run: Run
    concurrency: int | None
    taken_over: int
    conversation: Conversation
    records: Sequence[Record]
    in_doubt: Sequence[Activation]


async def read_run(store: Store, plan: Plan, run_id: str) -> RebuiltRun:
    """Return a run, rebuilt.

    Raises `JournalError`, also for a run of another graph, and `ReplayDiverged`.
    """
    _, rebuilt = await rebuild_run(store, plan, run_id)
    log = await store.load(run_id)
    conversation = build_conversation(log.head, log.records)
    return RebuiltRun(
        plan,
        rebuilt.run,
        rebuilt.concurrency,
        rebuilt.taken_over,
        conversation,
        log.records,
        tuple(rebuilt.in_doubt.values()),
    )

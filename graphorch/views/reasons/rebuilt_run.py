"""A run rebuilt from its records by the code of its flow, which views explain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphorch.core.run import Run
from graphorch.core.tree import Activation
from graphorch.engine.replay import rebuild
from graphorch.graph.plan import Plan
from graphorch.journal.records import RunLog
from graphorch.runs.durable import check_log, check_outcome
from graphorch.runs.migration import MigratedLog
from graphorch.trace.conversation.builder import Conversation, build_conversation


@dataclass(frozen=True, slots=True)
class RebuiltRun:
    """A run rebuilt from its records, in the three forms that explain it.

    `concurrency` is how many of its nodes could run at once, None without a limit; it has
    `taken_over` so many of the first activations of its history from another run. `in_doubt` are
    nodes that must not act twice, began, and did not finish. `log` has its records as the present
    graph reads them.
    """

    plan: Plan
    run: Run
    concurrency: int | None
    taken_over: int
    conversation: Conversation
    log: MigratedLog
    in_doubt: Sequence[Activation]


def rebuild_log(log: RunLog, plan: Plan) -> RebuiltRun:
    """Return a run, rebuilt.

    Raises `JournalError`, also for a run of another graph, and `ReplayDiverged`.
    """
    migrated = check_log(log, plan)
    rebuilt = rebuild(plan, log.head.run_id, migrated.records, adopted=migrated.adopted)
    check_outcome(log.head, rebuilt)
    return RebuiltRun(
        plan,
        rebuilt.run,
        rebuilt.concurrency,
        rebuilt.taken_over,
        build_conversation(log.head, log.records),
        migrated,
        tuple(rebuilt.in_doubt.values()),
    )

"""The critical path of a run, rebuilt from its records."""

from __future__ import annotations

from dataclasses import dataclass

from graphorch.graph.plan import Plan
from graphorch.journal.records import RunLog
from graphorch.trace.analysis.critical_path import CriticalPath, find_critical_path
from graphorch.views.reasons.rebuilt_run import rebuild_log


@dataclass(frozen=True, slots=True)
class RunCriticalPath:
    """What a run's time went into, and what would shorten it."""

    run_id: str
    path: CriticalPath


def read_critical_path(log: RunLog, plan: Plan) -> RunCriticalPath:
    """Return the critical path of a run.

    Raises `InputError` if nothing of it is finished, `JournalError` and `ReplayDiverged`.
    """
    rebuilt = rebuild_log(log, plan)
    trace = rebuilt.conversation.trace
    path = find_critical_path(
        rebuilt.run, trace.seconds or 0.0, rebuilt.concurrency, rebuilt.taken_over
    )
    return RunCriticalPath(trace.run_id, path)

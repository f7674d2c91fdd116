"""A run as its flow rebuilds it from records, which goes on from where it was left.

The core changes in place and cannot go back, so one of these stands at the end of the run, and
another one where somebody steps through it; only a step back begins anew. A run with records of
another graph is rebuilt from its beginning each time: all of them decide how it is migrated.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphorch.core.run import Run
from graphorch.engine.replay import Replay, ReplayedRun, rebuild
from graphorch.graph.fingerprint import compute_fingerprint
from graphorch.graph.plan import Plan
from graphorch.journal.records import Record, RunHead, RunLog
from graphorch.runs.durable import check_log, check_outcome
from graphorch.runs.migration import MARK


class Rebuilder:
    """Rebuilds one run with the graph of `plan`, up to the record that was asked for last."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._seq = 0
        self._checked = 0  # records that are known to be of this graph
        self._replayed: ReplayedRun | None = None
        self._replay: Replay | None = None

    def move_to(self, head: RunHead, records: Sequence[Record], seq: int) -> ReplayedRun:
        """Return the run after record number `seq`; it changes with the next call.

        Raises `JournalError`, also for a run of another graph, and `ReplayDiverged`.
        """
        if not self._is_current(head, records):
            log = check_log(RunLog(head, tuple(records)), self.plan)
            return rebuild(self.plan, head.run_id, log.records, until=seq, adopted=log.adopted)
        if self._replayed is None or self._replay is None or seq < self._seq:
            self._replayed = ReplayedRun(Run(self.plan, head.run_id))
            self._replay = Replay(self.plan, self._replayed, 0)
            self._seq = 0
        for record in records[self._seq : seq]:
            try:
                self._replay.take(record)
            except BaseException:
                self._replayed = None  # half of a record may have been applied
                raise
            self._seq = record.seq
        if seq >= len(records):
            check_outcome(head, self._replayed)
        return self._replayed

    def _is_current(self, head: RunHead, records: Sequence[Record]) -> bool:
        """Return whether all records are of this graph; those that were looked at are skipped."""
        if head.is_erased or head.fingerprint != compute_fingerprint(self.plan, head.format):
            return False
        if any(record.kind == MARK for record in records[self._checked :]):
            return False
        self._checked = len(records)
        return True

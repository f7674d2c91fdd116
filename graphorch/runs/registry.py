"""Open runs of a flow in this process: those under way, and those that can be resumed.

Rules of this file:

1. A run that waits for a person is kept until it is answered or cancelled: a person was asked.
2. Of the runs that failed or were stopped, whose callers got an error, `MAX_KEPT` are kept.
3. Resuming a run that is not kept any more fails with an error that says so.
"""

from __future__ import annotations

from collections import OrderedDict, deque

from graphorch.engine.scheduler import Scheduler
from graphorch.errors import InputError, did_you_mean
from graphorch.statuses import RESUMABLE_STATUSES
from graphorch.text import plural

MAX_KEPT = 256  # runs that ended without success; the oldest is dropped first
_MAX_DROPPED = 10_000  # ids of dropped runs that are remembered, for the message


class OpenRuns:
    """Open runs by id, kept in memory. A run that must outlive its process needs a journal."""

    def __init__(self, flow: str) -> None:
        self._flow = flow
        self._under_way: dict[str, Scheduler] = {}
        self._waiting: dict[str, Scheduler] = {}
        self._ended: OrderedDict[str, Scheduler] = OrderedDict()
        self._dropped: deque[str] = deque(maxlen=_MAX_DROPPED)

    def begin(self, scheduler: Scheduler) -> None:
        """Count a run as under way. Raises `InputError` if another one of that id is."""
        run_id = scheduler.run.run_id
        if self._under_way.setdefault(run_id, scheduler) is not scheduler:
            raise InputError(
                f"A run {run_id} of flow '{self._flow}' is under way already. "
                "Choose another run_id, or leave it out."
            )
        self._waiting.pop(run_id, None)
        self._ended.pop(run_id, None)

    def end(self, scheduler: Scheduler) -> None:
        """Count a run as at rest, and keep it if it can be resumed."""
        run = scheduler.run
        self._under_way.pop(run.run_id, None)
        if run.status == "waiting":
            self._waiting[run.run_id] = scheduler
        elif run.status in RESUMABLE_STATUSES:
            self._ended[run.run_id] = scheduler
            if len(self._ended) > MAX_KEPT:
                dropped, _ = self._ended.popitem(last=False)
                self._dropped.append(dropped)

    def find(self, run_id: str) -> Scheduler:
        """Return the open run of an id. Raises `InputError` if there is none."""
        for runs in (self._under_way, self._waiting, self._ended):
            if run_id in runs:
                return runs[run_id]
        if run_id in self._dropped:
            raise InputError(
                f"Run {run_id} of flow '{self._flow}' did not succeed, and was dropped from memory "
                f"after {plural(MAX_KEPT, 'later run')} that did not either. Begin it again, and "
                "keep runs that you want to resume much later in a journal: run(…, durable=True)."
            )
        hint = did_you_mean(run_id, [*self._under_way, *self._waiting, *self._ended])
        raise InputError(
            f"Flow '{self._flow}' has no open run '{run_id}'. A run in memory is kept while it is "
            f"under way or waits for an answer; of those that failed or were stopped, the last "
            f"{MAX_KEPT}. {hint} Name the journal of a run that is kept in one: durable=PATH."
        )

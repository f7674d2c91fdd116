"""Open runs of a flow in this process: those under way, and those that can be resumed."""

from __future__ import annotations

from collections import OrderedDict

from graphorch.engine.scheduler import Scheduler
from graphorch.errors import InputError, did_you_mean
from graphorch.statuses import RESUMABLE_STATUSES

MAX_KEPT = 256  # unfinished runs that are kept in memory; the oldest is forgotten first


class OpenRuns:
    """Open runs by id, kept in memory, so bounded.

    A run that has to be found again later belongs into a journal.
    """

    def __init__(self, flow: str) -> None:
        self._flow = flow
        self._under_way: dict[str, Scheduler] = {}
        self._unfinished: OrderedDict[str, Scheduler] = OrderedDict()

    def begin(self, scheduler: Scheduler) -> None:
        """Count a run as under way. Raises `InputError` if another one of that id is."""
        run_id = scheduler.run.run_id
        if self._under_way.setdefault(run_id, scheduler) is not scheduler:
            raise InputError(
                f"A run {run_id} of flow '{self._flow}' is under way already. "
                "Choose another run_id, or leave it out."
            )
        self._unfinished.pop(run_id, None)

    def end(self, scheduler: Scheduler) -> None:
        """Count a run as at rest, and keep it if it can be resumed."""
        run = scheduler.run
        self._under_way.pop(run.run_id, None)
        if run.status in RESUMABLE_STATUSES:
            self._unfinished[run.run_id] = scheduler
            while len(self._unfinished) > MAX_KEPT:
                self._unfinished.popitem(last=False)

    def find(self, run_id: str) -> Scheduler:
        """Return the open run of an id. Raises `InputError` if there is none."""
        scheduler = self._under_way.get(run_id) or self._unfinished.get(run_id)
        if scheduler is not None:
            return scheduler
        hint = did_you_mean(run_id, [*self._under_way, *self._unfinished])
        raise InputError(
            f"Flow '{self._flow}' has no open run '{run_id}'. A run in memory is kept while it is "
            f"unfinished, the last {MAX_KEPT} of them. {hint}"
        )

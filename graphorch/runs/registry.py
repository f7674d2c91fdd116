"""The runs of a flow that somebody may come back to: those under way, and those that wait, failed or were stopped."""

from __future__ import annotations

from collections import OrderedDict

from graphorch.engine.scheduler import Scheduler
from graphorch.errors import InputError, did_you_mean

MOST = 256  # unfinished runs that are kept in memory; the oldest is forgotten first


class OpenRuns:
    """Kept in memory, so bounded; a run that has to be found again later belongs into a journal."""

    def __init__(self, flow: str) -> None:
        self._flow = flow
        self._under_way: dict[str, Scheduler] = {}
        self._unfinished: OrderedDict[str, Scheduler] = OrderedDict()

    def begin(self, scheduler: Scheduler) -> None:
        """A run starts, or goes on. Raises `InputError` if one of that id is under way."""
        run_id = scheduler.run.run_id
        if self._under_way.setdefault(run_id, scheduler) is not scheduler:
            raise InputError(
                f"There is a run {run_id} of flow '{self._flow}' under way. Choose another run_id, or leave it out."
            )
        self._unfinished.pop(run_id, None)

    def end(self, scheduler: Scheduler) -> None:
        """A run does not go on for now; it is kept unless it is over for good."""
        run = scheduler.run
        self._under_way.pop(run.run_id, None)
        if run.status in ("failed", "stopped", "waiting"):
            self._unfinished[run.run_id] = scheduler
            while len(self._unfinished) > MOST:
                self._unfinished.popitem(last=False)

    def find(self, run_id: str) -> Scheduler:
        """The run of that id. Raises `InputError` if there is none that could go on."""
        scheduler = self._under_way.get(run_id) or self._unfinished.get(run_id)
        if scheduler is None:
            kept = f"A run in memory is kept while it is unfinished, the last {MOST} of them."
            raise InputError(
                f"Flow '{self._flow}' has no open run '{run_id}'. {kept} {did_you_mean(run_id, [*self._under_way, *self._unfinished])}"
            )
        return scheduler

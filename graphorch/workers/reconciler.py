"""Finding runs that no job will bring: the engine lost it, or a worker died at the wrong moment.

A job is only a hint, so losing all of them may cost seconds, but no run.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from typing import Final

from graphorch.distributed.work_queue import put_hints
from graphorch.errors import JournalError
from graphorch.workers.run_places import RunPlaces

_LOG = logging.getLogger(__name__)
PERIOD: Final = 5.0
"""Seconds between two looks, of all workers of a kind together."""


class Reconciler:
    """Puts a job for each run of some kinds that has something to do and no owner."""

    def __init__(
        self, places: RunPlaces, kinds: Collection[str], *, period: float = PERIOD
    ) -> None:
        self._places = places
        self._kinds = kinds
        self._period = period

    async def run(self) -> None:
        """Look again and again, until this is cancelled; a database that is away is waited for."""
        while True:
            try:
                await self.look()
            except JournalError as error:
                _LOG.warning("looking for runs without an owner: %s", error)
            await asyncio.sleep(self._period)

    async def look(self) -> int:
        """Put the jobs that are missing, if it is the turn of this worker; return how many.

        A job that is queued or handled already is not put again.
        """
        # A turn is a little shorter than the pause between looks, so that each look finds its own.
        kinds = await self._places.placed_runs.take_turn(self._kinds, 0.8 * self._period)
        if not kinds:
            return 0
        idle = await self._places.placed_runs.list_idle(kinds)
        jobs = [placed.build_job() for placed in idle]
        if jobs:
            await put_hints(self._places.engine, jobs)
        return len(jobs)

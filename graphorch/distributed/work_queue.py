"""What a process needs beside the journal to leave runs to workers: their places, and jobs.

Drivers of PostgreSQL are imported when a queue is opened.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from graphorch.distributed.engine import Engine, Job
from graphorch.distributed.errors import EngineError
from graphorch.distributed.placed_runs import PlacedRun, PlacedRuns

_LOG = logging.getLogger(__name__)


async def put_hints(engine: Engine, jobs: Sequence[Job]) -> None:
    """Put jobs if the engine takes them: without them the reconciler finds the runs, later."""
    try:
        await engine.put(jobs)
    except EngineError as error:
        _LOG.warning("%s The runs are found again by a worker within seconds.", error)


class WorkQueue:
    """The placed runs of a database, and the engine that hands out the jobs to take them."""

    def __init__(self, placed_runs: PlacedRuns, engine: Engine) -> None:
        self.placed_runs = placed_runs
        self.engine = engine

    async def place(self, run: PlacedRun, delay: float) -> None:
        """Place a run that begins in `delay` seconds at the earliest, and put the job for it."""
        await self.placed_runs.add(run, delay=delay)
        await put_hints(self.engine, [run.build_job(delay=delay)])

    async def announce(self, run: PlacedRun, reason: str) -> None:
        """Have a worker look at a run that got something to do."""
        await put_hints(self.engine, [run.build_job(reason)])

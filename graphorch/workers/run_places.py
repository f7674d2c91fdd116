"""Where a worker finds runs, and how it hears of them."""

from __future__ import annotations

from dataclasses import dataclass

from graphorch.distributed.engine import Engine
from graphorch.distributed.placed_runs import PlacedRuns
from graphorch.journal.store import Store


@dataclass(frozen=True, slots=True)
class RunPlaces:
    """The journal of runs, which of them are placed, and the engine with the jobs to take them."""

    store: Store
    placed_runs: PlacedRuns
    engine: Engine

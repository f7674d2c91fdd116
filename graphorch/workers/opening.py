"""All connections of a worker to its database, opened and closed together."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from graphorch.distributed.results import Results
from graphorch.workers.run_places import RunPlaces

if TYPE_CHECKING:
    from graphorch.distributed.postgres.worker_list import WorkerList
    from graphorch.journal.postgres.attendant import KeptLease

LEASE_SECONDS: Final = 2.5
"""So long after the last sign of life of a worker, others go on with its runs."""


@dataclass(frozen=True, slots=True)
class OpenWorker:
    """Where a worker finds runs, results of nodes, and the list of workers in which it stands.

    `lease` is that of its process, by which it owns its runs.
    """

    places: RunPlaces
    results: Results
    workers: WorkerList
    lease: KeptLease


@asynccontextmanager
async def open_worker(url: str, on_lost: Callable[[str], None]) -> AsyncGenerator[OpenWorker]:
    """Open the connections of a worker, and keep its lease alive on a thread.

    `on_lost` is called there, with the reason, when another process has taken a run of this one.
    Raises `StoreNotOpened`, `StoreUnavailable` and `EngineError`.
    """
    from graphorch.distributed.pgqueuer.adapter import PgQueuerEngine
    from graphorch.distributed.postgres.placed_runs import PostgresPlacedRuns
    from graphorch.distributed.postgres.worker_list import WorkerList
    from graphorch.distributed.postgres_results.adapter import PostgresResults
    from graphorch.journal.postgres.store import PostgresStore

    async with AsyncExitStack() as stack:
        store = await PostgresStore.open(url)
        stack.push_async_callback(store.close)
        lease = await stack.enter_async_context(store.keep_alive(LEASE_SECONDS, on_lost))
        engine = await PgQueuerEngine.open(url)
        stack.push_async_callback(engine.close)
        results = await PostgresResults.open(url, store=store)
        stack.push_async_callback(results.close)
        places = RunPlaces(store, PostgresPlacedRuns(store), engine)
        yield OpenWorker(places, results, WorkerList(store), lease)

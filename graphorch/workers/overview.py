"""What the workers of a database do, and which versions of flows still have runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from graphorch.distributed.engine import QueueHealth
from graphorch.distributed.placed_runs import PlacedVersion, name_run_kind
from graphorch.distributed.worker_row import WorkerRow


@dataclass(frozen=True, slots=True)
class VersionOverview:
    """A graph of a flow: its runs by status, and the jobs to take them.

    `workers` is how many living workers take them. Of `queued` jobs the oldest waits for `lag`
    seconds. `problems` maps runs that no worker can continue to the reason.
    """

    flow: str
    fingerprint: str
    runs: Mapping[str, int]
    workers: int
    queued: int
    lag: float
    problems: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Overview:
    """The living workers of a database, and the versions that have runs or workers."""

    workers: Sequence[WorkerRow]
    versions: Sequence[VersionOverview]


async def read_overview(url: str) -> Overview:
    """Read it from a database. Raises `JournalError` and `EngineError`."""
    from graphorch.distributed.pgqueuer.adapter import PgQueuerEngine
    from graphorch.distributed.postgres.placed_runs import PostgresPlacedRuns
    from graphorch.distributed.postgres.worker_list import WorkerList
    from graphorch.journal.postgres.store import PostgresStore

    async with AsyncExitStack() as stack:
        store = await PostgresStore.open(url)
        stack.push_async_callback(store.close)
        engine = await PgQueuerEngine.open(url)
        stack.push_async_callback(engine.close)
        workers = await WorkerList(store).list_living()
        placed = await PostgresPlacedRuns(store).list_versions()
        health = await engine.read_health()
    return build_overview(workers, placed, health)


def build_overview(
    workers: Sequence[WorkerRow],
    placed: Sequence[PlacedVersion],
    health: Sequence[QueueHealth],
) -> Overview:
    """Return the overview of what three tables hold."""
    runs = {name_run_kind(each.flow, each.fingerprint): each for each in placed}
    queues = {each.kind: each for each in health if each.kind.startswith("run:")}
    kinds = dict.fromkeys([*runs, *queues, *(kind for each in workers for kind in each.kinds)])
    versions: list[VersionOverview] = []
    for kind in sorted(kinds):
        flow, _, fingerprint = kind.partition(":")[2].rpartition("@")
        version, queue = runs.get(kind), queues.get(kind)
        versions.append(
            VersionOverview(
                flow,
                fingerprint,
                {} if version is None else version.statuses,
                sum(kind in worker.kinds for worker in workers),
                0 if queue is None else queue.waiting,
                0.0 if queue is None else queue.lag,
                {} if version is None else version.problems,
            )
        )
    return Overview(workers, versions)

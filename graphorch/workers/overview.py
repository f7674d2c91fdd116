"""What the workers of a database do, and which versions of flows still have runs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

from graphorch.distributed.engine import QueueHealth
from graphorch.distributed.errors import EngineError
from graphorch.distributed.placed_runs import PlacedVersion, name_run_kind
from graphorch.distributed.worker_row import WorkerRow

_NODE_KIND: Final = re.compile(r"node:(.*)@([0-9a-f]+)(?::(.+))?", re.DOTALL)


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
class UnservedNodes:
    """Nodes of a graph that wait, and that no worker runs; `pool` is None for those without one.

    The oldest waits for `lag` seconds. `cluster` is the scheduler to which they went, if any.
    """

    flow: str
    fingerprint: str
    pool: str | None
    waiting: int
    lag: float
    cluster: str = ""


@dataclass(frozen=True, slots=True)
class Overview:
    """The living workers of a database, the versions that have runs or workers, and what waits.

    `problems` maps clusters that could not be asked to the reason.
    """

    workers: Sequence[WorkerRow]
    versions: Sequence[VersionOverview]
    unserved: Sequence[UnservedNodes]
    problems: Mapping[str, str]


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
    unserved = list(_find_unserved(workers, health))
    problems: dict[str, str] = {}
    for url in sorted({url for each in workers for url in each.clusters.values()}):
        try:
            unserved += await _ask_cluster(url)
        except EngineError as error:
            problems[url] = str(error)
    return Overview(workers, build_versions(workers, placed, health), unserved, problems)


async def _ask_cluster(url: str) -> list[UnservedNodes]:
    """Return the nodes at a scheduler that none of its workers serves. Raises `EngineError`."""
    from graphorch.distributed.dask.adapter import DaskEngine

    engine = await DaskEngine.open(url)
    try:
        waiting = [each for each in await engine.read_health() if each.waiting]
        served = await engine.find_served([each.kind for each in waiting])
    finally:
        await engine.close()
    unserved = [each for each in waiting if each.kind not in served]
    return [found for each in unserved if (found := _describe(each, url)) is not None]


def _find_unserved(
    workers: Sequence[WorkerRow], health: Sequence[QueueHealth]
) -> Iterator[UnservedNodes]:
    """Yield the nodes in the queue of the database that no living worker serves."""
    for queue in health:
        found = _describe(queue) if queue.waiting else None
        if found is None:
            continue
        kind = name_run_kind(found.flow, found.fingerprint)
        able = [each for each in workers if kind in each.kinds]
        if not any(found.pool is None or found.pool in each.pools for each in able):
            yield found


def _describe(queue: QueueHealth, cluster: str = "") -> UnservedNodes | None:
    """Return what waits in a queue of nodes; None for one of runs."""
    match = _NODE_KIND.fullmatch(queue.kind)
    if match is None:
        return None
    flow, fingerprint, pool = match.groups()
    return UnservedNodes(flow, fingerprint, pool, queue.waiting, queue.lag, cluster)


def build_versions(
    workers: Sequence[WorkerRow],
    placed: Sequence[PlacedVersion],
    health: Sequence[QueueHealth],
) -> list[VersionOverview]:
    """Return the versions that three tables hold."""
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
    return versions

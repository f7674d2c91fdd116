"""The nodes of a worker: functions that run here for others, and those that it sends to others."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from graphorch.distributed.engine import Job
from graphorch.distributed.local_slots import LocalSlots
from graphorch.distributed.node_handler import NodeHandler, WorkerFlow
from graphorch.distributed.node_messages import name_node_kind
from graphorch.distributed.outbox import Outbox
from graphorch.distributed.placed_runs import name_run_kind
from graphorch.distributed.worker_placement import WorkerPlacement
from graphorch.graph.fingerprint import compute_fingerprint
from graphorch.graph.plan import Plan
from graphorch.workers.opening import OpenWorker

if TYPE_CHECKING:
    from graphorch.journal.postgres.attendant import KeptLease


class Nodes:
    """What runs nodes of some kinds for others, and places those of the worker's own runs.

    Nodes of `pools` leave by outboxes of their own, to clusters.
    """

    def __init__(
        self,
        kinds: Sequence[str],
        handler: NodeHandler,
        outbox: Outbox,
        slots: LocalSlots,
        pools: Mapping[str, Outbox],
        lease: KeptLease,
    ) -> None:
        self.kinds = kinds
        self._lease = lease
        self.slots_by_kind: Mapping[str, int] = {}  # of all workers, by the kinds of their runs
        self._handler = handler
        self._outbox = outbox
        self._slots = slots
        self._pools = pools
        self._handled = 0

    @property
    def used(self) -> int:
        """How many functions of nodes run here, for runs of this worker and of others."""
        return self._handled + self._slots.used

    async def handle(self, job: Job) -> None:
        """Run a node for the worker that drives its run."""
        self._handled += 1
        try:
            await self._handler.handle(job)
        finally:
            self._handled -= 1

    def place(self, run_id: str, plan: Plan) -> WorkerPlacement:
        """Return the placement of the nodes of a run that this worker drives."""
        kind = name_run_kind(plan.name, compute_fingerprint(plan))

        def count_served() -> int:
            return max(self._slots.count, self.slots_by_kind.get(kind, 0))

        return WorkerPlacement(
            self._outbox,
            self._slots,
            run_id,
            plan,
            count_served,
            self._pools,
            lambda: self._lease.is_certain,
        )


@asynccontextmanager
async def open_nodes(
    opened: OpenWorker,
    flows: Sequence[WorkerFlow],
    pools: Sequence[str],
    slots: int,
    clusters: Mapping[str, str],
) -> AsyncGenerator[Nodes]:
    """Open what runs nodes of some flows and pools, at most `slots` at once of either side.

    `clusters` names for pools that are served elsewhere the scheduler to which their nodes go.
    Raises `EngineError`.
    """
    kinds = [
        name_node_kind(flow.plan.name, compute_fingerprint(flow.plan), pool)
        for flow in flows
        for pool in (None, *pools)
    ]
    async with AsyncExitStack() as stack:
        lease = opened.lease
        handler = NodeHandler(flows, opened.results, opened.places.engine)
        stack.push_async_callback(handler.close)
        schedulers = await _open_clusters(stack, opened, clusters.values())
        outbox = Outbox(opened.places.engine, opened.results, lambda: lease.is_certain)
        for each in (outbox, *schedulers.values()):
            await stack.enter_async_context(each.work())
        by_pool = {pool: schedulers[url] for pool, url in clusters.items()}
        yield Nodes(kinds, handler, outbox, LocalSlots(slots), by_pool, lease)


async def _open_clusters(
    stack: AsyncExitStack, opened: OpenWorker, urls: Iterable[str]
) -> dict[str, Outbox]:
    """Return an outbox for each scheduler. Raises `EngineError`."""
    outboxes: dict[str, Outbox] = {}
    lease = opened.lease
    for url in dict.fromkeys(urls):
        from graphorch.distributed.dask.adapter import DaskEngine

        engine = await DaskEngine.open(url)
        stack.push_async_callback(engine.close)
        outboxes[url] = Outbox(engine, opened.results, lambda: lease.is_certain)
    return outboxes

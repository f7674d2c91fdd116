"""Nodes on a worker of Dask that others have started: `NodeHost` makes it serve their jobs.

Theory of operation. The worker belongs to the user's cluster, and so does its event loop. Functions
of nodes run on the loop of a thread of their own, which has the connection to the database that the
results go to. A worker has the kinds that it serves as resources before it registers: a scheduler
gives tasks that wait to workers that come, not to those that get a resource later. How many run at
once is the number of its threads.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Final

from graphorch.distributed.dask.tasks import ATTRIBUTE, Service
from graphorch.distributed.engine import AlwaysHeld
from graphorch.distributed.loop_thread import LoopThread
from graphorch.distributed.node_handler import NodeHandler, WorkerFlow
from graphorch.distributed.node_messages import name_node_kind
from graphorch.distributed.postgres_results.adapter import PostgresResults
from graphorch.errors import JournalError
from graphorch.graph.fingerprint import compute_fingerprint

_LOG = logging.getLogger("graphorch.distributed")
_PAUSE: Final = 3.0  # seconds until a database that cannot be used is tried again
_FAREWELL: Final = 5.0  # seconds in which interrupted nodes have to end


class NodeHost:
    """Runs nodes of some flows and pools on a worker of Dask; results go to a database."""

    def __init__(self, worker: Any, flows: Sequence[WorkerFlow], pools: Sequence[str]) -> None:
        self._worker = worker
        self._flows = flows
        self.kinds = [
            name_node_kind(flow.plan.name, compute_fingerprint(flow.plan), pool)
            for flow in flows
            for pool in pools
        ]
        self._thread = LoopThread("graphorch-nodes")
        self._is_ending = False
        self._service: Service | None = None
        self._results: PostgresResults | None = None
        self._handler: NodeHandler | None = None

    async def begin(self, url: str) -> None:
        """Serve from now on; the worker must not have registered yet.

        A database that cannot be used is waited for, with a warning for each attempt.
        """
        await self._thread.call(self._open(url))
        if self._is_ending:
            return
        slots = self._worker.state.nthreads
        resources = dict.fromkeys(self.kinds, float(slots))
        self._worker.state.total_resources.update(resources)
        self._worker.state.available_resources.update(resources)
        setattr(self._worker, ATTRIBUTE, self._service)

    async def end(self) -> None:
        """Interrupt what runs, which other workers begin again, and close the connections."""
        self._is_ending = True
        await self._thread.call(self._close())
        await self._thread.close()

    async def _open(self, url: str) -> None:
        while not self._is_ending:
            try:
                self._results = await PostgresResults.open(url)
            except JournalError as error:
                _LOG.warning("%s Trying again in %g s.", error, _PAUSE)
                await asyncio.sleep(_PAUSE)
                continue
            self._handler = NodeHandler(self._flows, self._results, AlwaysHeld())
            self._service = Service(self.kinds, self._worker.state.nthreads, self._handler.handle)
            return

    async def _close(self) -> None:
        if self._service is not None:
            self._service.cancel_handlers()
            await asyncio.wait([asyncio.ensure_future(self._service.join())], timeout=_FAREWELL)
        if self._handler is not None:
            await self._handler.close()
        if self._results is not None:
            await self._results.close()

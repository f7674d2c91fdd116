"""A worker: a process that takes runs and nodes of a PostgreSQL database, beside others like it.

Theory of operation. A worker serves two kinds of jobs: to own a run, and to call the function of a
node of a run that another worker owns. Jobs are hints; the journal decides. While the worker lives,
a thread of its own keeps the lease of its process, by which it owns its runs, so that a node that
blocks the event loop does not make it look dead. When it stops, it takes nothing new, lets nodes
finish within the grace, and hands its runs over. When it finds that another worker has taken a run
of it, it has been cut off for longer than its lease, and its process ends at once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, Final, Self, Unpack

from graphorch.distributed.node_handler import WorkerFlow
from graphorch.distributed.worker_row import PERIOD, WorkerRow
from graphorch.engine.settings import Limits
from graphorch.errors import InputError, JournalError
from graphorch.graph.options import is_count, is_number, is_pool
from graphorch.journal.errors import StoreUnavailable
from graphorch.runs.durable import Claim
from graphorch.runs.options import RunOptions, WorkerOptions, check_options
from graphorch.runs.work_queues import require_database
from graphorch.workers.nodes import Nodes, open_nodes
from graphorch.workers.opening import LEASE_SECONDS, OpenWorker, open_worker
from graphorch.workers.reconciler import Reconciler
from graphorch.workers.run_taker import RunTaker
from graphorch.workers.served_flows import AnyFlow, index_by_kind

_LOG = logging.getLogger(__name__)
FENCED: Final = 75
"""Exit code of a worker that was cut off, EX_TEMPFAIL of sysexits.h: start it again."""

_WAITING: Final = 1.0  # seconds for which a run stays under way for its next timer
_LOOK: Final = 0.1  # seconds between two looks at runs that are handed over
_NO_CLUSTERS: Final[Mapping[str, str]] = {}
_FAREWELL: Final = 5.0  # seconds in which interrupted nodes have to end


class Worker:
    """Takes runs of some flows, and functions of their nodes, until it is stopped.

        worker = Worker(flow, url="postgresql://user@host/database", resources=Clients())
        await worker.run()

    `url` names the database, which `graphorch db init` prepares; True is that of GRAPHORCH_DB. At
    most `runs` runs are owned at once, and `slots` functions of nodes run here for runs of other
    workers, those of the named `pools` too. `clusters` maps other pools to the scheduler of Dask to
    which their nodes go, such as `{"gpu": "dask://scheduler:8786"}`; see `graphorch.dask`.

    When it is stopped, what runs may finish within `grace` seconds. A run that ended its worker
    `attempts` times without getting on is stopped, with the reason. All runs get the `resources`,
    the `client`, and the functions `watch`, `on_question` and `on_alert`, which mean what they mean
    to `flow.run`.

    The process ends with exit code 75 if the worker was cut off from the database and another one
    has taken its runs: have a supervisor start it again.
    """

    def __init__(
        self,
        *flows: AnyFlow,
        url: str | bool = True,
        slots: int = 100,
        runs: int = 200,
        pools: Sequence[str] = (),
        clusters: Mapping[str, str] = _NO_CLUSTERS,
        grace: float = 30.0,
        attempts: int = 5,
        **options: Unpack[WorkerOptions],
    ) -> None:
        self._url = require_database(url, "A worker")
        for name, count in (("slots", slots), ("runs", runs), ("attempts", attempts)):
            if not is_count(count):
                raise InputError(f"Worker({name}={count!r:.80}): give a whole number from 1 on.")
        if not (is_number(grace) and grace >= 0):
            raise InputError(f"Worker(grace={grace!r:.80}): give a number of seconds from 0 on.")
        for pool in [pools] if isinstance(pools, str) else pools:
            if isinstance(pools, str) or not is_pool(pool):
                raise InputError(
                    f'Worker(pools={pools!r:.80}): give names of pools, such as pools=["gpu"].'
                )
        _check_clusters(clusters, pools)
        self._kinds = index_by_kind(flows)
        self._served = tuple(dict.fromkeys(self._kinds.values()))
        self._options = RunOptions(**options, limits=Limits(waiting=_WAITING))
        check_options(self._options)
        for flow in self._served:
            flow.check(self._options)
        self._slots, self._runs = slots, runs
        self._pools, self._clusters = tuple(pools), dict(clusters)
        self._grace, self._attempts = float(grace), attempts
        self.name = f"{socket.gethostname()}-{os.getpid()}-{os.urandom(3).hex()}"
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()
        self._hurrying = asyncio.Event()
        self._ready = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def versions(self) -> tuple[str, ...]:
        """The graphs whose runs it takes, such as `report@1f0c…`."""
        return tuple(kind.partition(":")[2] for kind in self._kinds)

    # ---- life ------------------------------------------------------------------------------------
    async def run(self) -> None:
        """Take runs and nodes until `stop` is called; return once all are handed over.

        Raises `JournalError` and `EngineError` if the database cannot be used when it begins. Later
        it waits for a database that is away.
        """
        self._loop = asyncio.get_running_loop()
        async with open_worker(self._url, end_fenced) as opened, self._open_nodes(opened) as nodes:
            taker = RunTaker(
                opened.places,
                self._kinds,
                self._options,
                claim=Claim(self.name, LEASE_SECONDS),
                attempts=self._attempts,
                on_fenced=end_fenced,
                place=nodes.place,
            )
            await opened.places.placed_runs.release(self._kinds)
            await self._work(opened, taker, nodes)

    def stop(self, *, now: bool = False) -> None:
        """Take nothing new, let nodes finish within the grace, and hand the runs over.

        With `now` nodes that run here are interrupted, and repeated by other workers; those that
        run on other workers go on. Safe to call from any thread and from a signal handler.
        """
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._begin_stop, now)

    async def wait_until_ready(self) -> None:
        """Return once it takes runs."""
        await self._ready.wait()

    async def __aenter__(self) -> Self:
        """Begin to take runs in the background, and return once it does."""
        self._task = asyncio.create_task(self.run())
        ready = asyncio.create_task(self._ready.wait())
        await asyncio.wait([self._task, ready], return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if self._task.done():
            await self._task
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop, and return once all is handed over."""
        self._begin_stop(False)
        assert self._task is not None
        await self._task

    def _begin_stop(self, now: bool) -> None:
        self._stopping.set()
        if now:
            self._hurrying.set()

    # ---- work ------------------------------------------------------------------------------------
    def _open_nodes(self, opened: OpenWorker) -> AbstractAsyncContextManager[Nodes]:
        """Return a context with what runs nodes here and elsewhere."""
        served, resources = self._served, self._options.get("resources")
        flows = [WorkerFlow(each.plan, resources) for each in served]
        return open_nodes(opened, flows, self._pools, self._slots, self._clusters)

    async def _work(self, opened: OpenWorker, taker: RunTaker, nodes: Nodes) -> None:
        engine, kinds = opened.places.engine, list(self._kinds)
        serving = [
            asyncio.create_task(engine.serve(kinds, self._runs, taker.handle)),
            asyncio.create_task(engine.serve(nodes.kinds, self._slots, nodes.handle)),
        ]
        background = [
            asyncio.create_task(Reconciler(opened.places, kinds).run()),
            asyncio.create_task(self._report(opened, taker, nodes)),
        ]
        stopping = asyncio.create_task(self._stopping.wait())
        self._ready.set()
        try:
            await asyncio.wait(
                [*serving, *background, stopping], return_when=asyncio.FIRST_COMPLETED
            )
        except asyncio.CancelledError:
            self._begin_stop(True)
            raise
        finally:
            await self._hand_over(taker, serving)
            await _end_tasks([stopping, *background])
            with suppress(JournalError):
                await opened.workers.remove(self.name)
        for task in (*serving, *background):
            if not task.cancelled():
                task.result()

    async def _hand_over(self, taker: RunTaker, serving: Sequence[asyncio.Task[None]]) -> None:
        """Take nothing new, and wait for what is under way, at first as long as it takes."""
        for task in serving:
            task.cancel()
        taker.begin_stop()
        loop = asyncio.get_running_loop()
        over, is_hurried = loop.time() + self._grace, False
        while not all(task.done() for task in serving):
            is_over = self._hurrying.is_set() or loop.time() >= over
            taker.hand_over(now=is_over)
            if is_over and not is_hurried:  # nodes of others go back into the queue
                is_hurried = True
                for task in serving:
                    task.cancel()
            if is_over and loop.time() >= over + _FAREWELL:
                _LOG.warning("%d runs did not end; they are taken by others", taker.count)
                break
            if self._hurrying.is_set():
                over = min(over, loop.time())
            await asyncio.wait(serving, timeout=_LOOK)

    async def _report(self, opened: OpenWorker, taker: RunTaker, nodes: Nodes) -> None:
        """Keep the row of this worker up to date; a database that is away is waited for."""
        while True:
            row = WorkerRow(
                self.name,
                socket.gethostname(),
                os.getpid(),
                0.0,
                tuple(self._kinds),
                (*self._pools, *(f"{pool}={url}" for pool, url in self._clusters.items())),
                self._slots,
                nodes.used,
                taker.count,
                self._runs,
            )
            with suppress(StoreUnavailable):
                nodes.slots_by_kind = await opened.workers.report(row)
            await asyncio.sleep(PERIOD)


def _check_clusters(clusters: Mapping[str, str], pools: Sequence[str]) -> None:
    """Raise `InputError` for a pool that is none, or that is served here as well."""
    for pool, url in clusters.items():
        if not is_pool(pool) or not isinstance(url, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InputError(
                f"Worker(clusters={{{pool!r:.80}: {url!r:.80}}}): give names of pools and "
                'schedulers, such as clusters={"gpu": "dask://scheduler:8786"}.'
            )
        if pool in pools:
            raise InputError(
                f"The nodes of pool '{pool}' run in this worker, or go to '{url}', but not both. "
                "Name the pool once."
            )


def end_fenced(reason: str) -> None:
    """End the process of a worker that was cut off, before it says that a job is done."""
    sys.stderr.write(
        f"error: this worker was cut off from the database for too long, so others go on with its "
        f"runs: {reason} It ends with exit code {FENCED}; start it again.\n"
    )
    sys.stderr.flush()
    os._exit(FENCED)


async def _end_tasks(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

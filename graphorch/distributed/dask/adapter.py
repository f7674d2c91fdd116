"""The engine on a cluster of Dask: `DaskEngine.open("dask://scheduler:8786")`.

Theory of operation. A job is a task whose key is that of the job, so that the scheduler leaves out
one that is alive. The kinds that a worker serves are resources of it, of which each job takes one:
so only workers of its kind run it, and no more at once than they have slots. The scheduler keeps
nothing on a disk. When it restarts, jobs are lost, and the owners of runs put them again; when a
worker dies, the scheduler has its tasks run elsewhere. What was done twice is settled by the table
of results.

Rules:

1. A process that puts jobs has a client; one that serves is a worker as well. Both live on a
   thread of the engine's own.
2. A client or worker that lost its scheduler is made anew; handlers go on meanwhile.
3. A job with a delay stays with the process that put it until then.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Collection, Generator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from tempfile import TemporaryDirectory
from typing import Any, Final

from graphorch.distributed.engine import AlwaysHeld, Handler, Job, QueueHealth, check_service
from graphorch.distributed.errors import EngineClosed, EngineError, EngineUnavailable
from graphorch.distributed.loop_thread import LoopThread
from graphorch.errors import InputError

try:
    import dask
    import distributed
    from distributed.core import Status
except ImportError as error:
    raise EngineError(
        f"A pool of Dask needs dask.distributed ({error}). "
        "Install it: pip install 'graphorch[dask]'."
    ) from None

from graphorch.distributed.dask.questions import (
    make_count_workers,
    make_find_alive,
    make_list_begun,
    make_list_jobs,
    make_withdraw,
)
from graphorch.distributed.dask.tasks import ATTRIBUTE, Service, run_job

# Their types are known in part only.
_dask: Final[Any] = dask
_distributed: Final[Any] = distributed
_SCHEME: Final = "dask://"
_PATIENCE: Final = 5.0  # seconds for an answer of the scheduler
_PAUSE: Final = 0.25  # seconds until a scheduler that is away is asked again
_FAREWELL: Final = 10.0  # seconds in which handlers have to end that are cancelled
_BREATH: Final = 0.05  # seconds in which a message arrives


class DaskEngine(AlwaysHeld):
    """Hands jobs to workers by way of a scheduler of Dask."""

    def __init__(self, url: str) -> None:
        if not url.startswith(_SCHEME) or len(url) == len(_SCHEME):
            raise InputError(
                f"'{url}' does not name a scheduler of Dask. Give {_SCHEME}HOST:PORT, which "
                "`dask scheduler` prints."
            )
        self.place = url
        self._address = "tcp://" + url.removeprefix(_SCHEME)
        self._thread = LoopThread("graphorch-dask")
        self._client: Any = None
        self._connecting: asyncio.Lock | None = None
        self._delayed: dict[str, tuple[Job, asyncio.TimerHandle]] = {}
        self._services: dict[Service, Future[None]] = {}

    @classmethod
    async def open(cls, url: str) -> DaskEngine:
        """Connect to a scheduler. Raises `EngineUnavailable`, and `InputError` for another URL."""
        engine = cls(url)
        try:
            await engine._thread.call(engine._connect())
        except BaseException:
            await engine.close()
            raise
        return engine

    async def put(self, jobs: Sequence[Job]) -> None:
        """Add jobs; one whose key is alive already is left out."""
        await self._thread.call(self._put(list(jobs)))

    async def serve(self, kinds: Collection[str], slots: int, handler: Handler) -> None:
        """Handle jobs of these kinds, at most `slots` at once, until this is cancelled."""
        check_service(kinds, slots)
        service, over = Service(kinds, slots, handler), Future[None]()
        await self._thread.call(self._connect())
        self._services[service] = over
        begun = _WorkerLoop(self._address, service)
        try:
            await self._thread.call(begun.begin())
            await service.failed
        finally:
            service.failed.cancel()
            try:
                await self._end(service, begun)
            finally:
                del self._services[service]
                over.set_result(None)

    async def cancel(self, keys: Collection[str]) -> None:
        """Withdraw jobs that have not begun; the others go on."""
        await self._thread.call(self._cancel(list(keys)))

    async def forget(self, keys: Collection[str]) -> None:
        """Withdraw jobs that have not begun: the scheduler repeats those of a worker that died."""
        await self._thread.call(self._cancel(list(keys)))

    async def list_alive(self, keys: Collection[str]) -> frozenset[str]:
        """Return those of some keys that have a job which waits or is handled."""
        return await self._thread.call(self._list_alive(list(keys)))

    async def read_health(self) -> Sequence[QueueHealth]:
        """Return how many jobs of each kind there are, in the order of the kinds' names."""
        return await self._thread.call(self._read_health())

    async def find_served(self, kinds: Collection[str]) -> frozenset[str]:
        """Return those of some kinds that a worker of the cluster serves."""
        asked = list(kinds)
        counts = await self._thread.call(self._ask(make_count_workers(), kinds=asked))
        return frozenset(kind for kind, count in zip(asked, counts, strict=True) if count)

    async def close(self) -> None:
        """Release all connections; jobs stay, except those with a delay.

        A call that serves ends with `EngineClosed`. Its handlers are cancelled, and their jobs wait
        again.
        """
        if not self._thread.is_open:
            return
        for service in list(self._services):
            service.post(service.fail, EngineClosed("The engine was closed while it served."))
        under_way = [asyncio.wrap_future(over) for over in self._services.values()]
        if under_way:
            await asyncio.wait(under_way, timeout=_FAREWELL)
        await self._thread.call(self._close())
        await self._thread.close()

    # ---- on the thread ---------------------------------------------------------------------------
    async def _connect(self) -> Any:
        """Return a client that has a connection. Raises `EngineUnavailable`."""
        self._connecting = self._connecting or asyncio.Lock()
        async with self._connecting:
            if self._client is not None and self._client.status == "running":
                return self._client
            await self._drop_client()
            client: Any = _distributed.Client(
                self._address, asynchronous=True, timeout=_PATIENCE, set_as_default=False
            )
            try:
                self._client = await client
            except (OSError, TimeoutError) as error:
                await client.close()
                raise self._explain(error) from None
            return self._client

    async def _drop_client(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with suppress(Exception), _quiet():  # whatever a broken connection makes of it
                await client.close(timeout=1)

    async def _ask(self, question: Any, **values: Any) -> Any:
        client = await self._connect()
        try:
            async with asyncio.timeout(_PATIENCE):
                return await client.run_on_scheduler(question, **values)
        except (OSError, TimeoutError) as error:
            await self._drop_client()
            raise self._explain(error) from None

    def _explain(self, error: Exception) -> EngineUnavailable:
        reason = str(error).strip() or type(error).__name__
        return EngineUnavailable(
            f"'{self.place}' cannot be reached: {reason}. Repeat the call once the scheduler is "
            "there; no job is added twice."
        )

    async def _put(self, jobs: Sequence[Job]) -> None:
        by_key = {job.key: job for job in reversed(jobs)}
        # A task that is sent once more with another kind would have that kind.
        alive = await self._list_alive(list(by_key))
        client = await self._connect()
        loop = asyncio.get_running_loop()
        new = [job for job in jobs if job.key not in alive and by_key[job.key] is job]
        for job in new:
            if job.delay:
                timer = loop.call_later(job.delay, self._put_delayed, job)
                self._delayed[job.key] = job, timer
        _submit(client, [job for job in new if not job.delay])
        # What was sent has no answer of its own, so this says whether the scheduler is there.
        await self._ask(make_find_alive(), keys=[])

    def _put_delayed(self, job: Job) -> None:
        del self._delayed[job.key]
        if self._client is not None and self._client.status == "running":
            _submit(self._client, [job])

    async def _cancel(self, keys: list[str]) -> None:
        for key in keys:
            if key in self._delayed:
                self._delayed.pop(key)[1].cancel()
        alive = set(await self._ask(make_find_alive(), keys=keys))
        client = await self._connect()
        try:
            async with asyncio.timeout(_PATIENCE):
                begun = await client.run(make_list_begun(), on_error="ignore")
        except (OSError, TimeoutError) as error:
            raise self._explain(error) from None
        waiting = alive.difference(*begun.values())
        await self._ask(make_withdraw(), keys=list(waiting))

    async def _list_alive(self, keys: list[str]) -> frozenset[str]:
        alive = await self._ask(make_find_alive(), keys=keys)
        return frozenset(alive) | (self._delayed.keys() & set(keys))

    async def _read_health(self) -> list[QueueHealth]:
        listed = await self._ask(make_list_jobs())
        now = time.time()
        waiting, handled, oldest = Counter[str](), Counter[str](), dict[str, float]()
        busy = Counter[str]()
        for kind, put, worker, slots in sorted(listed, key=lambda each: each[1]):
            if worker is not None and busy[worker] < slots:
                busy[worker] += 1
                handled[kind] += 1
            else:
                waiting[kind] += 1
                oldest.setdefault(kind, put)
        for job, _ in self._delayed.values():
            waiting[job.kind] += 1
        return [
            QueueHealth(kind, waiting[kind], handled[kind], max(0.0, now - oldest.get(kind, now)))
            for kind in sorted({*waiting, *handled})
        ]

    async def _close(self) -> None:
        for _, timer in self._delayed.values():
            timer.cancel()
        await self._drop_client()

    async def _end(self, service: Service, worker: _WorkerLoop) -> None:
        """Wait for the handlers; a cancellation meanwhile cancels them."""
        ending = asyncio.ensure_future(self._drain(service, worker))
        is_cancelled = False
        while not ending.done():
            try:
                await asyncio.wait([ending])
            except asyncio.CancelledError:
                is_cancelled = True
                service.cancel_handlers()
        if is_cancelled:
            raise asyncio.CancelledError
        ending.result()

    async def _drain(self, service: Service, worker: _WorkerLoop) -> None:
        await self._thread.call(worker.pause())
        await service.join()
        await self._thread.call(worker.end())


@contextmanager
def _quiet() -> Generator[None]:
    """Drop what the client logs: a traceback, if it is closed while it looks for its scheduler."""
    logger = logging.getLogger("distributed.client")
    logger.addFilter(_drop)
    try:
        yield
    finally:
        logger.removeFilter(_drop)


def _drop(_: logging.LogRecord) -> bool:
    return False


class _WorkerLoop:
    """Keeps a worker of Dask for a service, and makes another one when it lost its scheduler."""

    def __init__(self, address: str, service: Service) -> None:
        self._address = address
        self._service = service
        self._worker: Any = None
        self._folder = TemporaryDirectory(prefix="graphorch-dask-")
        self._is_paused = False
        self._keeping: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Start the worker. Raises `EngineUnavailable`."""
        try:
            await self._start()
        except (OSError, TimeoutError) as error:
            raise EngineUnavailable(f"'{self._address}' takes no worker: {error}.") from None
        self._keeping = asyncio.create_task(self._keep())

    async def pause(self) -> None:
        """Begin no more tasks."""
        self._is_paused = True
        if self._worker is not None and self._worker.status == Status.running:
            self._worker.status = Status.paused

    async def end(self) -> None:
        """Report the last tasks, let other workers have those that were not begun, and stop."""
        self._is_paused = True
        worker = self._worker
        if worker is not None and worker.status == Status.paused:
            await _flush(worker)
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(_PATIENCE):
                    await worker.close_gracefully()
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        if worker is not None:
            await worker.close(nanny=False)
        self._folder.cleanup()

    async def _start(self) -> None:
        service = self._service
        worker: Any = _distributed.Worker(
            self._address,
            nthreads=service.slots,
            resources=dict.fromkeys(service.kinds, service.slots),
            memory_limit=0,
            dashboard=False,
            local_directory=self._folder.name,
        )
        setattr(worker, ATTRIBUTE, service)
        self._worker = worker
        await worker

    async def _keep(self) -> None:
        while True:
            await self._worker.finished()
            while not self._is_paused:
                await asyncio.sleep(_PAUSE)
                with suppress(OSError, TimeoutError):
                    await self._start()
                    break
            if self._is_paused:
                return


async def _flush(worker: Any) -> None:
    """Wait until the ends of tasks were sent, which the scheduler hears on another connection."""
    loop = asyncio.get_running_loop()
    over = loop.time() + _PATIENCE
    while True:
        is_busy = worker.state.executing or worker.batched_stream.buffer
        await asyncio.sleep(_BREATH)
        if not is_busy or loop.time() > over:
            return


def _submit(client: Any, jobs: Sequence[Job]) -> None:
    """Send jobs as tasks, those of one kind and priority together."""
    groups: dict[tuple[str, int], list[Job]] = {}
    for job in jobs:
        groups.setdefault((job.kind, job.priority), []).append(job)
    for (kind, priority), group in groups.items():
        with _dask.annotate(graphorch=time.time()):
            futures = client.map(
                run_job,
                [kind] * len(group),
                [job.key for job in group],
                [job.payload for job in group],
                [priority] * len(group),
                key=[job.key for job in group],
                resources={kind: 1},
                priority=priority,
                pure=False,
            )
        # The scheduler keeps them although nothing here waits, and drops those that are over.
        _distributed.fire_and_forget(futures)

"""What runs on a worker of Dask: the task of a job, and the service that it finds there.

A task names no code: it is always `run_job`, with the kind, key and payload of a job. Which
function handles it is decided by the process in which the worker lives.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from typing import Any, Final

from distributed import Reschedule
from distributed.worker import get_worker

from graphorch.distributed.engine import Handler, Job
from graphorch.distributed.errors import EngineError

_LOG = logging.getLogger("graphorch.distributed")
ATTRIBUTE: Final = "graphorch_service"  # of a worker of Dask


class Service:
    """Handles the jobs of one call of `serve`, on the event loop of its caller.

    All methods but `run` and `post` belong to that loop.
    """

    def __init__(self, kinds: Collection[str], slots: int, handler: Handler) -> None:
        self.kinds = sorted(set(kinds))
        self.slots = slots
        self.loop = asyncio.get_running_loop()
        self.failed: asyncio.Future[None] = self.loop.create_future()
        self._handler = handler
        # A worker that lost its scheduler is made anew, while handlers of the old one go on.
        self._room = asyncio.Semaphore(slots)
        self._tasks: set[asyncio.Task[Any]] = set()

    async def run(self, job: Job) -> None:
        """Handle a job, from the loop of Dask. It goes on if the task is cancelled meanwhile.

        Raises `Reschedule` if the handler was cancelled.
        """
        handling = asyncio.run_coroutine_threadsafe(self._handle(job), self.loop)
        is_over = await asyncio.shield(asyncio.wrap_future(handling))
        if not is_over:
            raise Reschedule

    def post(self, call: Callable[..., object], *arguments: Any) -> None:
        """Call a method on the loop of this service."""
        self.loop.call_soon_threadsafe(call, *arguments)

    def fail(self, error: EngineError) -> None:
        """Let `serve` raise an error, and cancel the handlers."""
        if not self.failed.done():
            self.failed.set_exception(error)
        self.cancel_handlers()

    def cancel_handlers(self) -> None:
        """Cancel all handlers, whose jobs wait again."""
        for task in self._tasks:
            task.cancel()

    async def join(self) -> None:
        """Wait until all handlers have ended."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _handle(self, job: Job) -> bool:
        """Return whether a job is over."""
        handling = asyncio.ensure_future(self._call(job))
        self._tasks.add(handling)
        try:
            await asyncio.wait([handling])
            return not handling.cancelled()
        finally:
            self._tasks.discard(handling)

    async def _call(self, job: Job) -> None:
        try:
            async with self._room:
                await self._handler(job)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            _LOG.exception("Job %r of kind %r was cancelled by its own code.", job.key, job.kind)
        except Exception:
            _LOG.exception("Job %r of kind %r raised, and is over.", job.key, job.kind)


async def run_job(kind: str, key: str, payload: bytes, priority: int) -> None:
    """Handle a job by the service of the worker on which this task runs."""
    worker: Any = get_worker()
    service: Service | None = getattr(worker, ATTRIBUTE, None)
    if service is None:
        raise RuntimeError(
            f"Worker {worker.address} has the resource {kind!r} of graphorch, and serves no jobs "
            "of it. Start it with `serve`, and give no other worker this resource."
        )
    await service.run(Job(kind, key, payload, priority))

"""One call of `serve`: its handlers, which run on the event loop of the caller."""

from __future__ import annotations

import asyncio
import logging
import math
import time
import uuid
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from graphorch.distributed.engine import Handler, Job
from graphorch.distributed.errors import EngineError

_LOG = logging.getLogger("graphorch.distributed")

# How a claimed job ends, in PgQueuer's words; one that is given back is "queued" again.
DONE, FAILED, GIVEN_BACK = "successful", "exception", "queued"


@dataclass(frozen=True, slots=True)
class Claim:
    """A job that this process took, by its number in the queue."""

    id: int
    job: Job


Report = Callable[["Service", Sequence[tuple[int, str]]], None]
"""Takes the numbers of jobs that ended and how, from the loop of the service."""


class Service:
    """Runs the handlers of claimed jobs.

    `manager` is the owner of its claims, and `over` is done when the call has ended. All methods
    but `post` and `is_held` belong to the loop of the caller, and these attributes to the engine's
    thread: whether it is `is_claiming` jobs; `is_backlogged`, whether more may wait than it had
    slots; the numbers of the jobs that it has `claimed` and that have not ended in the queue, of
    those `running` by their keys, of those `lost` to another process, and of those that have
    `ended` and how. `renewed` says when the last heartbeat of each job was sent, in monotonic
    seconds.
    """

    def __init__(
        self, kinds: Collection[str], slots: int, handler: Handler, report: Report
    ) -> None:
        self.kinds = sorted(set(kinds))
        self.slots = slots
        self.manager = uuid.uuid4()
        self.is_claiming = self.is_backlogged = False
        self.claimed: set[int] = set()
        self.running: dict[int, str] = {}
        self.renewed: dict[str, float] = {}
        self.lost: set[int] = set()
        self.ended: list[tuple[int, str]] = []
        self.loop = asyncio.get_running_loop()
        self.failed: asyncio.Future[None] = self.loop.create_future()
        self.over: Future[None] = Future()
        self._handler = handler
        self._report = report
        self._is_ending = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._reported: list[tuple[int, str]] = []

    def post(self, call: Callable[..., object], *arguments: Any) -> bool:
        """Call a method on the loop of this service; return whether that loop is still open."""
        try:
            self.loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:
            return False
        return True

    def is_held(self, key: str, seconds: float) -> bool:
        """Return whether the last heartbeat of a job was sent within so many seconds."""
        return time.monotonic() < self.renewed.get(key, -math.inf) + seconds

    def start(self, claims: Sequence[Claim]) -> None:
        """Begin to handle claimed jobs; once this service ends, give them back instead."""
        for claim in claims:
            if self._is_ending:
                self._end(claim.id, GIVEN_BACK)
                continue
            task = self.loop.create_task(self._handle(claim), name=f"job {claim.job.key}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def fail(self, error: EngineError) -> None:
        """Let `serve` raise an error, and cancel the handlers."""
        if not self.failed.done():
            self.failed.set_exception(error)
        self._is_ending = True
        self.cancel_handlers()

    def stop(self) -> None:
        """Begin no further job."""
        self._is_ending = True
        self.failed.cancel()

    async def join(self) -> None:
        """Wait until all handlers have ended, and report them."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        self._flush()

    def cancel_handlers(self) -> None:
        """Cancel all handlers, whose jobs are given back."""
        for task in self._tasks:
            task.cancel()

    async def _handle(self, claim: Claim) -> None:
        outcome = GIVEN_BACK
        try:
            outcome = await self._call(claim.job)
        finally:
            self._end(claim.id, outcome)

    async def _call(self, job: Job) -> str:
        try:
            await self._handler(job)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            _LOG.exception("Job %r of kind %r was cancelled by its own code.", job.key, job.kind)
            return FAILED
        except Exception:
            _LOG.exception("Job %r of kind %r raised, and is over.", job.key, job.kind)
            return FAILED
        return DONE

    def _end(self, number: int, outcome: str) -> None:
        """Report an end together with the others of this turn of the loop."""
        if not self._reported:
            self.loop.call_soon(self._flush)
        self._reported.append((number, outcome))

    def _flush(self) -> None:
        ended, self._reported = self._reported, []
        if ended:
            self._report(self, ended)

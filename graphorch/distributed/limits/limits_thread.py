"""Thread with a connection of its own, on which the limits of a database are asked for.

Theory of operation. Jobs run one at a time, in their order, for callers on any number of event
loops. A job that fails because the server is away is run again until its caller has given up, at
most `PATIENCE` seconds; so a job has to be right also if it ran before, wholly or in part. Between
the jobs, `tidy` is called about twice a second for as long as it asks for it. The thread begins
with the first job, and ends when it is closed; the next job begins another one, once it has ended.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any, LiteralString, Protocol

from graphorch.clock import outside
from graphorch.errors import JournalError
from graphorch.journal.errors import StoreClosed, StoreUnavailable
from graphorch.journal.postgres.connection import Address, Session, explain

_LOG = logging.getLogger(__name__)

PATIENCE = 30.0
"""Seconds for which a call waits for a server that is away, if its own time is not over before."""
_TICK = 0.5  # seconds between two calls of `tidy`
_CONNECTING = 5.0  # seconds of one try
_PAUSE = 0.2  # seconds between two tries


class Housekeeper(Protocol):
    """Work between the jobs. Both methods are called in the thread."""

    @property
    def needs_tidying(self) -> bool:
        """Return whether `tidy` should be called soon."""
        ...

    def tidy(self) -> None:
        """Do what is due. May raise as a job does; it is called again then."""
        ...


class _Job:
    """Function that a caller waits for, and when it is too late."""

    __slots__ = ("answer", "until", "work")

    def __init__(self, work: Callable[[], Any], patience: float) -> None:
        self.work = work
        self.until = time.monotonic() + patience
        self.answer: Future[Any] = Future()


class LimitsThread:
    """Runs functions that `fetch`, one at a time, in a thread."""

    def __init__(self, url: str, *, patience: float = PATIENCE) -> None:
        self._session = Session(Address(url))
        self._patience = patience
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closing: threading.Thread | None = None
        self._process = os.getpid()
        self._housekeepers: list[Housekeeper] = []
        self._tidied_at = 0.0
        self._until = 0.0  # of the job that runs
        self.statements = 0
        """Statements that were sent so far."""

    def keep(self, housekeeper: Housekeeper) -> None:
        """Have a housekeeper called between the jobs."""
        self._housekeepers.append(housekeeper)

    # ---- callers ---------------------------------------------------------------------------------
    async def run(self, work: Callable[[], Any]) -> Any:
        """Return what a function returns; when the caller is cancelled, its result is dropped.

        Raises `JournalError` if the server stays away, and what the function raises.
        """
        job = self._submit(work, self._patience)
        with outside(asyncio.get_running_loop()):
            return await asyncio.wrap_future(job.answer)

    async def close(self, last: Callable[[], None], patience: float = 5.0) -> None:
        """Run a last function, if the server is there, and release thread and connection."""
        with self._lock:
            thread = self._thread
            if thread is None or os.getpid() != self._process:
                return
            self._thread, self._closing = None, thread
            self._queue.put(_Job(last, patience))
            self._queue.put(None)
        with outside(asyncio.get_running_loop()):
            await asyncio.to_thread(thread.join)

    def post(self, work: Callable[[], Any]) -> None:
        """Run a function soon, without waiting for it; what it raises is dropped."""
        self._submit(work, 0.0)

    def _submit(self, work: Callable[[], Any], patience: float) -> _Job:
        if os.getpid() != self._process:
            raise StoreClosed(
                f"The limits of '{self._session.address.place}' were opened by process "
                f"{self._process}, of which this one is a fork. Open them again here."
            )
        job = _Job(work, patience)
        with self._lock:
            self._queue.put(job)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._work, args=(self._closing,), name="graphorch limits", daemon=True
                )
                self._thread.start()
        return job

    # ---- the thread ------------------------------------------------------------------------------
    def fetch(self, statement: LiteralString, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Run a statement in the thread, and return its rows."""
        until = min(self._until, time.monotonic() + _CONNECTING)
        connection = self._session.acquire(until)
        self.statements += 1
        cursor = connection.execute(statement, values, binary=True)
        return cursor.fetchall() if cursor.description else []

    def _work(self, before: threading.Thread | None) -> None:
        if before is not None:
            before.join()  # they share the connection
        while (job := self._take()) is not None:
            if job.answer.set_running_or_notify_cancel():
                self._answer(job)
            self._tidy()
        self._session.close()

    def _take(self) -> _Job | None:
        """Return the next job; None at the end."""
        while True:
            is_needed = any(keeper.needs_tidying for keeper in self._housekeepers)
            try:
                return self._queue.get(timeout=_TICK if is_needed else None)
            except Empty:
                self._tidy()

    def _answer(self, job: _Job) -> None:
        try:
            result = self._perform(job)
        # The border of the thread: every error goes to the caller, and the thread goes on.
        except BaseException as error:
            job.answer.set_exception(error)
        else:
            job.answer.set_result(result)

    def _perform(self, job: _Job) -> Any:
        self._until = job.until
        while True:
            try:
                return job.work()
            except Exception as error:
                failure = explain(error, self._session.address.place)
                self._session.drop_if_lost()
                if not isinstance(failure, StoreUnavailable):
                    raise failure from None
                if time.monotonic() >= job.until:
                    raise self._build_error() from None
            time.sleep(_PAUSE)

    def _build_error(self) -> StoreUnavailable:
        return StoreUnavailable(
            f"The shared limits in '{self._session.address.place}' could not be asked for within "
            f"{self._patience:g} s, so the model was not. Nothing was spent. Check the server, and "
            "resume the run."
        )

    def _tidy(self) -> None:
        now = time.monotonic()
        if now - self._tidied_at < _TICK:
            return
        self._tidied_at, self._until = now, now + _TICK
        for keeper in self._housekeepers:
            if not keeper.needs_tidying:
                continue
            try:
                keeper.tidy()
            # The border of the thread, which has to go on for its callers.
            except Exception as error:
                self._session.drop_if_lost()
                if not isinstance(explain(error, ""), JournalError):
                    _LOG.exception("shared limits were not tidied, which is tried again")

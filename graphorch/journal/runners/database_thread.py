"""Thread that runs operations on one connection, for callers on any number of event loops.

Theory of operation. All operations that arrive while one batch runs are the next batch: with one
caller that is one operation, with a hundred it is a hundred that share one commit. Each caller
waits for its own, so the queue is never longer than the number of callers. Operations that begin in
one turn of an event loop are queued together at the end of that turn: otherwise the first of a
hundred would be a batch of its own, and the thread would contend with the other ninety-nine for the
interpreter.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeAlias, TypeVar, cast

from graphorch.clock import count_outside, outside
from graphorch.errors import JournalError
from graphorch.journal.completion import Completion
from graphorch.journal.errors import StoreClosed
from graphorch.journal.tables import Tables

T = TypeVar("T")
C = TypeVar("C")  # through which an operation uses the connection
Operation = Callable[[Tables], Any]

_CLOSED = "The store was closed, so it accepts no calls. Open it again."
_FORKED = (
    "The store was opened by process {opener}, of which this one is a fork. A fork cannot "
    "use the files and threads of its parent: open the store again here."
)


@dataclass(slots=True)
class Done:
    """Outcome of one operation: its result, or its error."""

    result: Any = None
    error: Exception | None = None


Transact: TypeAlias = Callable[[Sequence[Callable[[C], Any]]], Sequence[Done]]
"""Runs operations and returns the outcome of each, in their order. It does not raise."""


def attempt(operation: Operation, tables: Tables) -> Done:
    """Run an operation and return its outcome.

    It raises a `JournalError` before its first write, so others in the transaction are unaffected.
    """
    try:
        return Done(operation(tables))
    except JournalError as error:
        return Done(error=error)


@dataclass(slots=True)
class _Job(Generic[C]):
    operation: Callable[[C], Any]
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[Any]
    is_counted: bool  # as something outside of a loop with virtual time


class DatabaseThread(Generic[C]):
    """Runs operations in a thread, `batch` or a few more at once, until it is closed.

    Then `end` releases the connection.
    """

    def __init__(
        self, name: str, transact: Transact[C], end: Callable[[], None], *, batch: int
    ) -> None:
        self._transact = transact
        self._end = end
        self._batch = batch
        self._queue: SimpleQueue[list[_Job[C]] | None] = SimpleQueue()
        # jobs of the present turn of each loop
        self._begun: dict[asyncio.AbstractEventLoop, list[_Job[C]]] = {}
        # numbers of operations that were ever queued, and that ran
        self._given = self._done = 0
        self._lock = threading.Lock()
        self._is_closed = False
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    @property
    def is_idle(self) -> bool:
        """Return whether all operations so far have run."""
        return not self._begun and self._given == self._done and os.getpid() == self._process

    async def run(self, operation: Callable[[C], T]) -> T:
        """Run an operation and return its result.

        A caller that is cancelled stops waiting; the operation runs nevertheless.
        """
        loop = asyncio.get_running_loop()
        answer = loop.create_future()
        self._hand_over(loop)  # earlier operations first
        self._put([_Job(operation, loop, answer, False)])
        with outside(loop):
            return cast(T, await answer)

    def begin(self, operation: Callable[[C], None]) -> Completion:
        """Begin an operation and return at once."""
        loop = asyncio.get_running_loop()
        self._check_open()
        answer = Completion(loop=loop)
        job = _Job(operation, loop, answer, count_outside(loop, 1))
        begun = self._begun.get(loop)
        if begun is None:
            self._begun[loop] = [job]
            loop.call_soon(self._hand_over, loop)
        else:
            begun.append(job)
        return answer

    async def close(self) -> None:
        """Run earlier operations, release the connection, end the thread.

        A fork leaves both to its parent.
        """
        if os.getpid() != self._process:
            return
        self._hand_over(asyncio.get_running_loop())
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        jobs = self._begun.pop(loop, None)
        if jobs:
            try:
                self._put(jobs)
            except StoreClosed as error:  # closed in the same turn by another loop
                _settle([(job, Done(error=error)) for job in jobs])

    def _check_open(self) -> None:
        # A lock that another thread held at the fork is never released: look before taking it.
        if os.getpid() != self._process:
            raise StoreClosed(_FORKED.format(opener=self._process))
        if self._is_closed:
            raise StoreClosed(_CLOSED)

    def _put(self, jobs: list[_Job[C]]) -> None:
        self._check_open()
        with self._lock:
            if self._is_closed:
                raise StoreClosed(_CLOSED)
            self._given += len(jobs)
            self._queue.put(jobs)

    def _work(self) -> None:
        is_open = True
        while is_open:
            jobs, is_open = self._take()
            if jobs:
                outcomes = self._transact([job.operation for job in jobs])
                self._done += len(jobs)
                _answer(jobs, outcomes)
        self._end()

    def _take(self) -> tuple[list[_Job[C]], bool]:
        """Return the jobs of the next batch, and whether more may come."""
        jobs: list[_Job[C]] = []
        more = self._queue.get()
        while more is not None:
            jobs += more
            if len(jobs) >= self._batch:
                return jobs, True
            try:
                more = self._queue.get_nowait()
            except Empty:
                return jobs, True
        return jobs, False


def _answer(jobs: Sequence[_Job[C]], outcomes: Sequence[Done]) -> None:
    """Wake each event loop once for all of its callers."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[_Job[C], Done]]] = {}
    for job, done in zip(jobs, outcomes, strict=True):
        by_loop.setdefault(job.loop, []).append((job, done))
    for loop, answers in by_loop.items():
        try:
            loop.call_soon_threadsafe(_settle, answers)
        except RuntimeError:  # the loop was closed, and its tasks with it
            continue


def _settle(answers: Sequence[tuple[_Job[C], Done]]) -> None:
    for job, done in answers:
        answer = job.answer
        if job.is_counted:
            count_outside(job.loop, -1)
        if answer.done():  # cancelled
            continue
        if done.error is not None:
            answer.set_exception(done.error)
        else:
            answer.set_result(done.result)

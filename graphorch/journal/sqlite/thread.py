"""A thread that runs operations on one connection, for any number of callers on any number of event loops.

What has piled up while one batch ran is the next batch: with one caller that is one operation, with a hundred it is a hundred that share
one commit. Each caller waits for its own, so the queue is never longer than there are callers. What is begun in one turn of an event loop
is handed over at the end of that turn, all together: else the first of a hundred would be a batch of its own, and the thread would contend
with the other ninety-nine for the interpreter.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, TypeVar, cast

from graphorch.clock import count_outside, outside
from graphorch.journal.completion import Completion
from graphorch.journal.errors import StoreClosed
from graphorch.journal.tables import Tables

T = TypeVar("T")
Operation = Callable[[Tables], Any]

_CLOSED = "The store was closed, so it takes no calls. Open it again."


@dataclass(slots=True)
class Done:
    """What became of one operation: its result, or its error."""

    result: Any = None
    error: Exception | None = None


Transact = Callable[[Sequence[Operation]], Sequence[Done]]
"""Runs operations and returns what became of each, in their order. It does not raise."""


@dataclass(slots=True)
class _Job:
    operation: Operation
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[Any]
    is_counted: bool  # as something outside of a loop with virtual time


class DatabaseThread:
    """Runs operations in a thread, `batch` or a few more at once, until it is closed; then it lets go of the connection with `end`."""

    def __init__(
        self, name: str, transact: Transact, end: Callable[[], None], *, batch: int
    ) -> None:
        self._transact = transact
        self._end = end
        self._batch = batch
        self._queue: SimpleQueue[list[_Job] | None] = SimpleQueue()
        # in the present turn of each loop
        self._begun: dict[asyncio.AbstractEventLoop, list[_Job]] = {}
        # operations in the queue since the beginning, and those that ran
        self._given = self._done = 0
        self._lock = threading.Lock()
        self._is_closed = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    @property
    def is_idle(self) -> bool:
        """Whether everything that was asked for so far has run."""
        return not self._begun and self._given == self._done

    async def run(self, operation: Callable[[Tables], T]) -> T:
        """What the operation returns or raises. A caller that is cancelled stops waiting; the operation runs all the same."""
        loop = asyncio.get_running_loop()
        answer = loop.create_future()
        self._hand_over(loop)  # what was begun before comes before
        self._put([_Job(operation, loop, answer, False)])
        with outside(loop):
            return cast(T, await answer)

    def begin(self, operation: Callable[[Tables], None]) -> Completion:
        """Have an operation run, and return at once."""
        loop = asyncio.get_running_loop()
        if self._is_closed:
            raise StoreClosed(_CLOSED)
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
        """Run what was asked before, let go of the connection, end the thread."""
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
            except StoreClosed as error:  # in the same turn, by another loop
                _settle([(job, Done(error=error)) for job in jobs])

    def _put(self, jobs: list[_Job]) -> None:
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

    def _take(self) -> tuple[list[_Job], bool]:
        """The jobs of the next batch, and whether more may come."""
        jobs: list[_Job] = []
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


def _answer(jobs: Sequence[_Job], outcomes: Sequence[Done]) -> None:
    """Wake each event loop once for all of its callers."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[_Job, Done]]] = {}
    for job, done in zip(jobs, outcomes, strict=True):
        by_loop.setdefault(job.loop, []).append((job, done))
    for loop, answers in by_loop.items():
        try:
            loop.call_soon_threadsafe(_settle, answers)
        except RuntimeError:  # the loop was closed: nobody waits any more
            continue


def _settle(answers: Sequence[tuple[_Job, Done]]) -> None:
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

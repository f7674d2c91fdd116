"""An engine in memory, as bad as the port allows: it loses, doubles, delays and reorders jobs.

Everything follows from the seed and from the time of the event loop, so under a virtual clock the
same test always meets the same faults:

    async def main() -> None:
        queue = MemoryQueue(seed, Faults(lose=0.05, double=0.1, delay=2.0, reorder=True))
        workers = [queue.connect(f"worker {number}") for number in range(3)]
        ...
        queue.kill(workers[0])   # its handlers are cancelled, others get its jobs after `timeout`

    run_virtual(main(), seed=seed)

Each worker of a test connects for itself. `queue.story` tells who was handed what and when.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from graphorch.distributed.engine import Handler, Job, QueueHealth
from graphorch.distributed.errors import EngineClosed, EngineUnavailable


@dataclass(frozen=True)
class Faults:
    """Chances of faults, from 0 to 1 for each job, and whether the order is random.

    `lose`: the job vanishes, when it is put or when it would be handed out. `double`: a second
    worker gets it while the first one handles it. `redeliver`: it is handed out again when it is
    over. `delay`: seconds that it waits at most before it is handed out. `unavailable`: a call
    raises `EngineUnavailable`, with half of its jobs put. None of them happens after `until`
    seconds of the loop's time, so that a test comes to its end.
    """

    lose: float = 0.0
    double: float = 0.0
    redeliver: float = 0.0
    delay: float = 0.0
    unavailable: float = 0.0
    reorder: bool = False
    until: float = math.inf


NONE = Faults()
ALL = Faults(lose=0.1, double=0.2, redeliver=0.2, delay=2.0, unavailable=0.05, reorder=True)


@dataclass(eq=False)
class _Entry:
    """A job that waits (`holder` is None) or is handled."""

    job: Job
    number: int
    due: float
    holder: MemoryEngine | None = None


@dataclass(eq=False)
class _Service:
    """One call of `serve`."""

    engine: MemoryEngine
    kinds: frozenset[str]
    slots: int
    handler: Handler
    failed: asyncio.Future[None]
    is_ending: bool = False
    tasks: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])


class MemoryQueue:
    """The server of this engine; jobs of a worker that was killed come back after `timeout`."""

    def __init__(self, seed: int = 0, faults: Faults = NONE, *, timeout: float = 3.0) -> None:
        self.story: list[tuple[float, str, str]] = []  # time, worker, key
        self.is_away = False  # whether calls raise `EngineUnavailable`
        self._random = Random(seed)
        self._faults = faults
        self._timeout = timeout
        self._alive: dict[str, _Entry] = {}
        self._again: list[_Entry] = []  # further deliveries, beside those that are alive
        self._handled: list[_Entry] = []  # of both kinds
        self._services: list[_Service] = []
        self._number = 0
        self._is_awake = False

    def connect(self, name: str) -> MemoryEngine:
        """Return the engine of one worker."""
        return MemoryEngine(self, name)

    def kill(self, engine: MemoryEngine) -> None:
        """End a worker as `kill -9` does, as far as tasks allow.

        Its handlers are cancelled, its calls raise `EngineClosed`, nothing that it does counts.
        """
        self._drop(engine, EngineClosed(f"{engine.name} was killed."))
        for service in [service for service in self._services if service.engine is engine]:
            for task in service.tasks:
                task.cancel()
        self.expire(engine, after=self._timeout)

    def lose_all(self) -> None:
        """Forget all jobs, as a server does that keeps them in memory; their handlers go on."""
        self._alive.clear()
        self._again.clear()

    def expire(self, engine: MemoryEngine, *, after: float = 0.0) -> None:
        """Take a worker for dead, which goes on: others get its jobs too."""
        held = [entry for entry in self._alive.values() if entry.holder is engine]
        asyncio.get_running_loop().call_later(after, self._release, engine, held)

    # ---------------------------------------------------------------- jobs

    def _put(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            if job.key not in self._alive and not self._happens(self._faults.lose / 2):
                self._add(job, job.delay)
        self._wake()

    def _add(self, job: Job, delay: float) -> None:
        loop = asyncio.get_running_loop()
        if self._faults.delay and loop.time() < self._faults.until:
            delay += self._random.uniform(0, self._faults.delay)
        self._number += 1
        self._alive[job.key] = _Entry(replace(job, delay=0.0), self._number, loop.time() + delay)
        if delay:
            loop.call_later(delay, self._wake)

    def _wake(self) -> None:
        """Hand out jobs after this turn of the loop, once for all that happened in it."""
        if not self._is_awake:
            self._is_awake = True
            asyncio.get_running_loop().call_soon(self._deliver)

    def _deliver(self) -> None:
        """Hand out whatever may begin, to any worker with a free slot."""
        self._is_awake = False
        now = asyncio.get_running_loop().time()
        waiting = [entry for entry in self._alive.values() if entry.holder is None]
        ready = [entry for entry in [*waiting, *self._again] if entry.due <= now]
        if self._faults.reorder and now < self._faults.until:
            self._random.shuffle(ready)
        else:
            ready.sort(key=lambda entry: (-entry.job.priority, entry.number))
        for entry in ready:
            free = [service for service in self._services if _takes(service, entry.job.kind)]
            if not any(len(service.tasks) < service.slots for service in self._services):
                return
            if free:
                self._hand_out(entry, self._random.choice(free))

    def _hand_out(self, entry: _Entry, service: _Service) -> None:
        if entry in self._again:
            self._again.remove(entry)
        elif self._happens(self._faults.lose / 2):
            del self._alive[entry.job.key]
            return
        elif self._happens(self._faults.double):
            self._hand_again(entry.job)
        entry.holder = service.engine
        self._handled.append(entry)
        loop = asyncio.get_running_loop()
        self.story.append((loop.time(), service.engine.name, entry.job.key))
        task = loop.create_task(_handle(entry.job, service), name=f"job {entry.job.key}")
        service.tasks.add(task)
        task.add_done_callback(lambda task: self._end(entry, service, task))

    def _end(self, entry: _Entry, service: _Service, task: asyncio.Task[None]) -> None:
        service.tasks.discard(task)
        self._handled.remove(entry)
        engine = service.engine
        is_current = self._alive.get(entry.job.key) is entry and entry.holder is engine
        if is_current and engine.closed is None:
            if not task.cancelled():
                del self._alive[entry.job.key]
                if self._happens(self._faults.redeliver):
                    self._hand_again(entry.job)
            else:
                entry.holder = None
        self._wake()

    def _hand_again(self, job: Job) -> None:
        wait = self._random.uniform(0, self._timeout)
        loop = asyncio.get_running_loop()
        self._again.append(_Entry(job, self._number, loop.time() + wait))
        loop.call_later(wait, self._wake)

    def _release(self, engine: MemoryEngine, held: Sequence[_Entry]) -> None:
        for entry in held:
            if entry.holder is engine:
                entry.holder = None
        self._wake()

    def _happens(self, chance: float) -> bool:
        if not chance or asyncio.get_running_loop().time() >= self._faults.until:
            return False
        return self._random.random() < chance

    def _drop(self, engine: MemoryEngine, error: EngineClosed) -> None:
        engine.closed = engine.closed or error
        for service in self._services:
            if service.engine is engine and not service.failed.done():
                service.is_ending = True
                service.failed.set_exception(engine.closed)


async def _handle(job: Job, service: _Service) -> None:
    """Call the handler; a cancellation that came from outside leaves this task."""
    try:
        await service.handler(job)
    except Exception:
        return
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise


def _takes(service: _Service, kind: str) -> bool:
    return kind in service.kinds and not service.is_ending and len(service.tasks) < service.slots


class MemoryEngine:
    """The engine of one worker; `closed` is the error that its calls raise once it is closed."""

    def __init__(self, queue: MemoryQueue, name: str) -> None:
        self.name = name
        self.closed: EngineClosed | None = None
        self.stopped_until = 0.0  # the loop's time, as if the process was stopped
        self._queue = queue
        self._loop: asyncio.AbstractEventLoop | None = None

    async def put(self, jobs: Sequence[Job]) -> None:
        """Add jobs; one whose key is alive already is left out."""
        try:
            await self._begin()
        except EngineUnavailable:
            if not self._queue.is_away:
                self._queue._put(jobs[: len(jobs) // 2])
            raise
        self._queue._put(jobs)

    async def serve(self, kinds: Collection[str], slots: int, handler: Handler) -> None:
        """Handle jobs of these kinds, at most `slots` at once, until this is cancelled."""
        await asyncio.sleep(0)
        self._check_open()
        self._loop = asyncio.get_running_loop()
        failed = self._loop.create_future()
        service = _Service(self, frozenset(kinds), slots, handler, failed)
        self._queue._services.append(service)
        self._queue._wake()
        try:
            await failed
        finally:
            service.is_ending = True
            failed.cancel()
            await self._drain(service)
            self._queue._services.remove(service)

    async def cancel(self, keys: Collection[str]) -> None:
        """Withdraw jobs that have not begun; the others go on."""
        await self._begin()
        for key in keys:
            entry = self._queue._alive.get(key)
            if entry is not None and entry.holder is None:
                del self._queue._alive[key]

    async def forget(self, keys: Collection[str]) -> None:
        """Withdraw jobs that are done, also those that a worker has."""
        await self._begin()
        for key in keys:
            if (entry := self._queue._alive.pop(key, None)) is not None:
                entry.holder = None

    async def list_alive(self, keys: Collection[str]) -> frozenset[str]:
        """Return those of some keys that have a job which waits or is handled."""
        await self._begin()
        return frozenset(key for key in keys if key in self._queue._alive)

    def is_held(self, key: str) -> bool:
        """Return whether the job is certainly that of this worker."""
        is_stopped = self._loop is not None and self._loop.time() < self.stopped_until
        return not is_stopped and self._has(key)

    async def keep(self, key: str) -> bool:
        """Return whether the job is still that of this worker."""
        await self._begin()
        entry = self._queue._alive.get(key)
        if entry is not None and entry.holder is None:
            entry.holder = self
        return self._has(key)

    def _has(self, key: str) -> bool:
        handled = self._queue._handled
        return any(entry.job.key == key and entry.holder is self for entry in handled)

    async def read_health(self) -> Sequence[QueueHealth]:
        """Return how many jobs of each kind there are, in the order of the kinds' names."""
        await self._begin()
        now = asyncio.get_running_loop().time()
        entries = list(self._queue._alive.values())
        return [
            QueueHealth(
                kind,
                len(waiting := [e for e in entries if e.job.kind == kind and e.holder is None]),
                sum(e.job.kind == kind and e.holder is not None for e in entries),
                max([0.0, *(now - entry.due for entry in waiting)]),
            )
            for kind in sorted({entry.job.kind for entry in entries})
        ]

    async def close(self) -> None:
        """Release the connection; jobs stay. A call that serves ends with `EngineClosed`."""
        self._queue._drop(self, EngineClosed("The engine was closed. Open it again."))
        self._queue.expire(self)

    async def _begin(self) -> None:
        await asyncio.sleep(max(0.0, self.stopped_until - asyncio.get_running_loop().time()))
        self._check_open()
        if self._queue.is_away or self._queue._happens(self._queue._faults.unavailable):
            raise EngineUnavailable("The job queue cannot be reached. Repeat the call.")

    def _check_open(self) -> None:
        if self.closed is not None:
            raise self.closed

    async def _drain(self, service: _Service) -> None:
        is_cancelled = False
        while service.tasks:
            try:
                await asyncio.wait(service.tasks)
            except asyncio.CancelledError:
                is_cancelled = True
                for task in service.tasks:
                    task.cancel()
        if is_cancelled:
            raise asyncio.CancelledError

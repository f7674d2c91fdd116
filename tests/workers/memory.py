"""An engine and a table of placed runs in memory, for tests of what workers decide."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from graphorch.clock import Clock
from graphorch.distributed.engine import AlwaysHeld, Handler, Job, QueueHealth
from graphorch.distributed.placed_runs import PlacedRun, PlacedVersion
from graphorch.journal.store import Store
from graphorch.statuses import FINAL_STATUSES


class MemoryEngine(AlwaysHeld):
    """Hands each job to a server of its kind; `lose_all` forgets what waits."""

    def __init__(self) -> None:
        self.put_jobs: list[Job] = []  # all that were ever put
        self._waiting: dict[str, Job] = {}
        self._handled: dict[str, Job] = {}
        self._changed = asyncio.Event()

    async def put(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            if job.key not in self._waiting and job.key not in self._handled:
                self.put_jobs.append(job)
                if job.delay:
                    loop = asyncio.get_running_loop()
                    loop.call_later(job.delay, self._add, replace(job, delay=0.0))
                else:
                    self._add(job)

    def _add(self, job: Job) -> None:
        self._waiting[job.key] = job
        self._changed.set()

    def lose_all(self) -> None:
        self._waiting.clear()

    async def serve(self, kinds: Collection[str], slots: int, handler: Handler) -> None:
        tasks: set[asyncio.Task[None]] = set()
        try:
            while True:
                free = [job for job in self._waiting.values() if job.kind in kinds]
                free.sort(key=lambda job: -job.priority)
                for job in free[: slots - len(tasks)]:
                    self._handled[job.key] = self._waiting.pop(job.key)
                    task = asyncio.create_task(self._handle(job, handler))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                self._changed.clear()
                await self._changed.wait()
        finally:
            await asyncio.gather(*tasks)

    async def _handle(self, job: Job, handler: Handler) -> None:
        try:
            await handler(job)
        finally:
            del self._handled[job.key]
            self._changed.set()

    async def cancel(self, keys: Collection[str]) -> None:
        for key in keys:
            self._waiting.pop(key, None)

    async def forget(self, keys: Collection[str]) -> None:
        await self.cancel(keys)

    async def list_alive(self, keys: Collection[str]) -> frozenset[str]:
        return frozenset(key for key in keys if key in self._waiting or key in self._handled)

    async def read_health(self) -> Sequence[QueueHealth]:
        return []

    async def close(self) -> None: ...


@dataclass
class Row:
    run: PlacedRun
    attempts: int = 0
    progress: int = -1
    due: float | None = None
    due_seq: int = 0
    problem: str = ""


class MemoryPlacedRuns:
    """Placed runs beside a store in memory."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.rows: dict[str, Row] = {}
        self._store = store
        self._clock = clock
        self._turns: dict[str, float] = defaultdict(float)

    async def add(self, run: PlacedRun, *, delay: float = 0.0) -> None:
        due = self._clock() + delay if delay else None
        self.rows.setdefault(run.run_id, Row(run, due=due, due_seq=1))

    async def find(self, run_id: str) -> PlacedRun | None:
        row = self.rows.get(run_id)
        return None if row is None else row.run

    async def move(self, run_id: str, fingerprint: str) -> None:
        row = self.rows[run_id]
        row.run = replace(row.run, fingerprint=fingerprint)

    async def begin(self, run_id: str, progress: int) -> int:
        row = self.rows.setdefault(run_id, Row(PlacedRun(run_id, "", "")))
        row.attempts = row.attempts + 1 if progress == row.progress else 1
        row.progress, row.problem = progress, ""
        return row.attempts

    async def settle(self, run_id: str, last_seq: int, due: float | None) -> None:
        if (row := self.rows.get(run_id)) is not None:
            row.attempts, row.due, row.due_seq = 0, due, last_seq

    async def hold(self, run_id: str, problem: str) -> None:
        self.rows[run_id].problem = problem

    async def release(self, kinds: Collection[str]) -> None:
        for row in self.rows.values():
            if row.run.kind in kinds:
                row.problem = ""

    async def remove(self, run_id: str) -> None:
        self.rows.pop(run_id, None)

    async def take_turn(self, kinds: Collection[str], seconds: float) -> frozenset[str]:
        now = self._clock()
        free = {kind for kind in kinds if self._turns[kind] <= now - seconds}
        self._turns.update(dict.fromkeys(free, now))
        return frozenset(free)

    async def list_idle(self, kinds: Collection[str]) -> Sequence[PlacedRun]:
        idle: list[PlacedRun] = []
        now = self._clock()
        for run_id, row in list(self.rows.items()):
            head = (await self._store.load(run_id)).head
            if head.status in FINAL_STATUSES:
                del self.rows[run_id]
            if row.run.kind not in kinds or row.problem or head.status in FINAL_STATUSES:
                continue
            if head.is_under_way:
                continue
            letters = await self._store.list_letters(run_id)
            has_mail = any(letter.outcome is None for letter in letters)
            is_known = row.due_seq == head.last_seq
            is_later = is_known and row.due is not None and row.due > now
            is_due = not is_known or (row.due is not None and row.due <= now)
            is_under_way = head.status == "running" and not is_later
            if has_mail or is_under_way or (head.status == "waiting" and is_due):
                idle.append(row.run)
        return idle

    async def list_versions(self) -> Sequence[PlacedVersion]:
        return []

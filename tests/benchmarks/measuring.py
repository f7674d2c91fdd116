"""How a job is timed. Wall and CPU seconds of each run, or batch of runs, with every answer checked outside the timing."""

from __future__ import annotations

import asyncio
import gc
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.benchmarks.workloads import Job, Size, Workload

# seconds; a first run that takes longer is no matter of warming up, and is the measurement
SLOW = 4.0
# seconds; shorter runs are timed several at once, since reading the clocks takes a part of a microsecond
BATCH = 0.002


class WrongAnswer(Exception):
    """A run did something else than it was asked to."""


@dataclass(slots=True)
class Figures:
    """What one process measured: seconds of one run, as the median with the extremes, and whatever else there is to tell."""

    wall: list[float] = field(default_factory=list[float])
    cpu: list[float] = field(default_factory=list[float])
    extra: dict[str, float] = field(default_factory=dict[str, float])

    def as_row(self, scale: float) -> dict[str, Any]:
        """For the file of results, in the workload's unit."""
        return {
            "value": statistics.median(self.wall) * scale,
            "cpu": statistics.median(self.cpu) * scale,
            "low": min(self.wall) * scale,
            "high": max(self.wall) * scale,
            "samples": len(self.wall),
            **self.extra,
        }


async def once(job: Job, times: int = 1) -> tuple[float, float]:
    """Wall and CPU seconds of a run, as the mean of several without a pause."""
    if job.before is not None:
        await job.before()
    results: list[Any] = []
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(times):
        results.append(await job.run())
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    for result in results:
        if not job.check(result):
            raise WrongAnswer(f"wrong answer: {result!r:.300}")
        if job.after is not None:
            await job.after(result)
    return wall / times, cpu / times


async def repeated(job: Job, seconds: float) -> Figures:
    """Runs one after the other for so many seconds, three times at least; the first one warms up and does not count."""
    found = Figures()
    wall, cpu = await once(job)
    if wall > SLOW:
        return Figures([wall], [cpu])
    wall, _ = await once(job)
    times = max(1, int(BATCH / wall)) if job.before is None and job.after is None else 1
    end = time.perf_counter() + seconds
    while (len(found.wall) < 3 and sum(found.wall) < SLOW) or (
        time.perf_counter() < end and len(found.wall) < 300
    ):
        wall, cpu = await once(job, times)
        found.wall.append(wall)
        found.cpu.append(cpu)
    return found


async def concurrent(job: Job, count: int) -> Figures:
    """So many runs at once: seconds of all of them, and by what the process grew for each one at its largest."""
    await once(job)
    gc.collect()
    before = _reset_peak()
    cpu, wall = time.process_time(), time.perf_counter()
    results = await asyncio.gather(*(job.run() for _ in range(count)))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    if not all(job.check(result) for result in results):
        raise WrongAnswer("a wrong answer among many")
    extra = {} if before is None else {"kib": (_status("VmHWM") - before) / count}
    return Figures([wall], [cpu], extra)


async def failing(job: Job, times: int) -> Figures:
    """Seconds until the error reaches the caller. What is left running is waited for before the next one."""
    found = Figures()
    for index in range(times + 1):
        cpu, wall = time.process_time(), time.perf_counter()
        try:
            await job.run()
        except BaseException as error:
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            if isinstance(error, asyncio.CancelledError | KeyboardInterrupt):
                raise
        else:
            raise WrongAnswer("the error never reached the caller")
        left = len(asyncio.all_tasks()) - 1
        found.extra["left_running"] = max(left, found.extra.get("left_running", 0))
        if left:
            await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()})
        if index:
            found.wall.append(wall)
            found.cpu.append(cpu)
    return found


async def durable(
    make: Callable[[Size, Path], Awaitable[Job]], size: Size, seconds: float
) -> Figures:
    """Each run on a file of its own; the first one does not count. `bytes` is what the file and its log hold at the end of the run."""
    found = Figures()
    end = time.perf_counter() + seconds
    first = True
    while len(found.wall) < 3 or (time.perf_counter() < end and len(found.wall) < 30):
        with tempfile.TemporaryDirectory() as folder:
            job = await make(size, Path(folder) / "runs.db")
            wall, cpu = await once(job)
            if job.close is not None:
                await job.close()
            found.extra["bytes"] = size_of(folder)
        if not first:
            found.wall.append(wall)
            found.cpu.append(cpu)
        if not first and time.perf_counter() > end + 2 * SLOW:
            break
        first = False
    return found


def building(make: Callable[[Size], Job], size: Size) -> Figures:
    """Seconds until the graph can run."""
    found = Figures()
    for _ in range(8):
        cpu, wall = time.process_time(), time.perf_counter()
        make(size)
        found.wall.append(time.perf_counter() - wall)
        found.cpu.append(time.process_time() - cpu)
    return Figures(found.wall[1:], found.cpu[1:], {"first": found.wall[0]})


async def measured(programs: Any, workload: Workload, size: Size, seconds: float) -> Figures:
    """Whatever a workload of this kind asks for."""
    make = getattr(programs, workload.program)
    if workload.kind == "durable":
        return await durable(make, size, seconds)
    if workload.kind == "build":
        return building(make, size)
    job: Job = make(size)
    if workload.kind == "concurrent":
        return await concurrent(job, int(size))
    found = await (failing(job, 3) if workload.kind == "error" else repeated(job, seconds))
    if job.close is not None:
        await job.close()
    return found


def size_of(folder: str) -> int:
    """The bytes of all files in a folder."""
    return sum(file.stat().st_size for file in Path(folder).iterdir())


def _status(name: str) -> int:
    """A figure of this process in KiB, on Linux."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name + ":"))


def _reset_peak() -> int | None:
    """What the process takes now, with the peak counted anew from here; None where that is not possible."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return _status("VmRSS")
    except OSError:
        return None

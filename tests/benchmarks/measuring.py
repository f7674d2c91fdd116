"""Time jobs: wall and CPU seconds of each run, or batch of runs.

Every answer is checked outside of the timing.
"""

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

# Seconds; a first run that takes longer is not a warm-up but the measurement.
SLOW = 4.0
# Seconds; shorter runs are timed in batches, since reading a clock takes a part of a microsecond.
BATCH = 0.002


class WrongAnswer(Exception):
    """Wrong result of a run."""


@dataclass(slots=True)
class Figures:
    """Measurements of one process: seconds of each run, and other figures by name."""

    wall: list[float] = field(default_factory=list[float])
    cpu: list[float] = field(default_factory=list[float])
    extra: dict[str, float] = field(default_factory=dict[str, float])

    def as_row(self, scale: float) -> dict[str, Any]:
        """Return a row of the results: the median and the extremes, in the workload's unit."""
        return {
            "value": statistics.median(self.wall) * scale,
            "cpu": statistics.median(self.cpu) * scale,
            "low": min(self.wall) * scale,
            "high": max(self.wall) * scale,
            "samples": len(self.wall),
            **self.extra,
        }


async def time_once(job: Job, times: int = 1) -> tuple[float, float]:
    """Return wall and CPU seconds of a run, as the mean of several without a pause."""
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


async def time_repeated(job: Job, seconds: float) -> Figures:
    """Run a job again and again for some seconds, at least three times, after a warm-up."""
    figures = Figures()
    wall, cpu = await time_once(job)
    if wall > SLOW:
        return Figures([wall], [cpu])
    wall, _ = await time_once(job)
    times = max(1, int(BATCH / wall)) if job.before is None and job.after is None else 1
    end = time.perf_counter() + seconds
    while (len(figures.wall) < 3 and sum(figures.wall) < SLOW) or (
        time.perf_counter() < end and len(figures.wall) < 300
    ):
        wall, cpu = await time_once(job, times)
        figures.wall.append(wall)
        figures.cpu.append(cpu)
    return figures


async def time_concurrent(job: Job, count: int) -> Figures:
    """Run `count` at once: seconds in all, and by how much the process grew per run at its peak."""
    await time_once(job)
    gc.collect()
    before = _reset_peak()
    cpu, wall = time.process_time(), time.perf_counter()
    results = await asyncio.gather(*(job.run() for _ in range(count)))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    if not all(job.check(result) for result in results):
        raise WrongAnswer("a wrong answer among many")
    extra = {} if before is None else {"kib": (_status("VmHWM") - before) / count}
    return Figures([wall], [cpu], extra)


async def time_failing(job: Job, times: int) -> Figures:
    """Measure until the error reaches the caller, and wait for what is left running afterwards."""
    figures = Figures()
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
        figures.extra["left_running"] = max(left, figures.extra.get("left_running", 0))
        if left:
            await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()})
        if index:
            figures.wall.append(wall)
            figures.cpu.append(cpu)
    return figures


async def time_durable(
    make: Callable[[Size, Path], Awaitable[Job]], size: Size, seconds: float
) -> Figures:
    """Run each time on a new file, after a warm-up; `bytes` is the size of file and log."""
    figures = Figures()
    end = time.perf_counter() + seconds
    first = True
    while len(figures.wall) < 3 or (time.perf_counter() < end and len(figures.wall) < 30):
        with tempfile.TemporaryDirectory() as folder:
            job = await make(size, Path(folder) / "runs.db")
            wall, cpu = await time_once(job)
            if job.close is not None:
                await job.close()
            figures.extra["bytes"] = measure_folder(folder)
        if not first:
            figures.wall.append(wall)
            figures.cpu.append(cpu)
        if not first and time.perf_counter() > end + 2 * SLOW:
            break
        first = False
    return figures


def time_building(make: Callable[[Size], Job], size: Size) -> Figures:
    """Measure until the graph can run."""
    figures = Figures()
    for _ in range(8):
        cpu, wall = time.process_time(), time.perf_counter()
        make(size)
        figures.wall.append(time.perf_counter() - wall)
        figures.cpu.append(time.process_time() - cpu)
    return Figures(figures.wall[1:], figures.cpu[1:], {"first": figures.wall[0]})


async def measure_workload(
    programs: Any, workload: Workload, size: Size, seconds: float
) -> Figures:
    """Measure a workload in the way of its kind."""
    make = getattr(programs, workload.program)
    if workload.kind == "durable":
        return await time_durable(make, size, seconds)
    if workload.kind == "build":
        return time_building(make, size)
    job: Job = make(size)
    if workload.kind == "concurrent":
        return await time_concurrent(job, int(size))
    figures = await (
        time_failing(job, 3) if workload.kind == "error" else time_repeated(job, seconds)
    )
    if job.close is not None:
        await job.close()
    return figures


def measure_folder(folder: str) -> int:
    """Return the bytes of all files in a folder."""
    return sum(file.stat().st_size for file in Path(folder).iterdir())


def _status(name: str) -> int:
    """Return a figure of this process in KiB, on Linux."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name + ":"))


def _reset_peak() -> int | None:
    """Count the peak memory anew, and return what the process takes now; None if impossible."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return _status("VmRSS")
    except OSError:
        return None

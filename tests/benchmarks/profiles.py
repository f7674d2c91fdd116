"""Profiles of workloads in their steady state, after runs that warmed up."""

from __future__ import annotations

import asyncio
import cProfile
import io
import pstats
import tempfile
import time
from pathlib import Path

from tests.benchmarks.by_graphorch import Programs
from tests.benchmarks.workloads import Job, Size, Workload

SECONDS = 1.0


def profile(
    workload: Workload, size: Size | None = None, *, top: int = 25, is_watched: bool = False
) -> str:
    """Return the functions in which most time is spent, with their calls per node.

    The unit may also be a branch, a round or an item. Concurrent runs are profiled together.
    """
    chosen = workload.sizes[-1] if size is None else size
    profiler = cProfile.Profile()
    units = asyncio.run(_profile_runs(profiler, workload, chosen, is_watched))
    out = io.StringIO()
    stats = pstats.Stats(profiler, stream=out)
    stats.sort_stats("tottime").print_stats(top)
    calls: int = stats.total_calls  # pyright: ignore[reportAttributeAccessIssue]
    title = f"{workload.name}: {workload.titled(chosen)}"
    counts = f"{calls / units:,.1f} calls for each of {units:,} units"
    return f"{title}; {counts}\n{_shorten_paths(out.getvalue())}"


async def _profile_runs(
    profiler: cProfile.Profile, workload: Workload, size: Size, is_watched: bool
) -> int:
    """Profile runs for about a second, and return how many units they had."""
    make = getattr(Programs(is_watched=is_watched), workload.program)
    if workload.kind == "build":
        profiler.runcall(make, size)
        return 1
    if workload.kind == "durable":
        with tempfile.TemporaryDirectory() as folder:
            job: Job = await make(size, Path(folder) / "runs.db")
            await _profile_run(profiler, job, 1)
            assert job.close is not None
            await job.close()
        return workload.count(size)
    job = make(size)
    if workload.kind == "error":
        raise SystemExit(f"{workload.name} fails on purpose; profile another workload")
    at_once = int(size) if workload.kind == "concurrent" else 1
    for _ in range(2):
        assert job.check(await job.run())
    units, end = 0, time.perf_counter() + SECONDS
    while not units or time.perf_counter() < end:
        await _profile_run(profiler, job, at_once)
        units += workload.count(size)
    return units


async def _profile_run(profiler: cProfile.Profile, job: Job, at_once: int) -> None:
    profiler.enable()
    results = (
        await asyncio.gather(*(job.run() for _ in range(at_once)))
        if at_once > 1
        else [await job.run()]
    )
    profiler.disable()
    for result in results:
        assert job.check(result)
        if job.after is not None:
            await job.after(result)


def _shorten_paths(text: str) -> str:
    """Cut paths down to the part inside the repository."""
    root = str(Path(__file__).parents[2]) + "/"
    return text.replace(root, "").strip()

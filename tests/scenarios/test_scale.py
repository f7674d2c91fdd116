"""Many branches and many runs at once.

A failure among a hundred branches reaches the caller fast, and ten thousand runs fit in a process.
The figures of the latter are printed by `pytest -m slow tests/scenarios/test_scale.py`.
"""

from __future__ import annotations

import asyncio
import faulthandler
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from graphorch import Flow, Graph, RunFailed, append, node

BRANCHES = 100


class Number(BaseModel):
    n: int = 0


class Log(BaseModel):
    log: Annotated[list[int], append] = []


class State(Number, Log): ...


async def branch(number: int) -> int:
    if number == 0:
        raise ValueError("at once")
    await asyncio.sleep(60)
    return number


def fan() -> Flow[State, State, State]:
    def work(number: int) -> Any:
        @node(name=f"b{number}")
        async def run(read: Number) -> Log:
            return Log(log=[await branch(number)])

        return run

    @node
    async def end(log: Log) -> Number:
        return Number(n=len(log.log))

    return Graph("fan", State).chain([work(number) for number in range(BRANCHES)], end).build()


async def bare() -> None:
    async with asyncio.TaskGroup() as group:
        for number in range(BRANCHES):
            group.create_task(branch(number))


def failing_fast(flow: Flow[State, State, State], repeats: int = 15) -> tuple[float, float]:
    """Return the median seconds until the error is with the caller.

    They are those of a bare TaskGroup, and of the flow with `on_failure="cancel"`.
    """

    async def main() -> tuple[float, float]:
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(repeats):
            begun = time.perf_counter()
            with pytest.raises(ExceptionGroup, match="unhandled errors"):
                await bare()
            times[0].append(time.perf_counter() - begun)
            begun = time.perf_counter()
            with pytest.raises(RunFailed):
                await flow.run(State(), on_failure="cancel")
            times[1].append(time.perf_counter() - begun)
            assert len(asyncio.all_tasks()) == 1
        return statistics.median(times[0]), statistics.median(times[1])

    return asyncio.run(main())


def test_failure_among_sleepers_is_immediate() -> None:
    """A failure among a hundred sleepers reaches the caller at once.

    The aim is twice the time of a bare TaskGroup. The bound here is wide, since the machine may be
    busy; the figure is in the slow test.
    """
    group, flow = failing_fast(fan(), 5)
    assert flow < 8 * group + 0.05


@pytest.mark.slow
def test_failure_latency_beside_task_group(capsys: pytest.CaptureFixture[str]) -> None:
    """Measure how much slower than a task group a failure reaches the caller."""
    group, flow = failing_fast(fan(), 60)
    with capsys.disabled():
        print(
            f"\n1 of {BRANCHES} fails: TaskGroup {group * 1e3:.2f} ms, "
            f"graphorch {flow * 1e3:.2f} ms, {flow / group:.2f} times"
        )
    assert flow < 4 * group + 0.01


# ---- ten thousand at once ------------------
def five() -> Flow[State, State, State]:
    def step(number: int) -> Any:
        @node(name=f"s{number}")
        async def up(read: Number) -> Number:
            await asyncio.sleep(0.001)
            return Number(n=read.n + 1)

        return up

    return Graph("five", State).chain(*[step(number) for number in range(5)]).build()


def resident() -> float:
    """Return the MiB that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


async def all_at_once(flow: Flow[State, State, State], count: int) -> list[int]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(flow.run(State(n=number))) for number in range(count)]
    return [task.result().output.n for task in tasks]


def test_1_000_runs_at_once() -> None:
    """A thousand runs at once finish each with its own result."""
    flow = five()
    assert asyncio.run(all_at_once(flow, 1000)) == [number + 5 for number in range(1000)]
    with pytest.raises(Exception, match="has no open run"):
        flow.stop("nothing")


def peaks_of(rounds: int, count: int) -> tuple[list[float], float]:
    """Return the most MiB that were resident in each round, and the seconds of a round."""
    flow = five()
    peaks: list[float] = []

    async def watched() -> None:
        peak = 0.0

        async def watch() -> None:
            nonlocal peak
            while True:
                peak = max(peak, resident())
                await asyncio.sleep(0.02)

        watcher = asyncio.create_task(watch())
        try:
            for _ in range(rounds):
                peak = 0.0
                assert await all_at_once(flow, count) == [number + 5 for number in range(count)]
                peaks.append(max(peak, resident()))
        finally:
            watcher.cancel()

    begun = time.perf_counter()
    asyncio.run(watched())
    return peaks, (time.perf_counter() - begun) / rounds


@pytest.mark.slow
@pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="reads the resident memory from /proc"
)
def test_10_000_runs_at_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In a process of its own, so that nothing else counts."""
    # takes minutes on a busy machine, and that is no hang
    faulthandler.cancel_dump_traceback_later()
    done = subprocess.run(
        [sys.executable, __file__, "20", "10000"], check=True, capture_output=True, text=True
    )
    peaks, seconds = json.loads(done.stdout)
    listed = ", ".join(f"{peak:.0f}" for peak in peaks)
    with capsys.disabled():
        print(f"\n10,000 runs of 5 nodes: {seconds:.2f} s a round; peak of each round {listed} MiB")
    assert max(peaks) < 300
    assert max(peaks[10:]) < max(peaks[:5]) * 1.05


if __name__ == "__main__":
    print(json.dumps(peaks_of(int(sys.argv[1]), int(sys.argv[2]))))

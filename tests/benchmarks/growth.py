"""Growth of cost with size: processor time of graphs of 10 to 10,000, and memory of runs."""

from __future__ import annotations

import asyncio
import gc
import resource
import tempfile
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from graphorch import Graph, node
from graphorch.journal.sqlite.store import SqliteStore
from tests.benchmarks.by_graphorch import Count, Log, Programs, step, talk
from tests.benchmarks.measuring import measure_folder
from tests.benchmarks.table import format_figure, format_table
from tests.benchmarks.workloads import Job

SIZES = (10, 100, 1000, 10_000)
# A unit may cost so many times more at the largest size than at the cheapest, since caches and
# garbage collections take their part.
LINEAR = 2.0


def measure_growth() -> str:
    """Return a table of processor time per unit at each size, and how it grew."""
    programs = Programs()
    rows: list[list[str]] = []
    for name in ("chain", "fan_out", "loop", "map_items"):
        make: Callable[[int], Job] = getattr(programs, name)
        built: list[float] = []
        cost: list[float] = []
        for size in SIZES:
            began = time.process_time()
            job = make(size)
            built.append((time.process_time() - began) / size * 1e6)
            cost.append(asyncio.run(_time_processor(job)) / size * 1e6)
        times = cost[-1] / min(cost)
        verdict = "linear" if times <= LINEAR else "more than linear"
        rows.append(
            [
                f"{name}, µs of the processor a unit",
                *map(format_figure, cost),
                f"{times:.2f} × {verdict}",
            ]
        )
        rows.append(
            [f"{name}, building it", *map(format_figure, built), f"{built[-1] / min(built):.2f} ×"]
        )
    return "\n".join(
        format_table(["", *(f"{size:,}" for size in SIZES), "largest against cheapest"], rows)
    )


async def _time_processor(job: Job) -> float:
    """Return the least processor time of a few runs."""
    times: list[float] = []
    while len(times) < 3 or (sum(times) < 0.1 and len(times) < 100):
        began = time.process_time()
        result = await job.run()
        times.append(time.process_time() - began)
        assert job.check(result)
    return min(times)


# ---- memory --------------------------------------------------------------------------------------
class Approval(BaseModel):
    is_approved: bool = False


class Waiting(Count, Approval): ...


def measure_memory() -> str:
    """Return a table of the memory that runs hold while they wait, and that a step adds."""
    rows = [
        [
            "a run that waits for a sleeping node",
            f"{format_figure(asyncio.run(_measure_sleeping(2000)))} bytes",
        ],
        [
            "a run that waits for a person, in memory",
            f"{format_figure(asyncio.run(_measure_asking(200)))} bytes",
        ],
        ["a step of a run in memory", f"{format_figure(asyncio.run(_measure_step()))} bytes"],
        [
            "a step of a durable run, in memory",
            f"{format_figure(asyncio.run(_measure_durable_step('heap')))} bytes",
        ],
        [
            "a step of a durable run, on disk",
            f"{format_figure(asyncio.run(_measure_durable_step('disk')))} bytes",
        ],
        [
            "the process at its largest",
            f"{format_figure(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)} MiB",
        ],
    ]
    return "\n".join(format_table(["what is held", ""], rows))


async def _measure_held(work: Callable[[], Awaitable[Any]]) -> int:
    """Return the bytes that are still held after some work."""
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    kept = await work()
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del kept
    return after - before


async def _measure_sleeping(count: int) -> float:
    released = asyncio.Event()

    @node
    async def wait(given: Count) -> Count:
        await released.wait()
        return Count(x=given.x + 1)

    graph = Graph("waiting", Count)
    graph.chain(step, wait)
    flow = graph.build()

    tasks: list[asyncio.Task[Any]] = []

    async def work() -> None:
        tasks.extend(asyncio.create_task(flow.run(Count())) for _ in range(count))
        for _ in range(20):  # turns of the loop, more than a run needs to get there
            await asyncio.sleep(0)

    held = await _measure_held(work)
    released.set()
    assert all(result.output.x == 2 for result in await asyncio.gather(*tasks))
    return held / count


async def _measure_asking(count: int) -> float:
    def question(given: Count) -> str:
        return f"Is {given.x} right?"

    graph = Graph("asking", Waiting)
    asked = graph.ask("approve", question=question, answer=Approval)
    graph.chain(step, asked)
    flow = graph.build()
    await flow.run(Waiting())

    async def work() -> None:
        for _ in range(count):
            assert (await flow.run(Waiting())).status == "waiting"

    return await _measure_held(work) / count


def _build_talking(rounds: int) -> Any:
    def is_short(given: Count) -> bool:
        return given.x < rounds

    graph = Graph("talking", Log)
    graph.chain(talk)
    graph.loop(talk, back_to=talk, while_=is_short, max_iterations=rounds + 1)
    graph.chain(talk, step)
    return graph.build()


async def _measure_step() -> float:
    """Return the bytes of a step, from the held results of a long and a short run."""
    short, long = _build_talking(1000), _build_talking(3000)
    return (
        await _measure_held(lambda: long.run(Log())) - await _measure_held(lambda: short.run(Log()))
    ) / 2000


async def _measure_durable_step(where: str) -> float:
    sizes: list[int] = []
    for rounds in (500, 1500):
        with tempfile.TemporaryDirectory() as folder:
            store = await SqliteStore.open(Path(folder) / "runs.db", sync="normal")
            flow = _build_talking(rounds)
            held = await _measure_held(
                lambda flow=flow, store=store: flow.run(Log(), durable=store)
            )
            await store.close()
            sizes.append(held if where == "heap" else measure_folder(folder))
    return (sizes[1] - sizes[0]) / 1000

"""Memory of a finished run: freed with the last reference to it, not by the collector of cycles."""

from __future__ import annotations

import asyncio
import gc

import pytest

from tests.benchmarks.by_graphorch import Programs
from tests.benchmarks.workloads import Job


def cycles_of(job: Job) -> list[str]:
    """Return the types of the objects that a run leaves in cycles, after another that warmed up."""

    async def look() -> list[str]:
        await job.run()
        await asyncio.sleep(0)
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            await job.run()
            await asyncio.sleep(0)
            gc.collect()
            return sorted({type(item).__name__ for item in gc.garbage})
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()

    return asyncio.run(look())


@pytest.mark.parametrize(
    "program",
    ["chain", "fan_out", "loop", "router", "map_items", "nested", "unbalanced", "history"],
)
def test_run_leaves_no_cycle(program: str) -> None:
    assert cycles_of(getattr(Programs(), program)(10 if program == "router" else 8)) == []

"""The engine on a cluster of Dask keeps the contract, and survives what happens to its parts."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator

import pytest

from graphorch.distributed.dask.adapter import DaskEngine
from graphorch.distributed.engine import Engine
from graphorch.distributed.errors import EngineUnavailable
from graphorch.errors import InputError
from tests.contracts.engine_contract import (
    Bench,
    Scenario,
    Work,
    every_scenario,
    job,
    jobs,
    run,
    serving,
)
from tests.distributed.dask import worker
from tests.distributed.dask.scheduler import Scheduler


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    """A scheduler of its own."""
    started = Scheduler()
    try:
        yield started
    finally:
        started.end()


@pytest.mark.slow
@every_scenario
def test_contract(check: Scenario, scheduler: Scheduler) -> None:
    """The engine on a cluster of Dask keeps the contract."""

    async def connect() -> Engine:
        return await DaskEngine.open(scheduler.url)

    bench = Bench(connect, timeout=1.0, moment=0.4, is_exact=False, withdraws=False, many=500)
    asyncio.run(run(check, bench))


def test_killed_worker_loses_jobs(scheduler: Scheduler) -> None:
    """The jobs of a worker that was killed begin again elsewhere."""
    command = [sys.executable, worker.__file__, scheduler.url, "60"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = process.stdout

    async def main() -> list[str]:
        engine, work = await DaskEngine.open(scheduler.url), Work()
        try:
            await engine.put(jobs(3))
            begun = [await asyncio.to_thread(lines.readline) for _ in range(3)]
            assert len(set(begun)) == 3
            async with serving(engine, work):
                await asyncio.sleep(0.3)
                process.kill()
                await work.until_ended(3)
        finally:
            await engine.close()
        return sorted(work.keys)

    try:
        assert asyncio.run(main()) == [each.key for each in jobs(3)]
    finally:
        process.kill()
        process.wait()
        lines.close()


@pytest.mark.slow
def test_restarted_scheduler_is_found() -> None:
    """When the scheduler is back, a worker serves it again, with jobs that are put again."""
    first = Scheduler()
    later: list[Scheduler] = []

    async def main() -> list[str]:
        engine, work = await DaskEngine.open(first.url), Work()
        try:
            async with serving(engine, work):
                await engine.put([job("before")])
                await work.until_ended(1)
                first.end()
                with pytest.raises(EngineUnavailable, match="cannot be reached"):
                    await engine.put([job("between")])
                later.append(await asyncio.to_thread(Scheduler, first.port))
                await engine.put([job("after")])
                await work.until_ended(2)
        finally:
            await engine.close()
        return work.keys

    try:
        assert asyncio.run(main()) == ["before", "after"]
    finally:
        first.process.kill()
        for each in later:
            each.end()


@pytest.mark.slow
def test_missing_scheduler_is_named(scheduler: Scheduler) -> None:
    """A scheduler that does not answer is named."""
    scheduler.process.kill()
    scheduler.process.wait()
    with pytest.raises(EngineUnavailable, match=r"'dask://127\.0\.0\.1:\d+' cannot be reached"):
        asyncio.run(DaskEngine.open(scheduler.url))


@pytest.mark.parametrize("url", ["tcp://scheduler:8786", "dask://", "scheduler"])
def test_wrong_url_is_refused(url: str) -> None:
    """What does not name a scheduler is refused with an example."""
    with pytest.raises(InputError, match=r"dask://HOST:PORT"):
        asyncio.run(DaskEngine.open(url))

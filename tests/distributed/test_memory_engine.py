"""The engine in memory keeps the contract, and its faults are those that the port allows."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import count

import pytest

from graphorch.distributed.engine import Engine
from graphorch.distributed.errors import EngineClosed, EngineUnavailable
from graphorch.testing import run_virtual
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
from tests.distributed.memory_engine import ALL, Faults, MemoryQueue


@every_scenario
def test_contract(check: Scenario) -> None:
    """Without faults, the engine in memory keeps the contract."""

    async def main() -> None:
        queue, names = MemoryQueue(), count()

        async def connect() -> Engine:
            return queue.connect(f"worker {next(names)}")

        await run(check, Bench(connect, timeout=3.0, moment=1.0))

    run_virtual(main())


def test_faults_follow_seed() -> None:
    """The same seed makes the same faults, another one makes others."""

    def story(seed: int) -> list[tuple[float, str, str]]:
        async def main() -> list[tuple[float, str, str]]:
            queue, work = MemoryQueue(seed, ALL), Work()
            first, second = queue.connect("first"), queue.connect("second")
            async with serving(first, work), serving(second, work):
                for job in jobs(30):
                    try:
                        await first.put([job])
                    except EngineUnavailable:
                        continue
                await asyncio.sleep(60)
            return queue.story

        return run_virtual(main(), seed=seed)

    assert story(1) == story(1)
    assert story(1) != story(2)


def test_fault_chances_show() -> None:
    """Jobs are lost, doubled and redelivered about as often as the faults say."""

    async def handled(faults: Faults) -> Counter[str]:
        queue, work = MemoryQueue(5, faults), Work()
        async with serving(engine := queue.connect("w"), work, slots=1_000):
            await engine.put(jobs(1_000))
            await asyncio.sleep(60)
        return Counter(work.keys)

    lost = run_virtual(handled(Faults(lose=0.3)))
    assert 600 < len(lost) < 800
    assert set(lost.values()) == {1}
    for faults in (Faults(double=0.3), Faults(redeliver=0.3)):
        times = run_virtual(handled(faults))
        assert len(times) == 1_000
        assert 200 < sum(count == 2 for count in times.values()) < 400


def test_faults_end_in_time() -> None:
    """No fault happens after the time that they last until."""

    async def main() -> list[str]:
        queue, work = MemoryQueue(5, Faults(1, 1, 1, 5, 1, True, until=10)), Work()
        async with serving(engine := queue.connect("w"), work):
            with pytest.raises(EngineUnavailable):
                await engine.put(jobs(5))
            await asyncio.sleep(20)
            await engine.put(jobs(5))
            await asyncio.sleep(60)
        return [key for time, _, key in queue.story if time >= 20]

    assert run_virtual(main()) == [job.key for job in jobs(5)]


def test_killed_worker_loses_jobs() -> None:
    """Another worker gets the jobs of a killed one after the timeout, and its calls end."""

    async def main() -> None:
        queue, held, work = MemoryQueue(), Work(is_open=False), Work()
        first, second = queue.connect("first"), queue.connect("second")
        victim = asyncio.ensure_future(first.serve(["node:a"], 5, held))
        await second.put(jobs(3))
        await held.until_begun(3)
        queue.kill(first)
        with pytest.raises(EngineClosed, match="killed"):
            await victim
        async with serving(second, work):
            await asyncio.sleep(2.9)
            assert work.keys == []
            await asyncio.sleep(0.2)
        assert (sorted(work.ended), held.ended) == ([job.key for job in jobs(3)], [])
        with pytest.raises(EngineClosed, match="killed"):
            await first.put([job("k")])

    run_virtual(main())


def test_expired_worker_goes_on() -> None:
    """A worker that is taken for dead ends its job too, and not that of its successor."""

    async def main() -> None:
        queue, old, new = MemoryQueue(), Work(is_open=False), Work(is_open=False)
        first, second = queue.connect("first"), queue.connect("second")
        async with serving(first, old, slots=1):
            await second.put([job("k")])
            await old.until_begun(1)
            async with serving(second, new):
                first_done = asyncio.ensure_future(old.until_ended(1))
                queue.expire(first)
                await new.until_begun(1)
                old.gate.set()
                await first_done
                await asyncio.sleep(1)
                assert await second.list_alive(["k"]) == {"k"}
                new.gate.set()
                await new.until_ended(1)
        assert await second.list_alive(["k"]) == frozenset()

    run_virtual(main())

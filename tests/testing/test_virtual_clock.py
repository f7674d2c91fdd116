"""Virtual clock: time jumps, deadlocks are named, and a seed shuffles ready tasks."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from typing import Any, cast

import pytest

from graphorch.errors import GraphorchError, InputError
from graphorch.testing import Deadlock, VirtualLoop, run_virtual
from tests.scenarios.flows import FLOWS, Ledger, State, to_the_end


def test_day_passes_at_once() -> None:
    async def main() -> float:
        await asyncio.sleep(86_400)
        return asyncio.get_running_loop().time()

    begun = time.perf_counter()
    assert run_virtual(main()) == 86_400
    assert time.perf_counter() - begun < 1


def test_timers_fire_in_order() -> None:
    """Timers fire in the order of their times."""
    seen: list[int] = []

    async def after(seconds: int) -> None:
        await asyncio.sleep(seconds)
        seen.append(seconds)

    async def main() -> None:
        await asyncio.gather(*[after(seconds) for seconds in (3, 1, 2)])

    run_virtual(main(), seed=5)
    assert seen == [1, 2, 3]


def test_deadlock_names_waiting_tasks() -> None:
    """Waiting for an event that never happens is a deadlock that names the tasks."""

    async def main() -> None:
        task = asyncio.create_task(asyncio.Event().wait(), name="waits for ever")
        await task

    with pytest.raises(Deadlock, match=r"Every task waits and no timer is set: .*waits for ever"):
        run_virtual(main())


def order(seed: int | None) -> list[int]:
    seen: list[int] = []

    async def step(number: int) -> None:
        await asyncio.sleep(0)
        seen.append(number)

    async def main() -> None:
        await asyncio.gather(*[step(number) for number in range(6)])

    run_virtual(main(), seed=seed)
    return seen


def test_seed_shuffles_repeatably() -> None:
    """A seed shuffles ready tasks, and does so repeatably."""
    assert order(None) == [0, 1, 2, 3, 4, 5]
    assert len({tuple(order(seed)) for seed in range(20)}) > 10
    assert order(3) == order(3)


def test_task_left_running_fails() -> None:
    """A task that is left running is an error."""
    kept: list[asyncio.Task[Any]] = []

    async def main() -> None:
        kept.append(asyncio.create_task(asyncio.sleep(9), name="left over"))

    with pytest.raises(GraphorchError, match="1 tasks are left running: left over"):
        run_virtual(main())


def test_unread_exception_fails() -> None:
    """An exception that was never retrieved is an error."""

    async def fail() -> None:
        raise ValueError("unseen")

    async def main() -> None:
        task = asyncio.create_task(fail())
        await asyncio.sleep(1)
        del task
        gc.collect()

    with pytest.raises(
        GraphorchError,
        match=r"asyncio complains: Task exception was never retrieved \(ValueError: unseen\)",
    ):
        run_virtual(main())


def test_at_step_calls_before_step() -> None:
    """A call can be made before any step of the loop."""

    async def sleeper() -> None:
        await asyncio.sleep(5)

    async def main(step: int) -> bool:
        task = asyncio.create_task(sleeper())
        loop = cast(VirtualLoop, asyncio.get_running_loop())
        loop.at_step(step, task.cancel)
        await asyncio.wait([task])
        return task.cancelled()

    # begun, asleep, about to wake, over
    assert [run_virtual(main(step)) for step in range(2, 7)] == [True, True, True, False, False]


def test_thread_stops_time() -> None:
    """Time stands still while a thread works."""

    async def main() -> tuple[str, float]:
        hurry = asyncio.create_task(asyncio.sleep(1))
        text = await asyncio.to_thread(lambda: f"waited {threading.Event().wait(0.01)}")
        at = asyncio.get_running_loop().time()
        await hurry
        return text, at

    assert run_virtual(main()) == ("waited False", 0.0)


def test_sqlite_journal_on_virtual_clock(tmp_path: Any) -> None:
    """A journal in a file works on a virtual clock."""
    result = run_virtual(
        to_the_end(
            FLOWS["diamond"](), "r", True, durable=tmp_path / "runs.sqlite", resources=Ledger()
        ),
        seed=3,
    )
    assert (
        result.state
        == run_virtual(to_the_end(FLOWS["diamond"](), "r", True, resources=Ledger())).state
    )
    assert isinstance(result.state, State)


def test_running_loop_refused() -> None:
    """Inside a running loop, the error says so."""

    async def main() -> None:
        run_virtual(asyncio.sleep(1))

    with pytest.raises(InputError, match="An event loop runs here already"):
        asyncio.run(main())

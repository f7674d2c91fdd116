"""Threads for sync functions: as many as concurrent calls, reused, and never awaited twice."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from typing import Any

import pytest

from graphorch.testing.virtual_clock import run_virtual
from graphorch.threads import ThreadPool

NAME: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="")


def with_pool(main: Any, limit: int = 64) -> Any:
    """Run a function with a pool, and check that its threads end."""

    async def run() -> Any:
        pool = ThreadPool(limit)
        try:
            return await main(pool)
        finally:
            pool.close()

    return asyncio.run(run())


def here() -> threading.Thread:
    return threading.current_thread()


def test_call_returns_and_raises() -> None:
    async def main(pool: ThreadPool) -> int:
        with pytest.raises(ZeroDivisionError):
            await pool.call(lambda: 1 // 0)
        return await pool.call(divmod, 7, 2)

    assert with_pool(main) == (3, 1)


def test_calls_share_idle_thread() -> None:
    """Calls share an idle thread, which runs beside the loop."""

    async def main(pool: ThreadPool) -> list[threading.Thread]:
        return [await pool.call(here) for _ in range(3)]

    threads = with_pool(main)
    assert threading.current_thread() not in threads
    assert len(set(threads)) == 1
    assert threads[0].daemon


def test_concurrent_calls_have_own_threads() -> None:
    async def main(pool: ThreadPool) -> Any:
        barrier = threading.Barrier(4, timeout=10)
        return await asyncio.gather(*(pool.call(barrier.wait) for _ in range(4)))

    assert sorted(with_pool(main)) == [0, 1, 2, 3]


def test_threads_are_limited() -> None:
    """Calls beyond the limit of threads wait."""

    async def main(pool: ThreadPool) -> set[threading.Thread]:
        return set(await asyncio.gather(*(pool.call(here) for _ in range(20))))

    assert len(with_pool(main, limit=2)) <= 2


def test_context_variables_are_copied() -> None:
    """Context variables are copied, so changes stay in the thread."""

    async def main(pool: ThreadPool) -> tuple[str, str]:
        NAME.set("caller")
        read = await pool.call(NAME.get)
        await pool.call(NAME.set, "thread")
        return read, NAME.get()

    assert with_pool(main) == ("caller", "caller")


def test_stop_iteration_becomes_runtime_error() -> None:
    async def main(pool: ThreadPool) -> None:
        with pytest.raises(RuntimeError, match="the function raised StopIteration: 3"):
            await pool.call(raise_stop)

    with_pool(main)


def raise_stop() -> None:
    raise StopIteration(3)


def test_result_of_cancelled_call_is_dropped() -> None:
    async def main(pool: ThreadPool) -> str:
        begun, go = threading.Event(), threading.Event()

        def slow() -> str:
            begun.set()
            go.wait(10)
            return "late"

        call = asyncio.create_task(pool.call(slow))
        assert await pool.call(begun.wait, 10)
        call.cancel()
        await asyncio.wait([call])
        go.set()
        assert call.cancelled()
        return await pool.call(lambda: "next")

    assert with_pool(main) == "next"


def test_close_ends_idle_threads() -> None:
    async def main(pool: ThreadPool) -> threading.Thread:
        return await pool.call(here)

    thread = with_pool(main)
    thread.join(10)
    assert not thread.is_alive()


def test_virtual_time_waits_for_thread() -> None:
    async def main() -> tuple[float, float]:
        pool, loop = ThreadPool(), asyncio.get_running_loop()
        sleeper = asyncio.create_task(asyncio.sleep(3600))
        await pool.call(lambda: None)
        worked = loop.time()
        await sleeper
        pool.close()
        return worked, loop.time()

    assert run_virtual(main()) == (0.0, 3600.0)


def test_virtual_timeout_beside_hanging_thread() -> None:
    async def main() -> float:
        pool, go = ThreadPool(), threading.Event()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await pool.call(go.wait, 10)
        go.set()
        pool.close()
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) == 0.01

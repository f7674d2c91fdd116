"""Whoever waits for an answer gets it, and is cancelled only after that."""

from __future__ import annotations

import asyncio

import pytest

from graphorch.journal.completion import Completion
from graphorch.journal.errors import StoreUnavailable


def test_cancelled_waiter_stops_after_work() -> None:
    """A task that is cancelled while waiting is cancelled when the work has ended."""

    async def main() -> None:
        ended: list[str] = []

        async def work() -> None:
            await asyncio.sleep(0.01)
            ended.append("work")

        answer = Completion.of(work())

        async def wait() -> None:
            try:
                await answer
            finally:
                ended.append("wait")

        waiting = asyncio.create_task(wait())
        await asyncio.sleep(0)
        for _ in range(3):
            waiting.cancel()
            await asyncio.sleep(0)
        assert not waiting.done()
        await asyncio.wait([waiting])
        assert waiting.cancelled()
        assert ended == ["work", "wait"]
        assert answer.exception() is None
        assert not answer.cancel()

    asyncio.run(main())


def test_failure_reaches_cancelled_waiter() -> None:
    """A failure is raised also in a task that was cancelled."""

    async def main() -> None:
        async def work() -> None:
            await asyncio.sleep(0.01)
            raise ValueError("no")

        answer = Completion.of(work())
        waiting = asyncio.create_task(asyncio.wait_for(answer, 0.001))
        with pytest.raises((asyncio.TimeoutError, ValueError)):
            await waiting
        assert isinstance(answer.exception(), ValueError)

    asyncio.run(main())


def test_cancelled_work_raises_unavailable() -> None:
    """Work that was cancelled may have taken effect."""

    async def main() -> None:
        answer = Completion.of(asyncio.sleep(60))
        work = next(task for task in asyncio.all_tasks() if task is not asyncio.current_task())
        await asyncio.sleep(0)
        work.cancel()
        with pytest.raises(StoreUnavailable, match="Repeat it"):
            await answer

    asyncio.run(main())

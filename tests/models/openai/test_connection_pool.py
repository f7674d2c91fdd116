"""One inner client per event loop: opened on demand, never cut off, closed by its last call."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field

from graphorch.models.openai.connection_pool import LoopPool


@dataclass
class Opened:
    """Inner client that records whether it was closed."""

    closings: int = 0

    async def close(self) -> None:
        self.closings += 1


@dataclass
class Maker:
    made: list[Opened] = field(default_factory=list[Opened])

    def __call__(self) -> Opened:
        self.made.append(Opened())
        return self.made[-1]


def test_pool_has_client_per_loop() -> None:
    """Share a client between the calls of a loop, and not between loops."""
    maker = Maker()
    pool = LoopPool(maker)

    async def main() -> None:
        async with pool.borrow() as opened, pool.borrow() as other:
            assert opened is other
        await pool.close()

    asyncio.run(main())
    asyncio.run(main())
    assert [opened.closings for opened in maker.made] == [1, 1]
    assert pool.open_loops == 0


def test_last_call_closes_released_client() -> None:
    """Close a released client when its last call ends."""
    maker = Maker()
    pool = LoopPool(maker)

    async def main() -> None:
        async with pool.borrow():
            async with pool.borrow():
                await pool.close()
                assert maker.made[0].closings == 0
            assert maker.made[0].closings == 0
        assert maker.made[0].closings == 1
        await pool.close()  # nothing is left to close
        async with pool.borrow() as again:
            assert again is maker.made[1]
        await pool.close()

    asyncio.run(main())
    assert [opened.closings for opened in maker.made] == [1, 1]


def test_pool_forgets_closed_loops() -> None:
    """Forget event loops that no longer exist."""
    maker = Maker()
    pool = LoopPool(maker)

    async def use() -> int:
        async with pool.borrow():
            return pool.open_loops

    assert asyncio.run(use()) == 1
    assert asyncio.run(use()) == 1
    assert len(maker.made) == 2


def test_first_calls_open_one_client() -> None:
    """Open one client for many calls that begin at once, and go on with the loop meanwhile."""
    opened: list[Opened] = []
    may_open = threading.Event()

    def open_slowly() -> Opened:
        assert may_open.wait(10)
        opened.append(Opened())
        return opened[-1]

    pool = LoopPool(open_slowly)

    async def use() -> Opened:
        async with pool.borrow() as client:
            return client

    async def main() -> None:
        calls = [asyncio.create_task(use()) for _ in range(20)]
        cancelled = asyncio.create_task(use())
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.sleep(0)
        may_open.set()  # only now, so the loop was not held up
        assert len({id(client) for client in await asyncio.gather(*calls)}) == 1
        await pool.close()

    asyncio.run(main())
    assert [client.closings for client in opened] == [1]


def test_pool_may_close_while_opening() -> None:
    """Close the client of a call that began before the pool was closed."""
    maker = Maker()
    pool = LoopPool(maker)

    async def use() -> None:
        async with pool.borrow():
            pass

    async def main() -> None:
        call = asyncio.create_task(use())
        await asyncio.sleep(0)
        await pool.close()
        await call

    asyncio.run(main())
    assert [client.closings for client in maker.made] == [1]

"""One inner client per event loop: opened on demand, never cut off, closed by its last call."""

from __future__ import annotations

import asyncio
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

"""Room for functions in a worker: taken in the order of asking, and given back."""

from __future__ import annotations

import asyncio

from graphorch.distributed.local_slots import LocalSlots
from graphorch.testing import run_virtual

NODE = (1, 1)


def test_room_is_taken_in_order() -> None:
    """Whoever asked first is next, and whoever lost patience is left out."""

    async def main() -> list[str]:
        slots, got = LocalSlots(1), list[str]()
        await slots.take()

        async def ask(name: str, patience: float | None) -> None:
            if await slots.take(patience):
                got.append(name)
                await asyncio.sleep(1)
                slots.give_back()
            else:
                got.append(f"{name} leaves")

        asks = [asyncio.create_task(ask(*each)) for each in (("a", None), ("b", 0.5), ("c", None))]
        await asyncio.sleep(1)
        slots.give_back()
        await asyncio.gather(*asks)
        assert not slots.is_full
        return got

    assert run_virtual(main()) == ["b leaves", "a", "c"]


def test_cancelled_turn_is_passed_on() -> None:
    """Room that came to a call which was cancelled in the same moment is not lost."""

    async def main() -> bool:
        slots = LocalSlots(1)
        await slots.take()
        waiting = asyncio.create_task(slots.take())
        await asyncio.sleep(0)
        slots.give_back()
        waiting.cancel()
        await asyncio.wait([waiting])
        return slots.is_full

    assert not run_virtual(main())


def test_mean_tells_short_nodes() -> None:
    """A node is short by the mean of what it took, and none is before it has run."""
    slots = LocalSlots()
    assert not slots.is_short(NODE)
    slots.note(NODE, 0.001)
    assert slots.is_short(NODE)
    for _ in range(3):
        slots.note(NODE, 1.0)
    assert not slots.is_short(NODE)

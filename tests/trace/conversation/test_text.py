"""Conversations as text: turns, cuts, and differences."""

from __future__ import annotations

import asyncio

from tests.trace.running import conversation, ran


def test_diff_names_changes() -> None:
    """The difference of two runs names the changes."""

    async def main() -> None:
        store = await ran("one")
        await ran("two", 200, store=store)
        talk = await conversation(store)
        lines = talk.diff(await conversation(store, "two"))
        assert "@ fulfilment/stock/look wrote" in lines
        assert "  -→ fulfilment/stock/count" in lines
        assert "  +→ fulfilment/stock/reorder" in lines
        same = talk.diff(await conversation(store))
        assert not [line for line in same if line.startswith("@")]

    asyncio.run(main())

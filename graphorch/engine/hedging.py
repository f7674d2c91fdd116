"""A second attempt beside one that takes long: the first that succeeds counts, the other is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def hedged(call: Callable[[], Coroutine[Any, Any, T]], after: float) -> T:
    """The result of `call`, or of a second one that starts `after` seconds later if the first is not done by then.

    Raises the first attempt's exception if both fail. Whatever happens, neither is running afterwards.
    """
    first = asyncio.create_task(call())
    tasks = [first]
    try:
        done, _ = await asyncio.wait(tasks, timeout=after)
        if not done:
            tasks.append(asyncio.create_task(call()))
        pending = set(tasks)
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            winner = next((task for task in tasks if task in done and task.exception() is None), None)
            if winner is not None:
                return winner.result()
        return first.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

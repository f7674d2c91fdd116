"""Event loop whose time jumps to the next timer when all tasks wait.

Hours pass in milliseconds, and no outcome depends on the speed of the machine.
"""

from __future__ import annotations

import asyncio
import random
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from graphorch.clock import Runtime

T = TypeVar("T")


class VirtualLoop(asyncio.SelectorEventLoop):
    """Loop of virtual time: `time()` is the sum of the jumps.

    A wait that no timer can end is a deadlock, and raised as one. `watch` is called before every
    round of ready callbacks, to check what must hold at every instant.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.watch: Callable[[], None] = lambda: None
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        return self.now


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._loop.watch()
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("deadlock: every task waits, and no timer is set")
        if not ready and timeout:
            self._loop.now += timeout
        return ready


def run(main: Callable[[Runtime], Coroutine[Any, Any, T]], *, seed: int = 0) -> T:
    """Run a coroutine in virtual time, and check that it leaves no task behind.

    Its `Runtime` has the clock and the sleep of the loop, and chance from the seed.
    """
    loop = VirtualLoop()
    runtime = Runtime(clock=loop.time, sleep=asyncio.sleep, random=random.Random(seed).random)

    async def checked() -> T:
        result = await main(runtime)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"tasks were left behind: {left}"
        return result

    try:
        return loop.run_until_complete(checked())
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

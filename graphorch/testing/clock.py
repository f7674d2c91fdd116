"""An event loop whose time is virtual: it jumps to the next timer when there is nothing else to do, so hours pass in milliseconds.

Theory of operation. The loop's selector never blocks. When nothing is ready it moves the time to the next timer; when there is no timer
either, every task waits for something that cannot happen, and the loop says so instead of hanging. Work on real threads is waited for
in real time. With a seed, callbacks that are ready at the same moment run in a shuffled order, the same for the same seed.
"""

from __future__ import annotations

import asyncio
import random
import selectors
from collections import deque
from collections.abc import Coroutine
from typing import Any, TypeVar, cast

from graphorch.errors import GraphorchError

T = TypeVar("T")


class Deadlock(GraphorchError):
    """Every task waits, and no timer is set that could wake one."""


class _Selector(selectors.SelectSelector):
    """Looks for real events without waiting, and has the loop's time jump if there are none."""

    def __init__(self) -> None:
        super().__init__()
        self.loop: VirtualLoop | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        loop = self.loop
        if loop is not None and loop.outside:
            return super().select(timeout)  # a thread works for a task: real time
        ready = super().select(0)
        if not ready and loop is not None:
            loop.jump(timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """The loop. `outside` counts the calls that run on threads at the moment; whoever starts one keeps it."""

    def __init__(self, seed: int | None = None) -> None:
        self._now = 0.0
        self._random = random.Random(seed) if seed is not None else None
        self.outside = 0
        selector = _Selector()
        super().__init__(selector)
        selector.loop = self

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now

    def jump(self, timeout: float | None) -> None:
        """Nothing is ready: move to the next timer. Raises `Deadlock` if there is none."""
        if timeout is None:
            waiting = sorted(task.get_name() for task in asyncio.all_tasks(self))
            raise Deadlock(f"Every task waits and no timer is set: {', '.join(waiting)}. Something that they wait for never happens.")
        self._now += timeout

    def _run_once(self) -> None:
        ready = cast("deque[Any]", self._ready)  # pyright: ignore[reportAttributeAccessIssue,reportUnknownMemberType]
        if self._random is not None and len(ready) > 1:
            shuffled = list(ready)
            self._random.shuffle(shuffled)
            ready.clear()
            ready.extend(shuffled)
        super()._run_once()  # pyright: ignore[reportAttributeAccessIssue]


def run_virtual(main: Coroutine[Any, Any, T], *, seed: int | None = None) -> T:
    """Run a coroutine on a virtual clock, and see that no task of it is left. Raises `Deadlock`, and whatever the coroutine raises."""
    loop = VirtualLoop(seed)
    try:
        result = loop.run_until_complete(main)
        left = asyncio.all_tasks(loop)
        if left:
            raise GraphorchError(f"{len(left)} tasks are left running: {', '.join(sorted(task.get_name() for task in left))}.")
        return result
    finally:
        _cancel_all(loop)
        loop.close()


def _cancel_all(loop: VirtualLoop) -> None:
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())

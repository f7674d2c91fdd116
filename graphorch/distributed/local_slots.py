"""Room for functions in a worker that drives runs, shared by all of its runs.

Theory of operation. While there is room, a function runs here: no hop is cheaper. Without room it
goes out if that pays: a hop costs some 20 ms, so functions that are known to take less than 50 wait
for room. What a node takes is a running mean of what it took, here or elsewhere. A node that has
not run yet waits that long, which shows whether others of its kind are short.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

SHORT: Final = 0.05  # seconds; sending a function that takes less is not worth it
_WEIGHT: Final = 0.2  # of the newest duration in the mean


class LocalSlots:
    """Room for `count` functions at once; a function that has ended gives its room back."""

    def __init__(self, count: int = 100) -> None:
        self.count = self._free = count
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._means: dict[tuple[int, int], float] = {}

    @property
    def used(self) -> int:
        """How many functions run."""
        return self.count - self._free

    @property
    def is_full(self) -> bool:
        """Whether there is no room now."""
        return self._free <= 0

    def is_short(self, node: tuple[int, int]) -> bool:
        """Return whether a node is known to take less than a hop is worth."""
        return self._means.get(node, SHORT) < SHORT

    def note(self, node: tuple[int, int], seconds: float) -> None:
        """Note how long a function of a node took."""
        mean = self._means.get(node, seconds)
        self._means[node] = mean + _WEIGHT * (seconds - mean)

    async def take(self, patience: float | None = None) -> bool:
        """Take room, in the order of asking; return False if there was none for so many seconds."""
        if self._free > 0:
            self._free -= 1
            return True
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await asyncio.wait([turn], timeout=patience)
        except asyncio.CancelledError:
            if turn.done():
                self.give_back()  # its turn has come, and it does not want it any more
            turn.cancel()
            raise
        if turn.done():
            return True
        turn.cancel()
        return False

    def give_back(self) -> None:
        """Make room for the next one that waits."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

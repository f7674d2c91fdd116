"""Time and chance as values that are passed in, so that a test decides both."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from random import Random
from typing import Any, TypeAlias

Clock: TypeAlias = Callable[[], float]
"""Seconds since the epoch."""


def system_clock() -> float:
    """Return the machine's wall-clock time.

    It may jump; durations are measured with the event loop's time instead.
    """
    return time.time()


def is_virtual(loop: Any) -> bool:
    """Return whether the time of an event loop is virtual, so that the machine's stands still."""
    return hasattr(loop, "outside")


def count_outside(loop: Any, change: int) -> bool:
    """Count one more (1) or less (-1) piece of work on a thread that an event loop waits for.

    Return whether the loop counts them; only a loop with virtual time does. See `outside`.
    """
    is_counted = is_virtual(loop)
    if is_counted:
        loop.outside += change
    return is_counted


@contextmanager
def outside(loop: Any) -> Generator[None]:
    """Mark work on a thread that an event loop waits for.

    A loop with virtual time would otherwise jump ahead meanwhile.
    """
    count_outside(loop, 1)
    try:
        yield
    finally:
        count_outside(loop, -1)


class Runtime:
    """Time and chance around a model call.

    `clock` returns monotonic seconds, `sleep` waits for a number of them, and `random` returns a
    number in [0, 1).
    """

    # A plain class: every program imports this module, and a dataclass takes a millisecond to make.
    __slots__ = ("clock", "random", "sleep")

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random: Callable[[], float] | None = None,
    ) -> None:
        self.clock = clock
        self.sleep = sleep
        self.random = random or Random().random

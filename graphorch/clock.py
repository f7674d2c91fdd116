"""What time it is, as a value that is handed in: whoever needs the time takes a `Clock`, so tests hand in another one.

Time and chance as everything around a model call takes them: given from outside, so that a test decides both.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Clock: TypeAlias = Callable[[], float]
"""Seconds since the epoch."""


def system_clock() -> float:
    """The machine's wall clock. It may jump; durations are measured with the event loop's time instead."""
    return time.time()


def count_outside(loop: Any, change: int) -> bool:
    """One thing more (1) or less (-1) happens on a thread that this event loop waits for; whether the loop counts them. See `outside`."""
    is_counted = hasattr(loop, "outside")
    if is_counted:
        loop.outside += change
    return is_counted


@contextmanager
def outside(loop: Any) -> Generator[None]:
    """Something that this event loop waits for happens on a thread: a loop with virtual time has to know, or it would jump ahead."""
    count_outside(loop, 1)
    try:
        yield
    finally:
        count_outside(loop, -1)


@dataclass(frozen=True, slots=True)
class Runtime:
    """`clock` in monotonic seconds, `sleep` for a number of them, and `random` for a number in [0, 1)."""

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    random: Callable[[], float] = field(default_factory=lambda: random.Random().random)

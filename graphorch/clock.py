"""What time it is, as a value that is handed in: whoever needs the time takes a `Clock`, so tests hand in another one."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, TypeAlias

Clock: TypeAlias = Callable[[], float]
"""Seconds since the epoch."""


def system_clock() -> float:
    """The machine's wall clock. It may jump; durations are measured with the event loop's time instead."""
    return time.time()


@contextmanager
def outside(loop: Any) -> Generator[None]:
    """Something that this event loop waits for happens on a thread: a loop with virtual time has to know, or it would jump ahead."""
    counted = loop if hasattr(loop, "outside") else None
    if counted is not None:
        counted.outside += 1
    try:
        yield
    finally:
        if counted is not None:
            counted.outside -= 1

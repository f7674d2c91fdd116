"""What time it is, as a value that is handed in: whoever needs the time takes a `Clock`, so tests hand in another one."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeAlias

Clock: TypeAlias = Callable[[], float]
"""Seconds since the epoch."""


def system_clock() -> float:
    """The machine's wall clock. It may jump; durations are measured with the event loop's time instead."""
    return time.time()

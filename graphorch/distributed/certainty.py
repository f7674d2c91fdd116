"""Whether a worker may begin something: not while others may have taken over what it does.

A worker that was stopped for longer than its lease, or cannot reach the database, does not know
whether its runs and jobs are still its own. What it began then would be done twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, TypeAlias

Certainty: TypeAlias = Callable[[], bool]
"""Says whether what this worker has is certainly still its own."""

_PAUSE: Final = 0.1  # seconds between two looks


def always_certain() -> bool:
    """Return True, in a process whose runs have no lease."""
    return True


async def wait_until(is_certain: Certainty) -> None:
    """Return once it is certain; a worker that has lost its runs ends meanwhile."""
    while True:  # an event would need whoever renews the lease to know each loop
        if is_certain():
            return
        await asyncio.sleep(_PAUSE)

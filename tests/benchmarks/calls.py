"""Count the function calls of a run, Python's and C's: a measure that noise cannot move."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from tests.benchmarks.workloads import Job


def count_calls(job: Job) -> int:
    """Return the calls of one run, after another run as a warm-up.

    Raises `AssertionError` for a wrong answer.
    """

    async def counted() -> int:
        assert job.check(await job.run()), "wrong answer"
        count = 0

        def note(frame: FrameType, event: str, argument: Any) -> None:
            nonlocal count
            if event in ("call", "c_call"):
                count += 1

        before, collects = sys.getprofile(), gc.isenabled()
        # Callbacks of a garbage collection would be counted wherever it happens to fall.
        gc.disable()
        sys.setprofile(note)
        try:
            await job.run()
        finally:
            sys.setprofile(before)
            if collects:
                gc.enable()
        return count

    return asyncio.run(counted())


def calls_per_unit(make: Callable[[int], Job], small: int, large: int) -> float:
    """Return the calls of one more node (branch, round, item), without the fixed cost of a run."""
    return (count_calls(make(large)) - count_calls(make(small))) / (large - small)

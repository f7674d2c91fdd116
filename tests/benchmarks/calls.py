"""Function calls that a run makes, Python's and C's: a measure of work that noise of the machine cannot move."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from tests.benchmarks.workloads import Job


def count_calls(job: Job) -> int:
    """The calls of one run, after another one that warmed up. Raises `AssertionError` for a wrong answer."""

    async def counted() -> int:
        assert job.check(await job.run()), "wrong answer"
        found = 0

        def note(frame: FrameType, event: str, argument: Any) -> None:
            nonlocal found
            if event in ("call", "c_call"):
                found += 1

        before, collects = sys.getprofile(), gc.isenabled()
        # what a collection of garbage calls back would be counted, wherever it happens to fall
        gc.disable()
        sys.setprofile(note)
        try:
            await job.run()
        finally:
            sys.setprofile(before)
            if collects:
                gc.enable()
        return found

    return asyncio.run(counted())


def calls_per_unit(make: Callable[[int], Job], small: int, large: int) -> float:
    """How many calls one more node (branch, round, item) costs: what a run costs whatever its size drops out."""
    return (count_calls(make(large)) - count_calls(make(small))) / (large - small)

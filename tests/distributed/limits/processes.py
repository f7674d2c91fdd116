"""Processes that run a flow in a database, against a server of the test."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parents[3]


async def run_spenders(
    folder: Path, database: str, count: int, meddle: Callable[[list[int]], Awaitable[None]]
) -> Mapping[int, int]:
    """Run so many spenders in a folder, and return their exit codes by process.

    `meddle` is given the processes while they run.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.distributed.limits.spender", str(count), database),
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    pids = [int(text) for text in (await process.stdout.readline()).split()]
    try:
        await meddle(pids)
    except BaseException:
        kill_all(pids)
        raise
    lines = (await process.stdout.read()).decode().splitlines()
    assert await process.wait() == 0
    pairs = [line.split() for line in lines]
    return {int(pid): int(code) for pid, code in pairs}


def kill_all(pids: list[int]) -> None:
    """Kill processes, as far as they still run."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

"""Requests per minute of one target over four processes, as its server counts them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from graphorch.journal.postgres.setup import initialize
from graphorch.models.policies.rate_slices import SLICE_LIFE, build_flows
from tests.contracts.rate_contract import busiest_minute
from tests.distributed.limits.processes import kill_all, run_spenders
from tests.models.config.files import trust_config, write_config
from tests.models.servers import Asked, completion, replies, serve

CONFIG = """
[endpoints.main]
base_url = "{url}"
free = true

[limits.m]
rpm = {rpm}
"""
ANSWER = replies(completion('{"draft": "fine"}'))
PAUSE = 3.0  # seconds that a refusal asks for
JITTER = 0.5  # seconds that a request may take from its turn to the server on a busy machine


@dataclass
class Counter:
    """A server that notes when each request came, and refuses the one of a number."""

    refused_number: int = -1
    times: list[float] = field(default_factory=list)
    refused_at: float = 0.0

    async def handle(self, asked: Asked) -> None:
        now = asyncio.get_running_loop().time()
        self.times.append(now)
        if len(self.times) == self.refused_number:
            self.refused_at = now
            error = {"error": {"message": "slow down"}}
            await replies(error, status=429, headers={"retry-after": f"{PAUSE:g}"})(asked)
        else:
            await ANSWER(asked)

    async def wait_for_first(self) -> None:
        """Wait until a request has come."""
        while not self.times:  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    async def wait_for_end_of_pause(self) -> None:
        """Wait until a request has come after the pause that the refusal asked for."""
        while not self.refused_at or self.times[-1] < self.refused_at + PAUSE - 0.1:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def count_requests(
    counter: Counter,
    folder: Path,
    database: str,
    *,
    rpm: int,
    wait: Callable[[], Awaitable[None]],
) -> None:
    """Let four processes ask as fast as they may, as long as is waited for."""
    initialize(database)
    async with serve(counter.handle) as server:
        trust_config(write_config(folder, CONFIG.format(url=server.url, rpm=rpm)))

        async def wait_and_kill(pids: list[int]) -> None:
            await wait()
            kill_all(pids)

        await run_spenders(folder, database, 4, wait_and_kill)


def count_busiest(times: list[float], seconds: float) -> int:
    """Return the most requests in any time of so many seconds."""
    return max(sum(start <= time < start + seconds for time in times) for start in times)


def run_for(seconds: float, counter: Counter, folder: Path, database: str, *, rpm: int) -> None:
    """Count for so long after the first request."""

    async def wait() -> None:
        await counter.wait_for_first()
        await asyncio.sleep(seconds)

    counting = count_requests(counter, folder, database, rpm=rpm, wait=wait)
    asyncio.run(asyncio.wait_for(counting, seconds + 60))


def test_rate_holds_over_four_processes(database: str, tmp_path: Path) -> None:
    """Four processes send no more than the flow of the limit and its burst."""
    counter, rpm = Counter(), 240
    run_for(3.0, counter, tmp_path, database, rpm=rpm)
    flow = build_flows(rpm, None)[0]
    assert flow is not None
    for span in (0.5, 1.0, 2.0, 3.0):
        most = flow.capacity + flow.rate * (span + SLICE_LIFE + JITTER)
        assert count_busiest(counter.times, span) <= most
    assert len(counter.times) > flow.capacity / 2


def test_retry_after_stops_four_processes(database: str, tmp_path: Path) -> None:
    """What a refusal asks for is kept by all processes, soon after it came."""
    counter = Counter(refused_number=20)
    wait = counter.wait_for_end_of_pause
    counting = count_requests(counter, tmp_path, database, rpm=600, wait=wait)
    asyncio.run(asyncio.wait_for(counting, 60))
    began = counter.refused_at
    # a second, and half of one for a busy machine
    assert not [time for time in counter.times if began + 1.5 < time < began + PAUSE - 0.1]


@pytest.mark.slow
def test_sixty_a_minute_hold(database: str, tmp_path: Path) -> None:
    """Four processes never send more than sixty requests in a minute, wherever it begins."""
    counter = Counter()
    run_for(90.0, counter, tmp_path, database, rpm=60)
    assert 50 <= busiest_minute(counter.times) <= 60

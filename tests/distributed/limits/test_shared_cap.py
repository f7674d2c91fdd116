"""One cap of a day over many processes, some of which are killed."""

from __future__ import annotations

import asyncio
import random
import signal
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from graphorch.journal.postgres.setup import initialize
from graphorch.models.budgets.ledger import PICO
from tests.distributed.limits.processes import kill_all, run_spenders
from tests.distributed.limits.spender import REFUSED
from tests.models.config.files import trust_config, write_config
from tests.models.servers import Asked, completion, replies, serve

CAP = 0.02
INPUT, OUTPUT = 1e-6, 1e-5  # dollars per token
CONFIG = """
[endpoints.main]
base_url = "{url}"
max_output = 60

[prices.m]
input = 1
output = 10

[budgets.day]
usd = {cap}
"""


@dataclass
class Till:
    """A server that charges a random price for each request, answered or not."""

    chance: random.Random
    charged: int = 0  # in the unit of the table, since sums of floats are rounded
    requests: int = 0
    was_charged: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, asked: Asked) -> None:
        tokens = self.chance.randint(1, 60)
        self.charged += round((7 * INPUT + tokens * OUTPUT) * PICO)
        self.requests += 1
        self.was_charged.set()
        assert self.charged <= CAP * PICO
        await asyncio.sleep(self.chance.random() / 20)
        usage = {"prompt_tokens": 7, "completion_tokens": tokens}
        await replies({**completion('{"draft": "fine"}'), "usage": usage})(asked)

    async def wait_for(self, requests: int) -> None:
        while self.requests < requests:
            self.was_charged.clear()
            await self.was_charged.wait()


SEEDS = [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 8))]


@pytest.mark.parametrize("seed", SEEDS)
def test_cap_holds_over_eight_processes(seed: int, database: str, tmp_path: Path) -> None:
    """Eight processes, three of them killed in the middle, never spend more than the cap."""
    initialize(database)

    async def main() -> None:
        till = Till(random.Random(seed))
        async with serve(till.handle) as server:
            config = write_config(tmp_path, CONFIG.format(url=server.url, cap=CAP))
            trust_config(config)

            async def kill_three(pids: list[int]) -> None:
                for number, pid in enumerate(pids[:3], 1):
                    await till.wait_for(8 * number)
                    kill_all([pid])

            codes = await run_spenders(tmp_path, database, 8, kill_three)
        assert sorted(codes.values()) == [-signal.SIGKILL] * 3 + [REFUSED] * 5
        with psycopg.connect(database) as connection:
            row = connection.execute("SELECT usd FROM graphorch.spending").fetchone()
        assert row is not None
        assert till.charged <= row[0] <= CAP * PICO
        assert till.charged > 0.5 * CAP * PICO

    asyncio.run(asyncio.wait_for(main(), 90))

"""A server of a model that charges for each request, and knows which run asked for what."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from graphorch.journal.records import Record
from graphorch.models.budgets.ledger import PICO
from tests.models.servers import USAGE, Asked, completion, replies

INPUT, OUTPUT = 1e-6, 1e-5  # dollars per token
MOST = 60  # tokens of an answer
CONFIG = f"""
[endpoints.main]
base_url = "{{url}}"
max_output = {MOST}

[prices.m]
input = {1e6 * INPUT:g}
output = {1e6 * OUTPUT:g}
"""


@dataclass
class Till:
    """Charges a random price for each request, answered or not; `cap` is in dollars.

    `asked` has the times of the requests of each run and node, and `times` all of them.
    """

    chance: random.Random
    cap: float = float("inf")
    seconds: float = 0.05  # that an answer takes at most
    charged: int = 0  # in the unit of the tables, since sums of floats are rounded
    asked: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    times: list[float] = field(default_factory=list[float])
    was_charged: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, asked: Asked) -> None:
        """Answer a request."""
        text = asked.body["messages"][-1]["content"]
        found = re.search(r"run=(\S+) node=(\S+)", text)
        assert found is not None, text
        tokens = self.chance.randint(1, MOST)
        now = time.time()
        self.times.append(now)
        self.charged += round((USAGE["prompt_tokens"] * INPUT + tokens * OUTPUT) * PICO)
        self.asked[found[1], found[2]].append(now)
        self.was_charged.set()
        await asyncio.sleep(self.chance.random() * self.seconds)
        usage = {"prompt_tokens": USAGE["prompt_tokens"], "completion_tokens": tokens}
        await replies({**completion('{"draft": "fine"}'), "usage": usage})(asked)

    @property
    def is_within_cap(self) -> bool:
        """Whether no more than the cap was charged."""
        return self.charged <= self.cap * PICO

    def count_busiest(self, seconds: float) -> int:
        """Return the most requests in any time of so many seconds."""
        times = self.times
        return max(sum(start <= time < start + seconds for time in times) for start in times)

    def list_paid_again(self, run: str, records: Sequence[Record]) -> list[str]:
        """Return the nodes of a run that asked again for an answer that was recorded before."""
        calls = [record.body for record in records if record.kind == "call"]
        return [
            call["path"]
            for call in calls
            if any(asked > call["at"] for asked in self.asked[run, call["path"]])
        ]

    async def wait_for(self, requests: int) -> None:
        """Return once so many requests have come."""
        while len(self.times) < requests:
            self.was_charged.clear()
            await self.was_charged.wait()

"""A book of rates in memory, as several processes share it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from graphorch.models.policies.rate_slices import Amounts, Flows


@dataclass
class MemoryRateBook:
    """A `RateBook` that keeps when each limit is whole again."""

    clock: Callable[[], float]
    full_at: dict[str, list[float]] = field(default_factory=dict)
    blocked_until: dict[str, float] = field(default_factory=dict)
    draws: int = 0

    async def draw(self, key: str, flows: Flows, amounts: Amounts) -> Amounts:
        await asyncio.sleep(0.002)
        self.draws += 1
        return self._take(key, flows, amounts)

    def give_back(self, key: str, flows: Flows, amounts: Amounts) -> None:
        self._take(key, flows, (-amounts[0], -amounts[1]))

    def pause(self, key: str, seconds: float) -> float:
        until = max(self.blocked_until.get(key, 0.0), self.clock() + seconds)
        self.blocked_until[key] = until
        return max(0.0, until - self.clock())

    def _take(self, key: str, flows: Flows, amounts: Amounts) -> Amounts:
        now, levels = self.clock(), [0.0, 0.0]
        full_at = self.full_at.setdefault(key, [now, now])
        for unit, flow in enumerate(flows):
            if flow is not None:
                full_at[unit] = max(full_at[unit], now) + amounts[unit] / flow.rate
                levels[unit] = flow.capacity - max(0.0, full_at[unit] - now) * flow.rate
        return levels[0], levels[1]

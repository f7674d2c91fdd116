"""A book of grants in memory, as each of several processes sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from graphorch.models.budgets.blocks import BookEntry
from graphorch.models.budgets.ledger import NOTHING, Caps, Units, add_units, subtract_units


@dataclass
class Pages:
    """What all see: totals by key, and by key and process what it was granted and used."""

    now: float = 1_767_225_600.0
    totals: dict[str, Units] = field(default_factory=dict)
    shares: dict[str, dict[int, tuple[Units, Units]]] = field(default_factory=dict)
    changes: int = 0


@dataclass
class MemoryBook:
    """A `SpendBook`, seen by one process."""

    pages: Pages
    process: int

    def read_clock(self) -> float:
        return self.pages.now

    def read(self, key: str) -> BookEntry:
        shares = self.pages.shares.get(key, {})
        own, own_used = shares.get(self.process, (NOTHING, NOTHING))
        rests = [
            subtract_units(granted, used)
            for process, (granted, used) in shares.items()
            if process != self.process and granted != used
        ]
        unused = NOTHING
        for rest in rests:
            unused = add_units(unused, rest)
        return BookEntry(self.pages.totals.get(key, NOTHING), own, own_used, unused, len(rests))

    def change(self, key: str, entry: BookEntry, granted: Units, used: Units, caps: Caps) -> bool:
        total = self.pages.totals.get(key, NOTHING)
        own = self.pages.shares.get(key, {}).get(self.process, (NOTHING, NOTHING))[0]
        total = add_units(total, subtract_units(granted, own))
        if own != entry.own:
            return False
        if any(cap is not None and units > cap for units, cap in zip(total, caps, strict=True)):
            return False
        self.pages.changes += 1
        self.pages.totals[key] = total
        self.pages.shares.setdefault(key, {})[self.process] = granted, used
        return True

    def leave(self, key: str) -> None:
        granted, used = self.pages.shares.get(key, {}).get(self.process, (NOTHING, NOTHING))
        if granted == used:
            self.pages.shares.get(key, {}).pop(self.process, None)


async def run_at_once(function: Callable[[], Any]) -> Any:
    """Run a function as if it ran beside the event loop: other tasks have a turn meanwhile."""
    await asyncio.sleep(0)
    return function()

"""The books under the budgets: what every level has spent and reserved, and who waits for room at it.

Rules of this file:
- a reservation takes all its levels or none, and between check and change nothing awaits: spent + reserved ≤ cap at every instant;
- what was spent never becomes less; so what exceeds cap - spent can never fit, and is refused at once;
- what lacks room only because of reservations that are not settled waits, first come first served. Whoever waits at a level waits for an
  open reservation of that very level, so each is woken: granted, or refused when the last of them has settled;
- money is counted in whole picodollars, since sums of floats drift.

A ledger belongs to one event loop at a time. Several loops or processes share a cap by way of a `SpendStore`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

Units: TypeAlias = tuple[int, int, int]
"""Picodollars, tokens, calls."""

PICO = 1_000_000_000_000
NOTHING: Units = (0, 0, 0)


class SpendStore(Protocol):
    """Where the spending of a named level is kept beyond this process.

    It is asked on the event loop, up to three times per call: it must be local and fast. A reservation is written before the call is
    sent, so what a process had reserved when it crashed stays counted.
    """

    def add(self, key: str, units: Units) -> Units:
        """Add picodollars, tokens and calls (they may be negative) to what is kept under the key, atomically; returns the new total."""
        ...


@dataclass(frozen=True, slots=True)
class Persistence:
    """Keeps a level in a store. `period` names the span that its cap is for, such as today's date: a new one starts from nothing."""

    store: SpendStore
    period: Callable[[], str] = field(default=lambda: "")


@dataclass(slots=True)
class Totals:
    """What became of the reservations that are settled, in picodollars."""

    reserved: int = 0
    estimated: int = 0
    overrun: int = 0


class BudgetLevel:
    """The books of one level."""

    def __init__(
        self,
        name: str,
        caps: tuple[int | None, int | None, int | None],
        kept: Persistence | None = None,
    ) -> None:
        self.name = name
        self.caps = caps
        self.spent: Units = NOTHING
        self.reserved: Units = NOTHING
        # what other processes, and earlier ones, have spent and reserved under the same key
        self.used_elsewhere: Units = NOTHING
        self.open_reservations = 0
        self.totals = Totals()
        self.waiting: deque[Waiter] = deque()
        self.key: str = ""
        self._kept = kept

    @property
    def is_kept(self) -> bool:
        """Whether a store keeps it."""
        return self._kept is not None

    def refresh(self) -> bool:
        """Look at what others have used by now; whether a new period has begun. What is reserved stays so until it is settled."""
        if self._kept is None:
            return False
        key = f"{self.name} {self._kept.period()}".rstrip()
        is_new = key != self.key
        if is_new:
            self.key, self.spent = key, NOTHING
        self.set_stored_total(self._kept.store.add(key, NOTHING))
        return is_new

    def count_used(self, unit: int) -> int:
        """What is gone from the cap: spent, reserved, and used by others."""
        return self.spent[unit] + self.reserved[unit] + self.used_elsewhere[unit]

    def find_short_unit(self, need: Units) -> int | None:
        """The first unit that has no room for it."""
        for unit in range(3):
            cap = self.caps[unit]
            if cap is not None and self.count_used(unit) + need[unit] > cap:
                return unit
        return None

    def may_wait(self, need: Units) -> bool:
        """Whether it could fit once what is reserved here has been settled."""
        could = (
            cap is None or self.count_used(unit) - self.reserved[unit] + need[unit] <= cap
            for unit, cap in enumerate(self.caps)
        )
        return self.open_reservations > 0 and all(could)

    def reserve(self, need: Units) -> None:
        """Set it aside."""
        self.reserved = _plus(self.reserved, need)
        self.open_reservations += 1

    def settle(self, need: Units, actual: Units, key: str, *, is_estimate: bool) -> None:
        """Book what a reservation came to. One of an earlier period is that period's spending."""
        self.reserved = _minus(self.reserved, need)
        self.open_reservations -= 1
        if key == self.key:
            self.spent = _plus(self.spent, actual)
        self.totals.reserved += need[0]
        self.totals.estimated += actual[0] if is_estimate else 0
        # without a bound there is nothing to exceed
        self.totals.overrun += max(0, actual[0] - need[0]) if need[0] else 0

    def add_to_store(self, key: str, change: Units) -> Units | None:
        """Tell the store, if there is one; its new total."""
        return None if self._kept is None else self._kept.store.add(key, change)

    def set_stored_total(self, total: Units) -> None:
        """What a total of the store holds beyond our own books is used by others."""
        usd, tokens, calls = _minus(total, _plus(self.spent, self.reserved))
        self.used_elsewhere = max(0, usd), max(0, tokens), max(0, calls)


@dataclass(slots=True)
class Waiter:
    """Somebody who waits at a level. The future yields None when granted, or the level that refused."""

    levels: Sequence[BudgetLevel]
    need: Units
    outcome: asyncio.Future[BudgetLevel | None]
    at: BudgetLevel


async def reserve(levels: Sequence[BudgetLevel], need: Units) -> BudgetLevel | None:
    """Reserve on all levels, waiting if that can help; the level that refused, or None. Being cancelled leaves nothing reserved."""
    queue = next((level for level in levels if level.waiting), None)
    short = queue or try_reserve(levels, need)
    if short is None:
        return None
    if not short.may_wait(need):
        return short
    ticket = Waiter(levels, need, asyncio.get_running_loop().create_future(), short)
    short.waiting.append(ticket)
    try:
        return await ticket.outcome
    except asyncio.CancelledError:
        if ticket.outcome.cancelled():
            _serve(ticket.at)  # whoever stood behind may be next
        elif ticket.outcome.result() is None:
            settle(levels, [level.key for level in levels], need, NOTHING)
        raise


def try_reserve(levels: Sequence[BudgetLevel], need: Units) -> BudgetLevel | None:
    """Reserve on all levels, or on none and return the one without room."""
    for level in levels:
        if level.find_short_unit(need) is not None:
            return level
    written: list[BudgetLevel] = []
    for level in levels:
        total = level.add_to_store(level.key, need)
        if total is not None:
            written.append(level)
            level.set_stored_total(_minus(total, need))
            if (
                level.find_short_unit(need) is not None
            ):  # others have used it up since we last looked
                for budget_level in written:
                    budget_level.add_to_store(budget_level.key, _minus(NOTHING, need))
                return level
    for level in levels:
        level.reserve(need)
    return None


def settle(
    levels: Sequence[BudgetLevel],
    keys: Sequence[str],
    need: Units,
    actual: Units,
    *,
    is_estimate: bool = False,
) -> None:
    """Close a reservation on all levels and let in who waited for it; the stores come last, so that a broken one blocks nobody."""
    for level, key in zip(levels, keys, strict=True):
        level.settle(need, actual, key, is_estimate=is_estimate)
    for level in levels:
        if level.waiting:
            _serve(level)
    for level, key in zip(levels, keys, strict=True):
        total = level.add_to_store(key, _minus(actual, need))
        if total is not None and key == level.key:
            level.set_stored_total(total)


def _serve(level: BudgetLevel) -> None:
    """Grant or refuse those who wait here, in their order, up to the first who has to wait on."""
    while level.waiting:
        ticket = level.waiting[0]
        if ticket.outcome.done():
            level.waiting.popleft()
            continue
        short = try_reserve(ticket.levels, ticket.need)
        waits = short is not None and short.may_wait(ticket.need)
        if waits and short is level:
            return
        level.waiting.popleft()
        if waits and short is not None:
            ticket.at = short
            short.waiting.append(ticket)
        else:
            ticket.outcome.set_result(short)


def _plus(left: Units, right: Units) -> Units:
    return left[0] + right[0], left[1] + right[1], left[2] + right[2]


def _minus(left: Units, right: Units) -> Units:
    return left[0] - right[0], left[1] - right[1], left[2] - right[2]

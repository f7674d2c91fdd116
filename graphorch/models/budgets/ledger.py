"""The ledger under the budgets: what every level has spent and reserved, and who waits for room.

Rules of this file:
- a reservation takes all its levels or none, and nothing awaits between the check and the change:
  spent + reserved ≤ cap at every instant;
- spending never shrinks, so what exceeds cap - spent can never fit and is refused at once;
- a call that lacks room only because of open reservations waits, first come first served. It waits
  at a level with an open reservation, so each waiter is woken: granted, or refused when the last of
  these reservations has settled;
- money is counted in whole picodollars, since sums of floats drift.

A ledger belongs to one event loop at a time. Several loops or processes share a cap by way of a
`SpendStore`, and machines by way of a `BlockStore`: then only what is in hand has room here, and
blocks are drawn before a reservation.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

Units: TypeAlias = tuple[int, int, int]
"""Picodollars, tokens, calls."""

Caps: TypeAlias = tuple[int | None, int | None, int | None]
"""Limits of the units; None where there is none."""

PICO = 1_000_000_000_000
NOTHING: Units = (0, 0, 0)


class SpendStore(Protocol):
    """Place that keeps the spending of named levels beyond this process.

    It is called on the event loop, up to three times per model call: it must be local and fast. A
    reservation is written before the call is sent, so what a process had reserved when it crashed
    stays counted.
    """

    def add(self, key: str, units: Units) -> Units:
        """Add picodollars, tokens and calls to a key, atomically, and return the new total.

        The units may be negative.
        """
        ...


class BlockStore(SpendStore, Protocol):
    """A `SpendStore` that many machines share: it hands out blocks, which are spent here.

    Only `learn` and `draw` wait for others. They may raise `JournalError` if they wait too long.
    """

    def knows(self, key: str) -> bool:
        """Return whether the total of a key was read."""
        ...

    async def learn(self, key: str) -> None:
        """Read the total of a key."""
        ...

    async def draw(self, key: str, need: Units, caps: Caps) -> bool:
        """Draw a block that covers a need; return False if a cap does not leave so much."""
        ...

    def find_room(self, key: str) -> Units:
        """Return what is in hand of a key."""
        ...

    def take(self, key: str, need: Units, caps: Caps) -> bool:
        """Take a need from what is in hand; return False, with nothing taken, if that is short."""
        ...

    def find_unreturned(self, key: str) -> tuple[Units, int]:
        """Return what other processes hold without having used it, and their number."""
        ...


@dataclass(frozen=True, slots=True)
class Persistence:
    """Keeps a level in a store, or in blocks of one that many machines share.

    `period` returns the name of the span that the cap is for, such as today's date: a new name
    starts from nothing.
    """

    store: SpendStore
    period: Callable[[], str] = field(default=lambda: "")
    blocks: BlockStore | None = None


@dataclass(slots=True)
class Totals:
    """Picodollars of settled reservations: what was reserved, estimated, and beyond the bound."""

    reserved: int = 0
    estimated: int = 0
    overrun: int = 0


class BudgetLevel:
    """Caps, spending, reservations and waiters of one level."""

    def __init__(
        self,
        name: str,
        caps: Caps,
        persistence: Persistence | None = None,
    ) -> None:
        self.name = name
        self.caps = caps
        self.spent: Units = NOTHING
        self.reserved: Units = NOTHING
        # spent and reserved under the same key by other processes, and by earlier ones
        self.used_elsewhere: Units = NOTHING
        self.open_reservations = 0
        self.totals = Totals()
        self.waiting: deque[Waiter] = deque()
        self.key: str = ""
        self._persistence = persistence
        self.is_kept = persistence is not None  # in a store
        self.blocks = None if persistence is None else persistence.blocks

    def refresh(self) -> bool:
        """Read what others have used by now, and return whether a new period has begun.

        Reservations of the old period stay until they are settled.
        """
        if self._persistence is None:
            return False
        key = f"{self.name} {self._persistence.period()}".rstrip()
        is_new = key != self.key
        if is_new:
            self.key, self.spent = key, NOTHING
        self.set_stored_total(self._persistence.store.add(key, NOTHING))
        return is_new

    def count_used(self, unit: int) -> int:
        """Return what is gone from a cap: spent, reserved, and used by others."""
        return self.spent[unit] + self.reserved[unit] + self.used_elsewhere[unit]

    def find_short_unit(self, need: Units) -> int | None:
        """Return the first unit without room for a need, or None if all of it fits."""
        for unit in range(3):
            cap = self.caps[unit]
            if cap is not None and self.count_used(unit) + need[unit] > cap:
                return unit
        return None

    def lacks_block(self, need: Units) -> bool:
        """Return whether too little of a cap that machines share is in hand."""
        if self.blocks is None:
            return False
        room = self.blocks.find_room(self.key)
        return any(
            cap is not None and need[unit] > room[unit] for unit, cap in enumerate(self.caps)
        )

    def lacks_only_block(self, need: Units) -> bool:
        """Return whether a need fits the caps, as far as is known, but not what is in hand."""
        return self.find_short_unit(need) is None and self.lacks_block(need)

    def may_wait(self, need: Units) -> bool:
        """Return whether a need could fit once the open reservations have been settled."""
        could_fit = (
            cap is None or self.count_used(unit) - self.reserved[unit] + need[unit] <= cap
            for unit, cap in enumerate(self.caps)
        )
        return self.open_reservations > 0 and all(could_fit)

    async def learn(self) -> bool:
        """Read what others have used, unless that is known; return whether it was read."""
        assert self.blocks is not None
        is_new = False
        # the clock of the others, which is read as well, may begin another period
        while not self.blocks.knows(self.key):
            await self.blocks.learn(self.key)
            self.refresh()
            is_new = True
        return is_new

    async def draw(self, need: Units) -> bool:
        """Draw a block that covers a need; return False if the cap does not leave so much."""
        assert self.blocks is not None
        is_covered = await self.blocks.draw(self.key, need, self.caps)
        self.refresh()
        return is_covered

    def reserve(self, need: Units) -> None:
        """Set a need aside, without checking that it fits."""
        self.reserved = add_units(self.reserved, need)
        self.open_reservations += 1

    def settle(self, need: Units, actual: Units, key: str, *, is_estimate: bool) -> None:
        """Replace a reservation by its actual amount.

        `key` is that of the level when it was reserved: a reservation of an earlier period belongs
        to the spending of that period.
        """
        self.reserved = subtract_units(self.reserved, need)
        self.open_reservations -= 1
        if key == self.key:
            self.spent = add_units(self.spent, actual)
        self.totals.reserved += need[0]
        if is_estimate:
            self.totals.estimated += actual[0]
        # without a bound in dollars there is nothing to exceed
        if need[0]:
            self.totals.overrun += max(0, actual[0] - need[0])

    def take(self, need: Units) -> bool:
        """Write a need to the store of a level that has one.

        Return False, with nothing written, if that lacks room.
        """
        assert self._persistence is not None
        if self.blocks is not None:
            return self.blocks.take(self.key, need, self.caps)
        # Its total shows what others have used up since the last look.
        total = self._persistence.store.add(self.key, need)
        self.set_stored_total(subtract_units(total, need))
        if self.find_short_unit(need) is None:
            return True
        self._persistence.store.add(self.key, subtract_units(NOTHING, need))
        return False

    def add_to_store(self, key: str, change: Units) -> Units | None:
        """Add a change to the store and return its new total; None without a store."""
        if self._persistence is None:
            return None
        return self._persistence.store.add(key, change)

    def set_stored_total(self, total: Units) -> None:
        """Take what a total of the store holds beyond this ledger as used elsewhere."""
        usd, tokens, calls = subtract_units(total, add_units(self.spent, self.reserved))
        self.used_elsewhere = max(0, usd), max(0, tokens), max(0, calls)


@dataclass(slots=True)
class Waiter:
    """A reservation that waits at a level.

    The future yields None when it is granted, or the level that refused it.
    """

    levels: Sequence[BudgetLevel]
    need: Units
    outcome: asyncio.Future[BudgetLevel | None]
    at: BudgetLevel


async def reserve(levels: Sequence[BudgetLevel], need: Units) -> BudgetLevel | None:
    """Reserve on all levels, waiting if that can help; return the level that refused, or None.

    Cancellation leaves nothing reserved.
    """
    # 1. Nothing overtakes: a level with waiters counts as short even if this need would fit.
    queued = next((level for level in levels if level.waiting), None)
    short = queued or try_reserve(levels, need)
    if short is None:
        return None
    if not short.may_wait(need):
        return short
    # 2. Wait for a settlement that makes room.
    waiter = Waiter(levels, need, asyncio.get_running_loop().create_future(), short)
    short.waiting.append(waiter)
    try:
        return await waiter.outcome
    except asyncio.CancelledError:
        if waiter.outcome.cancelled():
            # the waiter behind this one may fit
            _serve_waiters(waiter.at)
        elif waiter.outcome.result() is None:
            # it was granted in the same instant: give the reservation back
            settle(levels, [level.key for level in levels], need, NOTHING)
        raise


def try_reserve(levels: Sequence[BudgetLevel], need: Units) -> BudgetLevel | None:
    """Reserve on all levels and return None, or reserve nothing and return a level without room."""
    # 1. Check this ledger, which costs nothing.
    for level in levels:
        if level.find_short_unit(need) is not None:
            return level
    # 2. Write to the stores.
    written: list[BudgetLevel] = []
    for level in levels:
        if not level.is_kept:
            continue
        if level.take(need):
            written.append(level)
            continue
        for written_level in written:
            written_level.add_to_store(written_level.key, subtract_units(NOTHING, need))
        return level
    # 3. Everything fits.
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
    """Close a reservation on all levels and serve the waiters.

    The stores come first, since waiters look at their totals; a broken store blocks no waiter.
    """
    for level, key in zip(levels, keys, strict=True):
        level.settle(need, actual, key, is_estimate=is_estimate)
    try:
        for level, key in zip(levels, keys, strict=True):
            total = level.add_to_store(key, subtract_units(actual, need))
            if total is not None and key == level.key:
                level.set_stored_total(total)
    finally:
        for level in levels:
            if level.waiting:
                _serve_waiters(level)


def _serve_waiters(level: BudgetLevel) -> None:
    """Grant or refuse the waiters of a level in their order, up to the first that must wait on."""
    while level.waiting:
        waiter = level.waiting[0]
        if waiter.outcome.done():
            level.waiting.popleft()
            continue
        short = try_reserve(waiter.levels, waiter.need)
        must_wait = short is not None and short.may_wait(waiter.need)
        if must_wait and short is level:
            return
        level.waiting.popleft()
        if must_wait and short is not None:
            # there is room here, but not at another level: queue up there
            waiter.at = short
            short.waiting.append(waiter)
        else:
            waiter.outcome.set_result(short)


def add_units(left: Units, right: Units) -> Units:
    """Return the sum, unit by unit."""
    return left[0] + right[0], left[1] + right[1], left[2] + right[2]


def subtract_units(left: Units, right: Units) -> Units:
    """Return the difference, unit by unit."""
    return left[0] - right[0], left[1] - right[1], left[2] - right[2]

"""Caps that many machines share: each process draws blocks of a cap and spends from them.

A shared book holds, for each key, what all processes were granted, and what each of them was.
Rules of this file:
1. A grant is written to the book before anything of it is spent, and only as far as the cap goes:
   what all processes spend together never exceeds a cap.
2. A call is paid from the block in hand, without asking the book. A block is a fiftieth of the cap,
   less when little is left, and at least what the call needs.
3. What lies idle in hand for `IDLE_SECONDS` goes back, and so does what is more than two blocks,
   and everything when the store is closed.
4. A process that is killed returns nothing: its block stays counted until the period of the cap
   ends. That errs on the safe side: less is spent than allowed, by at most two blocks and the calls
   that were under way.
5. Units without a cap are counted too. They are reported with the next draw or return, so a killed
   process may leave its last ones out.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol, TypeAlias

from graphorch.models.budgets.ledger import NOTHING, Caps, Units, add_units, subtract_units

IDLE_SECONDS = 10.0
_BLOCKS_PER_CAP = 50
_BLOCKS_PER_REST = 8  # so that the rest of a cap is not in the hands of the first who ask
_MOST_IN_HAND = 2  # blocks


@dataclass(frozen=True, slots=True)
class BookEntry:
    """Entry of a key in the book, as a process reads it.

    `total` was granted to all processes, `own` to this one, which reported that it has `used` so
    much. `unused` is the part of the grants of others, `holders` in number, that they had not used
    when they last reported.
    """

    total: Units = NOTHING
    own: Units = NOTHING
    used: Units = NOTHING
    unused: Units = NOTHING
    holders: int = 0


class SpendBook(Protocol):
    """Book of all grants, seen by one process. Calls come one at a time, and may block."""

    def read_clock(self) -> float:
        """Return the time of the book, in seconds since the epoch."""
        ...

    def read(self, key: str) -> BookEntry:
        """Return the entry of a key, which is empty if there is none."""
        ...

    def change(self, key: str, entry: BookEntry, granted: Units, used: Units, caps: Caps) -> bool:
        """Change the grant of this process from `entry.own`, and report what it has used.

        Return False, and change nothing, if the total would exceed a cap, or if `entry.own` is not
        its grant any more.
        """
        ...

    def leave(self, key: str) -> None:
        """Strike out this process: all that it was granted is used."""
        ...


RunBeside: TypeAlias = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Runs a function beside the event loop, one at a time in the order of the calls.

A function that fails because the book is away is run again, up to the patience of the runner.
"""


@dataclass(slots=True)
class _Holding:
    """Share of one process in one key. `elsewhere` was granted to others when the book was read."""

    granted: Units = NOTHING
    used: Units = NOTHING
    reported: Units = NOTHING  # of what was used
    block: Units = NOTHING
    elsewhere: Units = NOTHING
    unused: Units = NOTHING
    holders: int = 0
    changed_at: float = 0.0
    is_read: bool = False

    @property
    def room(self) -> Units:
        """Units in hand; below 0 where more was used than granted."""
        return subtract_units(self.granted, self.used)

    def take_over(self, entry: BookEntry) -> None:
        """Take over what the book says, also of what this process used before it closed."""
        if not self.is_read:
            self.used = add_units(self.used, entry.used)
            self.reported = entry.used
        self.granted = entry.own
        self.elsewhere = subtract_units(entry.total, entry.own)
        self.unused, self.holders = entry.unused, entry.holders
        self.is_read = True


class BlockSpend:
    """A `BlockStore` that draws from a shared book. Safe to use from several threads.

    `run_beside` runs what asks the book; `clock` measures how long a block lies idle, and carries
    the time of the book on between two looks at it.
    """

    def __init__(
        self,
        book: SpendBook,
        run_beside: RunBeside,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._book = book
        self._run_beside = run_beside
        self._clock = clock
        self._holdings: dict[str, _Holding] = {}
        self._lock = threading.Lock()  # held for sums only, never while the book is asked
        self._lead: float | None = None  # of the book's clock before ours

    # ---- on the event loop -----------------------------------------------------------------------
    def today(self) -> str:
        """Return the date in UTC by the clock of the book; by that of this machine until known."""
        now = time.time() if self._lead is None else self._clock() + self._lead
        return datetime.fromtimestamp(now, UTC).date().isoformat()

    def knows(self, key: str) -> bool:
        """Return whether the entry of a key has been read."""
        holding = self._holdings.get(key)
        return holding is not None and holding.is_read

    async def learn(self, key: str) -> None:
        """Read the entry of a key, and the clock of the book."""
        await self._run_beside(lambda: self._learn(key))

    def add(self, key: str, units: Units) -> Units:
        """Add units to a key, and return the total as far as it is known here.

        It is for what was spent or given back already, so it may exceed what is in hand.
        """
        with self._lock:
            holding = self._holdings.get(key)
            if holding is None:
                if units == NOTHING:
                    return NOTHING
                holding = self._holdings[key] = _Holding()
            holding.used = add_units(holding.used, units)
            holding.changed_at = self._clock()
            return add_units(holding.elsewhere, holding.used)

    def take(self, key: str, need: Units, caps: Caps) -> bool:
        """Take a need from what is in hand; return False, with nothing taken, if that is short."""
        with self._lock:
            holding = self._holdings.get(key)
            if holding is None or _is_short(holding.room, need, caps):
                return False
            holding.used = add_units(holding.used, need)
            holding.changed_at = self._clock()
            return True

    def find_room(self, key: str) -> Units:
        """Return what is in hand of a key."""
        holding = self._holdings.get(key)
        return NOTHING if holding is None else holding.room

    def find_unreturned(self, key: str) -> tuple[Units, int]:
        """Return what other processes hold and had not used when last heard of, and their number.

        As of the last look at the book.
        """
        holding = self._holdings.get(key)
        return (NOTHING, 0) if holding is None else (holding.unused, holding.holders)

    async def draw(self, key: str, need: Units, caps: Caps) -> bool:
        """Draw a block that covers a need; return False if a cap does not leave so much."""
        return await self._run_beside(lambda: self._draw(key, need, caps))

    # ---- beside the event loop -------------------------------------------------------------------
    def tidy(self) -> None:
        """Return what lies idle, and what is more than two blocks."""
        for key, holding in list(self._holdings.items()):
            if self._clock() - holding.changed_at >= IDLE_SECONDS:
                self._return_rest(key, holding, NOTHING)
            elif _is_beyond(holding.room, _MOST_IN_HAND, holding.block):
                self._return_rest(key, holding, holding.block)

    def return_all(self) -> None:
        """Return everything that is in hand, and forget it."""
        for key, holding in list(self._holdings.items()):
            self._return_rest(key, holding, NOTHING)
            with self._lock:
                is_settled = holding.granted == holding.used == holding.reported
                if is_settled:
                    del self._holdings[key]
            if is_settled:
                self._book.leave(key)

    @property
    def needs_tidying(self) -> bool:
        """Return whether anything is in hand, or was used without being reported."""
        return any(holding.granted != holding.reported for holding in self._list_holdings())

    def _list_holdings(self) -> list[_Holding]:
        return list(self._holdings.values())

    def _learn(self, key: str) -> None:
        self._lead = self._book.read_clock() - self._clock()
        self._read(key)

    def _read(self, key: str) -> tuple[_Holding, BookEntry]:
        entry = self._book.read(key)
        with self._lock:
            holding = self._holdings.setdefault(key, _Holding(changed_at=self._clock()))
            holding.take_over(entry)
        return holding, entry

    def _draw(self, key: str, need: Units, caps: Caps) -> bool:
        while True:
            # 1. Read the book first: also after a failure that left open whether a grant was made.
            holding, entry = self._read(key)
            used = holding.used
            if not _is_short(subtract_units(entry.own, used), need, caps):
                return True  # another call has drawn enough meanwhile
            # 2. Grant a block within the caps.
            granted = compute_grant(entry, used, need, caps)
            if granted is None:
                self._report_debt(key, holding, entry, used)
                return False
            if self._book.change(key, entry, granted, used, caps):
                block = _pick_larger(subtract_units(granted, entry.own), need)
                self._note_grant(holding, granted, used, block)
                return True
            # 3. Another process was faster: look again. It got something, so this comes to an end.

    def _note_grant(self, holding: _Holding, granted: Units, used: Units, block: Units) -> None:
        with self._lock:
            holding.granted, holding.reported, holding.block = granted, used, block
            holding.changed_at = self._clock()

    def _report_debt(self, key: str, holding: _Holding, entry: BookEntry, used: Units) -> None:
        """Report what bills took beyond the grant: it is spent, whatever the caps say."""
        granted = _pick_larger(entry.own, used)
        if granted != entry.own and self._book.change(key, entry, granted, used, NO_CAPS):
            with self._lock:
                holding.granted, holding.reported = granted, used

    def _return_rest(self, key: str, holding: _Holding, keep: Units) -> None:
        """Return what is in hand beyond what is kept, and report what was used."""
        if not holding.is_read:  # a bill that came after all was returned
            self._read(key)
        with self._lock:
            used = holding.used
            if holding.granted == used == holding.reported:
                return
            # Lowered before the book hears of it, so that nothing of it is spent meanwhile.
            holding.granted = _pick_smaller(holding.granted, add_units(used, keep))
            granted = _pick_larger(holding.granted, used)
        if self._book.change(key, self._book.read(key), granted, used, NO_CAPS):
            with self._lock:
                holding.granted, holding.reported = granted, used


NO_CAPS: Caps = (None, None, None)


def compute_grant(entry: BookEntry, used: Units, need: Units, caps: Caps) -> Units | None:
    """Return the grant of a process that needs more, in total; None if a cap leaves too little.

    Beyond what is used it is a fiftieth of the cap or an eighth of what is left, whichever is less,
    and at least the need. A unit without a cap is granted as it is used.
    """
    granted = list(_pick_larger(entry.own, used))
    for unit, cap in enumerate(caps):
        if cap is None:
            continue
        left = cap - (entry.total[unit] - entry.own[unit]) - used[unit]
        if need[unit] > left:
            return None
        block = max(need[unit], min(cap // _BLOCKS_PER_CAP, left // _BLOCKS_PER_REST))
        granted[unit] = max(entry.own[unit], used[unit] + block)
    return granted[0], granted[1], granted[2]


def _is_short(room: Units, need: Units, caps: Caps) -> bool:
    """Return whether there is too little of a unit with a cap."""
    return any(cap is not None and need[unit] > room[unit] for unit, cap in enumerate(caps))


def _pick_larger(left: Units, right: Units) -> Units:
    return max(left[0], right[0]), max(left[1], right[1]), max(left[2], right[2])


def _pick_smaller(left: Units, right: Units) -> Units:
    return min(left[0], right[0]), min(left[1], right[1]), min(left[2], right[2])


def _is_beyond(room: Units, factor: int, block: Units) -> bool:
    """Return whether there is more of a unit than so many blocks."""
    return any(left > factor * size for left, size in zip(room, block, strict=True))

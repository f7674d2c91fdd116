"""Turns at a target whose limits many machines share: drawn in slices, and given out in order.

Rules of this file:
1. A process draws a slice only when a call waits for it: what waits, or what the last calls lead to
   expect, but at most what flows in in a quarter of a second, and at least one call. So a busy
   process asks the book four times a second, and no process takes the turns of all others.
2. The book says when a slice may be used. It is used within `SLICE_LIFE` seconds from then on; a
   rest is given back with the next slice until then, and is lost later.
3. The flow is a little less than the limit, by what a slice may come late: so no minute, wherever
   it begins, holds more than the limit, in all processes together.
4. A call whose turn comes too late, by what is known, is refused at once and holds up no other.
5. A process that is killed takes at most a slice with it: a quarter of a second.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from graphorch.models.policies.rate_bucket import BucketRules

SLICE_SECONDS = 0.25
SLICE_LIFE = 0.5

Amounts: TypeAlias = tuple[float, float]
"""Requests and tokens."""

Flows: TypeAlias = tuple[BucketRules | None, BucketRules | None]
"""Limits of requests and of tokens; None where there is none."""


class RateBook(Protocol):
    """Book of the limits of targets that many machines share."""

    async def draw(self, key: str, flows: Flows, amounts: Amounts) -> Amounts:
        """Take amounts from both buckets of a target, and return the levels after that.

        A negative level is a debt, and a negative amount gives back. May raise `JournalError` if
        the book is away for too long.
        """
        ...

    def give_back(self, key: str, flows: Flows, amounts: Amounts) -> None:
        """Give amounts back within about a second, without waiting for it."""
        ...

    def pause(self, key: str, seconds: float) -> float:
        """Make a pause at least so long from now, for all, and return what is left of it.

        What others make is known within a second where the target is in use.
        """
        ...


@dataclass(frozen=True, slots=True)
class SharedRates:
    """Key in a book under which many machines find the limits of one target."""

    store: RateBook
    key: str


def build_flows(rpm: float | None, tpm: float | None) -> Flows:
    """Return the flows for limits per minute, less what slices may come late."""
    return _build_flow(rpm), _build_flow(tpm)


def _build_flow(per_minute: float | None) -> BucketRules | None:
    return None if per_minute is None else BucketRules.of(per_minute, late=SLICE_LIFE)


@dataclass(slots=True)
class _Slice:
    """Amounts that may be used from a time on; `spare` is what the buckets held beyond them."""

    left: list[float]
    ready_at: float
    spare: Amounts = (0.0, 0.0)


@dataclass(slots=True)
class _Waiter:
    amounts: Amounts
    deadline: float | None
    turn: asyncio.Future[float | None]

    @property
    def has_turn(self) -> bool:
        """Return whether it was given its turn, and not refused."""
        return self.turn.result() is None


class SliceLine:
    """Calls of one event loop that wait for their turn at a target. Mutable."""

    def __init__(
        self,
        shared: SharedRates,
        flows: Flows,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._shared = shared
        self._flows = flows
        self._clock = clock
        self._sleep = sleep
        self._slice = _Slice([0.0, 0.0], clock() - SLICE_LIFE)
        self._waiting: deque[_Waiter] = deque()
        self._pump: asyncio.Task[None] | None = None
        self._drawn_at = clock()
        self._used: list[float] = [0.0, 0.0]  # since the last draw

    async def take(self, tokens: int, deadline: float | None) -> float | None:
        """Wait for the turn of a call, and return None.

        Return the seconds until its turn if that is at the deadline or later.
        """
        amounts = (1.0, float(tokens))
        if not self._waiting and self._is_alive() and self._covers(amounts):
            self._use(amounts)
            return None
        waiter = _Waiter(amounts, deadline, asyncio.get_running_loop().create_future())
        self._waiting.append(waiter)
        if self._pump is None:
            self._pump = asyncio.ensure_future(self._serve())
        try:
            return await waiter.turn
        except asyncio.CancelledError:
            self._forget(waiter)
            raise

    def give_back(self, amounts: Amounts) -> None:
        """Return what was not used; a negative amount charges for what was used beyond."""
        if self._is_alive() and min(amounts) >= 0:
            self._slice.left[0] += amounts[0]
            self._slice.left[1] += amounts[1]
        else:
            self._shared.store.give_back(self._shared.key, self._flows, amounts)

    def _forget(self, waiter: _Waiter) -> None:
        """Take a call out of the line that was cancelled."""
        if waiter in self._waiting:
            self._waiting.remove(waiter)
        elif not waiter.turn.cancelled() and not waiter.turn.exception() and waiter.has_turn:
            self.give_back(waiter.amounts)  # it had its turn in the same instant
        if not self._waiting and self._pump is not None:
            self._pump.cancel()
            self._pump = None
            self._return_early()

    # ---- the slice -------------------------------------------------------------------------------
    def _is_alive(self) -> bool:
        ready_at = self._slice.ready_at
        return ready_at <= self._clock() < ready_at + SLICE_LIFE

    def _covers(self, amounts: Amounts) -> bool:
        left = self._slice.left
        # sums of floats drift
        return all(
            flow is None or left[unit] + 1e-6 >= amounts[unit]
            for unit, flow in enumerate(self._flows)
        )

    def _use(self, amounts: Amounts) -> None:
        for unit in range(2):
            self._slice.left[unit] -= amounts[unit]
            self._used[unit] += amounts[unit]

    # ---- the line --------------------------------------------------------------------------------
    async def _serve(self) -> None:
        """Draw slices and give turns, until no call waits."""
        pump = asyncio.current_task()
        try:
            while self._waiting:
                if not (self._is_coming() and self._covers(self._waiting[0].amounts)):
                    await self._draw()
                    self._refuse_late()
                if self._waiting and (wait := self._slice.ready_at - self._clock()) > 0:
                    await self._sleep(wait)
                self._give_turns()
            self._return_early()
        except Exception as error:
            # The border of the task: the calls that wait have to know.
            for waiter in self._waiting:
                if not waiter.turn.done():
                    waiter.turn.set_exception(error)
            self._waiting.clear()
        finally:
            if self._pump is pump:
                self._pump = None

    def _is_coming(self) -> bool:
        """Return whether the slice may still be used, now or later."""
        return self._clock() < self._slice.ready_at + SLICE_LIFE

    async def _draw(self) -> None:
        """Draw the next slice, and give the rest of this one back unless it is too old.

        What is old has flowed in again by now: given back, it would count twice.
        """
        wanted = self._choose_amounts()
        rest = self._slice.left if self._is_coming() else [0.0, 0.0]
        self._slice.left = [0.0, 0.0]
        net = (wanted[0] - rest[0], wanted[1] - rest[1])
        self._drawn_at, self._used = self._clock(), [0.0, 0.0]
        levels = await self._shared.store.draw(self._shared.key, self._flows, net)
        wait = max(
            0.0 if flow is None else flow.find_wait(levels[unit] + wanted[unit], wanted[unit])
            for unit, flow in enumerate(self._flows)
        )
        left = [wanted[0] + self._slice.left[0], wanted[1] + self._slice.left[1]]
        self._slice = _Slice(left, self._clock() + wait, levels)

    def _choose_amounts(self) -> Amounts:
        """Return the amounts for the next slice: for what waits, and what is expected soon."""
        elapsed = max(self._clock() - self._drawn_at, SLICE_SECONDS / 10)
        head = self._waiting[0].amounts
        wanted: list[float] = []
        for unit, flow in enumerate(self._flows):
            if flow is None:
                wanted.append(0.0)
                continue
            waiting = sum(waiter.amounts[unit] for waiter in self._waiting)
            expected = self._used[unit] * SLICE_SECONDS / elapsed
            most = max(head[unit], flow.rate * SLICE_SECONDS)
            wanted.append(min(max(waiting, expected), most))
        if self._flows[0] is not None:
            wanted[0] = max(1.0, float(int(wanted[0])))
        return wanted[0], wanted[1]

    def _give_turns(self) -> None:
        while self._waiting and self._is_alive() and self._covers(self._waiting[0].amounts):
            waiter = self._waiting.popleft()
            if not waiter.turn.done():
                self._use(waiter.amounts)
                waiter.turn.set_result(None)

    def _return_early(self) -> None:
        """Give a slice back that is for later, once no call waits for it."""
        if self._slice.ready_at > self._clock():
            left = self._slice.left
            self._slice = _Slice([0.0, 0.0], self._clock() - SLICE_LIFE)
            self._shared.store.give_back(self._shared.key, self._flows, (left[0], left[1]))

    def _refuse_late(self) -> None:
        """Refuse the calls whose turn comes too late even if no other process asks for one."""
        now, requests, tokens = self._clock(), 0.0, 0.0
        kept: deque[_Waiter] = deque()
        for waiter in self._waiting:
            up_to = requests + waiter.amounts[0], tokens + waiter.amounts[1]
            at = max(now, self._slice.ready_at + self._find_later(up_to))
            if waiter.deadline is None or at < waiter.deadline or at <= now:
                kept.append(waiter)
                requests, tokens = up_to
            elif not waiter.turn.done():
                waiter.turn.set_result(at - now)
        self._waiting = kept

    def _find_later(self, ahead: Amounts) -> float:
        """Return the seconds after the slice at which so much may be used."""
        later = 0.0
        for unit, flow in enumerate(self._flows):
            if flow is not None:
                there = self._slice.left[unit] + max(0.0, self._slice.spare[unit])
                later = max(later, (ahead[unit] - there) / flow.rate)
        return later

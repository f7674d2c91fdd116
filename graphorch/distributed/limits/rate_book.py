"""The book of the rates of targets in a PostgreSQL database, as one process sees it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from graphorch.distributed.limits import statements
from graphorch.distributed.limits.limits_thread import LimitsThread
from graphorch.models.policies.rate_slices import Amounts, Flows

_WATCHED = 60.0  # seconds after its last use for which pauses of a target are looked for
_NOTHING: Amounts = (0.0, 0.0)


@dataclass(slots=True)
class _Target:
    """Target that this process asks: its last use, its pause, and what is to be written."""

    used_at: float
    paused_until: float = 0.0
    unsent_until: float = 0.0
    credit: Amounts = _NOTHING
    flows: Flows = (None, None)


class PostgresRateBook:
    """A `RateBook` on the connection of a thread. Safe to use from several event loops.

    A process looks for the pauses of others about twice a second, for all targets in one statement,
    as long as it uses some. If the database is away, calls that need a slice wait for it; pauses
    that this process made itself hold at once, and reach the others when it is back.
    """

    def __init__(self, thread: LimitsThread, clock: Callable[[], float] = time.monotonic) -> None:
        self._thread = thread
        self._clock = clock
        self._targets: dict[str, _Target] = {}
        self._lock = threading.Lock()  # held for sums only

    # ---- on the event loop -----------------------------------------------------------------------
    async def draw(self, key: str, flows: Flows, amounts: Amounts) -> Amounts:
        """Take amounts from both buckets of a target, and return the levels after that."""
        return await self._thread.run(lambda: self._draw(key, flows, amounts))

    def give_back(self, key: str, flows: Flows, amounts: Amounts) -> None:
        """Give amounts back with the next statement."""
        target = self._watch(key)
        with self._lock:
            target.flows = flows
            target.credit = target.credit[0] + amounts[0], target.credit[1] + amounts[1]

    def pause(self, key: str, seconds: float) -> float:
        """Make a pause at least so long from now, and return what is left of it."""
        target, now = self._watch(key), self._clock()
        if seconds > 0:
            with self._lock:
                target.paused_until = max(target.paused_until, now + seconds)
                target.unsent_until = max(target.unsent_until, now + seconds)
            self._thread.post(self._send_pauses)
        return max(0.0, target.paused_until - now)

    def _watch(self, key: str) -> _Target:
        """Return a target, which is in use now."""
        target = self._targets.get(key)
        if target is None:
            target = self._targets.setdefault(key, _Target(self._clock()))
            self._thread.post(self._read_pauses)
        target.used_at = self._clock()
        return target

    # ---- in the thread ---------------------------------------------------------------------------
    @property
    def needs_tidying(self) -> bool:
        """Return whether a target is in use, or something is to be written."""
        return bool(self._targets)

    def tidy(self) -> None:
        """Write what is to be written, and look for pauses of others."""
        self._send_pauses()
        self._send_credits()
        self._read_pauses()

    def finish(self) -> None:
        """Write what is to be written, and watch no target any more."""
        self._send_pauses()
        self._send_credits()
        self._targets.clear()

    def _draw(self, key: str, flows: Flows, amounts: Amounts) -> Amounts:
        target = self._watch(key)
        with self._lock:
            credit, target.credit = target.credit, _NOTHING
        values = {
            "target": key,
            "requests": _find_seconds(flows, (amounts[0] - credit[0], 0.0)),
            "tokens": _find_seconds(flows, (0.0, amounts[1] - credit[1])),
        }
        ((*debts, pause),) = self._thread.fetch(statements.DRAW_RATE, values)
        self._note_pause(target, pause)
        levels = [
            0.0 if flow is None else flow.capacity - max(0.0, debt) * flow.rate
            for flow, debt in zip(flows, debts, strict=True)
        ]
        return levels[0], levels[1]

    def _send_pauses(self) -> None:
        for key, target in list(self._targets.items()):
            seconds = target.unsent_until - self._clock()
            if seconds > 0:
                self._thread.fetch(statements.PAUSE_RATE, {"target": key, "seconds": seconds})
                with self._lock:
                    target.unsent_until = 0.0

    def _send_credits(self) -> None:
        for key, target in list(self._targets.items()):
            if target.credit != _NOTHING:
                self._draw(key, target.flows, _NOTHING)

    def _read_pauses(self) -> None:
        now = self._clock()
        for key, target in list(self._targets.items()):
            if now - target.used_at > _WATCHED:
                del self._targets[key]
        if not self._targets:
            return
        for key, pause in self._thread.fetch(
            statements.READ_PAUSES, {"targets": list(self._targets)}
        ):
            if target := self._targets.get(key):
                self._note_pause(target, pause)

    def _note_pause(self, target: _Target, seconds: float) -> None:
        if seconds > 0:
            with self._lock:
                until = self._clock() + seconds
                target.paused_until = max(target.paused_until, until)


def _find_seconds(flows: Flows, amounts: Amounts) -> float:
    """Return the seconds in which amounts flow in, of the unit that is not 0."""
    return sum(
        0.0 if flow is None else amount / flow.rate
        for flow, amount in zip(flows, amounts, strict=True)
    )

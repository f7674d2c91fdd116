"""Calls in flight that a target takes, learnt from its refusals.

Additive increase and multiplicative decrease: D.-M. Chiu and R. Jain, "Analysis of the increase and
decrease algorithms for congestion avoidance", 1989. Rules of this file:
1. Nothing is limited until the first refusal.
2. A refusal leaves at most the calls that are still in flight, since the target took those.
3. It also halves the window, but the refusals of one wave do so once: those of calls that were sent
   before the window was last halved.
4. A window that is full gains one place for each window of answers.
"""

from __future__ import annotations

import math

_DECREASE = 0.5


class AdaptiveWindow:
    """Window of one target. Mutable; the rate limiter reports what became of each call."""

    def __init__(self) -> None:
        self._size = math.inf
        self._halved_at = 0  # the number of the next call at that time
        self._refusals_in_a_row = 0

    @property
    def size(self) -> float:
        """Calls that may be in flight; infinite as long as none was refused."""
        return self._size

    @property
    def refusals_in_a_row(self) -> int:
        """Waves of refusals since the last answer."""
        return self._refusals_in_a_row

    def has_room(self, running: int) -> bool:
        """Return whether another call may be sent beside those that run."""
        return running < self._size

    def note_answer(self, running: int) -> None:
        """Widen the window after an answer, if it was full; `running` includes that call."""
        self._refusals_in_a_row = 0
        if running + 1 > self._size:
            self._size += 1 / self._size

    def collapse(self) -> None:
        """Let one call at a time through: the target refuses until a far time."""
        self._size = 1.0

    def note_refusal(self, number: int, next_number: int, running: int) -> bool:
        """Narrow the window; return whether this is the first refusal of a wave.

        `number` is that of the refused call, `next_number` that of the next one to be sent, and
        `running` counts the calls that are still in flight.
        """
        is_new_wave = number >= self._halved_at
        if is_new_wave:
            self._halved_at = next_number
            self._refusals_in_a_row += 1
            if self._size < math.inf:
                self._size *= _DECREASE
        self._size = max(1.0, min(self._size, running))
        return is_new_wave

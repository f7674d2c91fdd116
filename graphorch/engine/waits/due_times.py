"""Times at which something becomes of activations that wait, while their run is under way.

Theory of operation. One timer of the event loop is set for the next time. It is set again at least
once in a minute, by the clock of the run, so that a clock that jumps is noticed. A run in which
nothing but timers is left stays under way for a while: see `Limits`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from graphorch.core.tree import Activation, Status
from graphorch.engine.waits.event_waits import find_due

_LONGEST_SLEEP: Final = 60.0  # seconds between two looks at the clock
_MARGIN: Final = 0.001  # seconds added to a sleep, since a timer may ring a little early


class DueTimes:
    """Calls `end_wait` with each activation that still waits when its time has come.

    That returns what is ready to run then, which `start` starts. `now` is the clock of the run.
    """

    __slots__ = ("_due", "_end_wait", "_group", "_holding", "_now", "_start", "_timer")

    def __init__(
        self,
        now: Callable[[], float],
        end_wait: Callable[[Activation], list[Activation]],
        start: Callable[[list[Activation]], None],
    ) -> None:
        self._now = now
        self._end_wait = end_wait
        self._start = start
        self._due: dict[Activation, float] = {}
        self._group: asyncio.TaskGroup | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._holding: asyncio.Event | None = None  # set when the run need not be held any more

    @property
    def is_holding(self) -> bool:
        """Return whether the run is kept under way for its next timer."""
        return self._holding is not None

    def open(self, group: asyncio.TaskGroup) -> None:
        """Watch the times of what begins to wait, until `close`."""
        self._group = group

    def watch(self, waiting: Iterable[Activation]) -> list[Activation]:
        """Watch the times of what waits already; return what is ready since its time is over."""
        for activation in waiting:
            if (due := find_due(activation)) is not None:
                self._due[activation] = due
        ready = self._end_late()
        self._set_timer()
        return ready

    def close(self) -> None:
        """Watch no times any more."""
        self._group = None
        self._due.clear()
        self._set_timer()
        self.let_go()

    def add(self, activation: Activation, due: float) -> None:
        """Watch the time of an activation that begins to wait."""
        self._due[activation] = due
        self._set_timer()

    def hold(
        self,
        waits: Sequence[Activation],
        ending: Sequence[Activation],
        patience: float | None,
    ) -> bool:
        """Keep the run under way for its next timer; return False where it had better rest.

        That is so if anything else can bring it on, or if the timer is more than `patience` seconds
        away (None: that is never too far). The deadlines of what is `ending` early count like
        timers.
        """
        times = [find_due(activation) for activation in waits if _is_timer(activation)]
        is_timer_alone = len(times) == len(waits)
        times += map(find_due, ending)
        due = min((time for time in times if time is not None), default=None)
        if not is_timer_alone or due is None or self._group is None:
            return False
        if patience is not None and due - self._now() > patience:
            return False
        if self._holding is None:
            self._holding = asyncio.Event()
            self._group.create_task(self._wait_until_let_go(self._holding))
        return True

    def let_go(self) -> None:
        """Let the run end where nothing else is left to do."""
        if self._holding is not None:
            self._holding.set()
            self._holding = None

    async def _wait_until_let_go(self, holding: asyncio.Event) -> None:
        await holding.wait()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._group is not None and self._due:
            seconds = min(self._due.values()) - self._now() + _MARGIN
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(min(max(seconds, 0.0), _LONGEST_SLEEP), self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._start(self._end_late())
        self._set_timer()

    def _end_late(self) -> list[Activation]:
        """End the waits whose time has come, the earliest first; return what is ready to run."""
        now, ready = self._now(), list[Activation]()
        due = [activation for activation, time in self._due.items() if time <= now]
        for activation in sorted(due, key=lambda waiting: (self._due[waiting], waiting.path)):
            time = self._due.pop(activation)
            # Of two whose time has come, the first may have withdrawn the other.
            if find_due(activation) == time:
                ready += self._end_wait(activation)
        return ready


def _is_timer(activation: Activation) -> bool:
    wait = activation.wait
    return activation.status is Status.AWAITING_EVENT and wait is not None and not wait.signal

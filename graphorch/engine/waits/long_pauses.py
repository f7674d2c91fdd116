"""Long pauses before retries: a run in which nothing else is left to do need not stay under way.

Theory of operation. The core counts a pause as work. Once all that is left are pauses that last,
and waits for people and events, the driver stops the run with the status `waiting`, and the rest of
each pause is kept, as when a process dies in one. So no record is needed for it, and whatever comes
to such a run resumes it first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Final

from graphorch.core.run import Run
from graphorch.core.tree import Activation, Status
from graphorch.engine.waits.event_waits import find_due

_BUSY: Final = frozenset({Status.RUNNING, Status.ROUTING, Status.UNDOING})


class LongPauses:
    """Calls `rest` once a run under way has nothing to do for `patience` seconds.

    `tasks` are the run tasks at work, and `now` is the clock of the run. Call `look_again`
    when something has ended, and `begin` and `end` at the ends of a pause.
    """

    __slots__ = ("_is_due", "_now", "_patience", "_rest", "_run", "_tasks", "_waiting")

    def __init__(
        self,
        run: Run,
        tasks: Collection[object],
        patience: float,
        now: Callable[[], float],
        rest: Callable[[], None],
    ) -> None:
        self._run = run
        self._tasks = tasks
        self._patience = patience
        self._now = now
        self._rest = rest
        self._waiting = 0  # run tasks that wait for the end of a pause
        self._is_due = False  # a look at the run is to be taken soon

    def begin(self) -> None:
        """Take note that a run task waits for the end of a pause."""
        self._waiting += 1
        self.look_again()

    def end(self) -> None:
        """Take note that a run task waits no more."""
        self._waiting -= 1

    def look_again(self) -> None:
        """Let the run rest if nothing else is left, after what is about to happen has happened."""
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        self._is_due = False
        if self._waiting == len(self._tasks) > 0 and self._can_rest():
            self._rest()

    def _can_rest(self) -> bool:
        """Return whether nothing becomes of the run for a while unless something comes to it.

        A node with a deadline holds the run: its pauses count against that.
        """
        run, soon = self._run, self._now() + self._patience
        if run.status != "running" or run.stopping or run.undoing is not None:
            return False
        return not any(_is_soon(activation, soon) for activation in run.unfinished())


def _is_soon(activation: Activation, soon: float) -> bool:
    """Return whether something becomes of an activation by itself until a time."""
    if activation.status is Status.RETRYING:
        has_deadline = activation.children is None and activation.step.node.options.deadline
        return activation.retry_at <= soon or bool(has_deadline)
    due = find_due(activation)
    return activation.status in _BUSY or (due is not None and due <= soon)

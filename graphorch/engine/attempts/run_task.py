"""A task of a run, and the activation that it is running.

Two kinds of cancellation arrive in a task: one that is meant for the node alone, after which the
task continues, and one that is meant for the whole run. They are told apart by counting them, as
`asyncio.timeout` does.
"""

from __future__ import annotations

import asyncio
from typing import Any

from graphorch.core.tree import Activation


class RunTask:
    """An asyncio task that runs one activation after another: the caller's own, or a new one.

    `is_bound` is whether it is known yet which asyncio task that is, and `suspended` the activation
    whose attempt is about to end without an outcome.
    """

    __slots__ = (
        "_node_cancellations",
        "asyncio_task",
        "current",
        "earlier_cancellations",
        "is_bound",
        "suspended",
    )

    asyncio_task: asyncio.Task[Any]

    def __init__(self) -> None:
        self.current: Activation | None = None
        self.earlier_cancellations = 0  # of the caller's task, before the run began
        self.is_bound = False
        self.suspended: Activation | None = None
        self._node_cancellations = 0  # meant for the node that runs

    @classmethod
    def of_caller(cls, loop: asyncio.AbstractEventLoop) -> RunTask:
        """Return the task that calls this, to run activations in it."""
        self, current = cls(), asyncio.current_task(loop)
        assert current is not None
        self.asyncio_task = current
        self.is_bound = True
        self.earlier_cancellations = current.cancelling()
        return self

    def stop_node(self) -> None:
        """Cancel the node that runs, and nothing else."""
        self._node_cancellations += 1
        self.asyncio_task.cancel()

    @property
    def is_ending_node(self) -> bool:
        """Whether the node that runs was cancelled, and has not ended yet."""
        return self._node_cancellations > 0

    def suspend_node(self) -> None:
        """End the attempt of the node that runs without an outcome."""
        self.suspended = self.current
        self.stop_node()

    def node_ended(self) -> None:
        """Take back the cancellations that were meant for the node, now that it has ended."""
        self.current = None
        while self._node_cancellations:
            self._node_cancellations -= 1
            self.asyncio_task.uncancel()

    @property
    def is_being_cancelled(self) -> bool:
        """Whether the whole run is being cancelled, not only the node."""
        expected = self.earlier_cancellations + self._node_cancellations
        return self.asyncio_task.cancelling() > expected

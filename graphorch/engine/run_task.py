"""A task of a run, and what it is at.

Two kinds of cancellation arrive in a task: one that is meant for the node alone, after which the task goes on, and one that is meant for
the whole run. They are told apart by counting, as `asyncio.timeout` does it.
"""

from __future__ import annotations

import asyncio
from typing import Any

from graphorch.core.tree import Activation


class RunTask:
    """A task that runs one activation after another, and the one that it runs at the moment: the caller's own task, or one made for it."""

    __slots__ = ("_aimed", "calm", "current", "task")

    task: asyncio.Task[Any]

    def __init__(self) -> None:
        self.current: Activation | None = None
        self.calm = 0  # cancellations from before, of the caller's task, that are none of ours
        self._aimed = 0  # cancellations that are meant for the node

    def stop_node(self) -> None:
        """Cancel the node that runs."""
        self._aimed += 1
        self.task.cancel()

    def node_ended(self) -> None:
        """Whatever was meant for the node has met it."""
        self.current = None
        while self._aimed:
            self._aimed -= 1
            self.task.uncancel()

    @property
    def is_being_cancelled(self) -> bool:
        """Whether the run was told to stop, by whoever cancelled the task."""
        return self.task.cancelling() > self.calm + self._aimed

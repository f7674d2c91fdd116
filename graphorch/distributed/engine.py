"""Port to the engine that hands jobs to workers, and brings back those of workers that died.

What an engine promises is little, so that many can do it:

1. A job that was put is handed to a worker that serves its kind, at least once.
2. While a job is queued or handled, putting another one with its key does nothing.
3. A job whose worker dies, or is not heard of any more, is handed out again within seconds. So a
   job may be handled twice, also at the same time, and jobs come in any order.
4. A job is over when its handler returns.

Nothing more: an engine may lose jobs. The journal says what has to be done, and who may commit it;
a job is only a hint to do it now.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias


@dataclass(frozen=True, slots=True)
class Job:
    """A piece of work for any worker that serves its kind.

    `key` names the work: of the jobs with one key, one is alive at a time. Greater `priority` comes
    first. `delay` is the seconds until it may begin.
    """

    kind: str
    key: str
    payload: bytes
    priority: int = 0
    delay: float = 0.0


Handler: TypeAlias = Callable[[Job], Awaitable[None]]
"""Does a job, on the event loop that called `serve`. It must not raise: what it cannot do is lost.
"""


@dataclass(frozen=True, slots=True)
class QueueHealth:
    """Jobs of one kind: how many wait and are handled, and the seconds that the oldest waits."""

    kind: str
    waiting: int
    handled: int
    lag: float


class Engine(Protocol):
    """Hands jobs to workers. Every method may raise `EngineUnavailable`."""

    async def put(self, jobs: Sequence[Job]) -> None:
        """Add jobs; one whose key is alive already is left out."""
        ...

    async def serve(self, kinds: Collection[str], slots: int, handler: Handler) -> None:
        """Handle jobs of these kinds, at most `slots` at once, until this is cancelled.

        When it is cancelled it takes no new jobs, and returns when those that it had have ended:
        cancel their handlers, or let them end. It survives a restart of its server.
        """
        ...

    async def cancel(self, keys: Collection[str]) -> None:
        """Withdraw jobs that have not begun; the others go on."""
        ...

    async def list_alive(self, keys: Collection[str]) -> frozenset[str]:
        """Return those of some keys that have a job which waits or is handled."""
        ...

    async def read_health(self) -> Sequence[QueueHealth]:
        """Return how many jobs of each kind there are."""
        ...

    async def close(self) -> None:
        """Release all connections; jobs stay."""
        ...

"""Port to the engine that hands jobs to workers, and brings back those of workers that died.

What an engine promises is little, so that many can do it:

1. A job that was put is handed to a worker that serves its kind, at least once.
2. While a job is queued or handled, putting another one with its key does nothing.
3. A job whose worker dies, or is not heard of any more, is handed out again within seconds. So a
   job may be handled twice, also at the same time, and jobs come in any order.
4. A job is over when its handler returns. It may be alive for some milliseconds longer, in which
   another one with its key is left out.
5. A worker that was stopped for long can ask whether a job that it was handed is still its own.

Nothing more: an engine may lose jobs. The journal says what has to be done, and who may commit it;
a job is only a hint to do it now.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from graphorch.distributed.errors import PayloadTooLarge
from graphorch.errors import InputError

MAX_PAYLOAD = 8_000_000  # bytes of one job
_MAX_KIND = 500  # characters
_MAX_PRIORITY = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Job:
    """A piece of work for any worker that serves its kind.

    `key` names the work: of the jobs with one key, one is alive at a time. Greater `priority` comes
    first. `delay` is the seconds until it may begin.

    Raises `PayloadTooLarge` above 8 MB, and `InputError` if an engine could not keep it.
    """

    kind: str
    key: str
    payload: bytes
    priority: int = 0
    delay: float = 0.0

    def __post_init__(self) -> None:
        if len(self.payload) > MAX_PAYLOAD:
            raise PayloadTooLarge(
                f"Job '{self.key:.200}' carries {len(self.payload) / 1e6:.1f} MB, and at most "
                f"{MAX_PAYLOAD / 1e6:.0f} MB go to another worker. Keep the large value in a file "
                "or an object store, and a reference to it in the state."
            )
        if not self.kind or len(self.kind) > _MAX_KIND or "\0" in self.kind:
            raise InputError(
                f"The kind of a job has 1 to {_MAX_KIND} characters, none of them NUL (got "
                f"{self.kind[:80]!r} with {len(self.kind)}). Shorten the name of the flow or pool."
            )
        if not self.key or "\0" in self.key:
            raise InputError(
                f"The key of a job is a text without NUL characters (got {self.key[:80]!r}). "
                "Put together the names of what it does."
            )
        if abs(self.priority) > _MAX_PRIORITY:
            raise InputError(
                f"The priority of job '{self.key:.200}' is {self.priority}. "
                f"Give a number from -{_MAX_PRIORITY} to {_MAX_PRIORITY}."
            )
        if not (math.isfinite(self.delay) and self.delay >= 0):
            raise InputError(
                f"The delay of job '{self.key:.200}' is {self.delay}. "
                "Give the seconds until it may begin, 0 for at once."
            )


Handler: TypeAlias = Callable[[Job], Awaitable[None]]
"""Does a job, on the event loop that called `serve`.

It must not raise: what it cannot do is logged and over. If its task is cancelled, the job is not
over but waits again.
"""


@dataclass(frozen=True, slots=True)
class QueueHealth:
    """Jobs of one kind: how many wait and are handled, and the seconds that the oldest is late.

    A job with a delay waits as well, and is late when it has passed.
    """

    kind: str
    waiting: int
    handled: int
    lag: float


def check_service(kinds: Collection[str], slots: int) -> None:
    """Raise `InputError` for a service that can never have a job."""
    if slots < 1 or not kinds:
        raise InputError(
            f"A worker with {slots} slots for {len(kinds)} kinds of jobs has nothing to do. "
            "Give at least one of each."
        )


class Holds(Protocol):
    """Says whether a worker still has the jobs that it was handed."""

    def is_held(self, key: str) -> bool:
        """Return whether the job is certainly that of this worker; any thread may ask.

        False once other workers may take this one for dead: it was stopped for long, or cannot
        reach the server.
        """
        ...

    async def keep(self, key: str) -> bool:
        """Return whether the job is still that of this worker; ask the server if need be.

        False if another worker was handed it, or if it was withdrawn.
        """
        ...


class AlwaysHeld:
    """The holds of an engine that never takes a job from a worker that falls silent."""

    def is_held(self, key: str) -> bool:
        """Return True."""
        return True

    async def keep(self, key: str) -> bool:
        """Return True."""
        return True


class Engine(Holds, Protocol):
    """Hands jobs to workers. Every method but `is_held` may raise an `EngineError`."""

    async def put(self, jobs: Sequence[Job]) -> None:
        """Add jobs; one whose key is alive already is left out.

        If it raises, some may have been added. Repeat the call: none is added twice.
        """
        ...

    async def serve(self, kinds: Collection[str], slots: int, handler: Handler) -> None:
        """Handle jobs of these kinds, at most `slots` at once, until this is cancelled.

        When it is cancelled it takes no new jobs, and returns when those that it has have ended.
        Cancelled once more, it cancels their handlers, and these jobs wait again for a worker. It
        survives a restart of its server. Several calls may serve side by side, each with its slots.

        Raises `EngineError` if serving cannot begin.
        """
        ...

    async def cancel(self, keys: Collection[str]) -> None:
        """Withdraw jobs that have not begun; the others go on."""
        ...

    async def forget(self, keys: Collection[str]) -> None:
        """Withdraw jobs that are done, also those that a worker has: it may be dead or stopped.

        A handler that still has one goes on. An engine that cannot take back what a worker has
        withdraws what has not begun.
        """
        ...

    async def list_alive(self, keys: Collection[str]) -> frozenset[str]:
        """Return those of some keys that have a job which waits or is handled."""
        ...

    async def read_health(self) -> Sequence[QueueHealth]:
        """Return how many jobs of each kind there are, in the order of the kinds' names."""
        ...

    async def close(self) -> None:
        """Release all connections; jobs stay. A call that serves ends with `EngineClosed`."""
        ...

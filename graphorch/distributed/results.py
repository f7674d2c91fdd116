"""Port to the messages between the owner of a run and the workers that run functions of its nodes.

What the port promises:

1. Of the messages with one topic and key the first that is stored counts, on all machines.
2. A message that was posted before a watcher died is there for the next one.
3. A watcher gets every message of its topics at least once, within about a second.

So a result that a worker has posted is never computed again, also by a new owner of the run.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol, TypeAlias


@dataclass(frozen=True, slots=True)
class Note:
    """A message to the owner of a run, or to a worker that runs a node, by its topic.

    All notes belong to a `run`, with which they are dropped. What is posted for a run that is at
    rest, such as the result of a call that was given up, is dropped some minutes later.
    """

    run: str
    topic: str
    key: str
    body: bytes


Take: TypeAlias = Callable[[Note], None]
"""Called on the event loop of the watcher, for each note at least once."""


class Results(Protocol):
    """Notes that survive every process. Every method may raise `StoreUnavailable`."""

    async def post(self, note: Note) -> bool:
        """Store a note unless one with its topic and key is there; return whether this one counts.

        A note that is posted again, after an error, counts if it did the first time.
        """
        ...

    async def watch(self, topic: str, take: Take) -> None:
        """Give the notes of a topic to a function: those that are there now, then all others."""
        ...

    async def has(self, topic: str, key: str) -> bool:
        """Return whether a note with this topic and key is stored."""
        ...

    def unwatch(self, topic: str) -> None:
        """Stop giving the notes of a topic to its function."""
        ...

    async def drop(self, run: str, keys: Collection[str] | None = None) -> None:
        """Delete the notes to the owner of a run with these keys; without keys, all of the run.

        Those that ask a worker to end a call stay for some minutes: it may not have seen them yet.
        """
        ...

    async def close(self) -> None:
        """Release all connections; notes stay."""
        ...

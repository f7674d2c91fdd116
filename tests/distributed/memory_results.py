"""Notes in memory, as late and doubled as the port allows; what is stored survives every worker."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from random import Random

from graphorch.distributed.node_messages import CANCEL
from graphorch.distributed.results import Note, Take
from graphorch.journal.errors import StoreUnavailable


class MemoryNotes:
    """The server: one for all workers of a test.

    `delay` is the longest time in seconds until a watcher gets a note, `double` the chance that it
    gets one twice, and `unavailable` that a call fails, half of the time after it was done.
    """

    def __init__(
        self, seed: int = 0, *, delay: float = 0.0, double: float = 0.0, unavailable: float = 0.0
    ) -> None:
        self.stored: dict[tuple[str, str], Note] = {}
        self._random = Random(seed)
        self._delay, self._double, self._unavailable = delay, double, unavailable
        self._clients: list[MemoryResults] = []

    def connect(self) -> MemoryResults:
        """Return the port of one worker."""
        client = MemoryResults(self)
        self._clients.append(client)
        return client

    def list_keys(self) -> list[str]:
        """Return the keys of all notes."""
        return sorted(note.key for note in self.stored.values())

    def happens(self, chance: float) -> bool:
        """Return whether a fault happens now."""
        return bool(chance) and self._random.random() < chance

    def check(self) -> None:
        """Raise `StoreUnavailable` by chance."""
        if self.happens(self._unavailable / 2):
            raise StoreUnavailable("The database cannot be reached. Repeat the call.")

    def store(self, note: Note) -> Note:
        """Store a note unless there is one; return the one that counts, and wake its watchers."""
        known = self.stored.get((note.topic, note.key))
        if known is not None:
            return known
        self.stored[note.topic, note.key] = note
        for client in self._clients:
            self.give(client, note)
        return note

    def give(self, client: MemoryResults, note: Note) -> None:
        """Give a note to a worker that watches its topic, perhaps later, perhaps twice."""
        loop = asyncio.get_running_loop()
        for _ in range(2 if self.happens(self._double) else 1):
            pause = self._random.uniform(0, self._delay) if self._delay else 0.0
            loop.call_later(pause, client.take, note)


class MemoryResults:
    """The port of one worker."""

    def __init__(self, notes: MemoryNotes) -> None:
        self._notes = notes
        self._watched: dict[str, Take] = {}
        self.is_closed = False

    async def post(self, note: Note) -> bool:
        """Store a note unless there is one in its place; return whether this one counts."""
        await self._begin()
        counts = self._notes.store(note) == note
        self._notes.check()
        return counts

    async def watch(self, topic: str, take: Take) -> None:
        """Give the notes of a topic to a function: those that are there now, then all others."""
        await self._begin()
        self._watched[topic] = take
        for note in list(self._notes.stored.values()):
            if note.topic == topic:
                take(note)

    async def has(self, topic: str, key: str) -> bool:
        """Return whether a note with this topic and key is stored."""
        await self._begin()
        return (topic, key) in self._notes.stored

    def unwatch(self, topic: str) -> None:
        """Stop giving the notes of a topic to its function."""
        self._watched.pop(topic, None)

    async def drop(self, run: str, keys: Collection[str] | None = None) -> None:
        """Delete the notes to the owner of a run with these keys; without keys, all of the run."""
        await self._begin()
        stored = self._notes.stored
        for topic, key in [place for place, note in stored.items() if note.run == run]:
            is_dropped = key != CANCEL if keys is None else topic == run and key in keys
            if is_dropped:
                del stored[topic, key]

    async def close(self) -> None:
        """Release all connections; notes stay."""
        self.is_closed = True
        self._watched.clear()

    def take(self, note: Note) -> None:
        """Give a note to who watches its topic here."""
        take = self._watched.get(note.topic)
        if take is not None:
            take(note)

    async def _begin(self) -> None:
        await asyncio.sleep(0)
        if self.is_closed:
            raise asyncio.CancelledError  # its worker is dead
        self._notes.check()

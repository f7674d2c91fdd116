"""Reads the runs of a journal for views, and keeps what it read, within a bound.

Rule 1: a run that is asked for again is read on from where it was left.
Rule 2: what is kept weighs at most `most_weight`; what was used longest ago goes first. The run
    that was used last may weigh four times that: somebody watches it.
Rule 3: one view of a run is made at a time; those of different runs do not wait for each other.
Rule 4: what takes long is done on another thread, so that other requests go on.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, TypeVar

from graphorch.journal.errors import JournalDamaged, StoreNotOpened, StoreUnavailable
from graphorch.journal.records import Record, RunLog
from graphorch.journal.store import Store
from graphorch.trace.spans.index import SpanIndex
from graphorch.views.reading.known_answers import KnownAnswers
from graphorch.views.reading.open_run import OpenRun

T = TypeVar("T")

MOST_WEIGHT: Final = 24_000_000
"""Characters of records that are kept; each takes about 10 bytes, with all that is made of it."""

_MANY: Final = 200  # records that are read on another thread


@dataclass(slots=True)
class _Slot:
    """A place for a run, and how many requests use it or wait for it."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    run: OpenRun | None = None
    users: int = 0


class JournalReader:
    """An open journal, with the runs that were read last. Close it at the end.

    Without `follows`, a run stays as it was when it was read first, for as long as it is kept.
    """

    def __init__(
        self, store: Store, *, most_weight: int = MOST_WEIGHT, follows: bool = True
    ) -> None:
        self.store = store
        self.answers = KnownAnswers()
        self._most_weight = most_weight
        self._follows = follows
        self._slots: OrderedDict[str, _Slot] = OrderedDict()
        self._index: SpanIndex | None = None
        self._index_lock = asyncio.Lock()

    def close(self) -> None:
        """Close the rows of figures, and forget all runs."""
        if self._index is not None:
            self._index.close()
            self._index = None
        self.answers.clear()
        self._slots.clear()

    @property
    def weight(self) -> int:
        """Characters of the records that are kept."""
        return sum(slot.run.weight for slot in self._slots.values() if slot.run is not None)

    @asynccontextmanager
    async def open_run(self, run_id: str) -> AsyncGenerator[OpenRun]:
        """Return a run with all that it has by now, for as long as a view is made of it.

        Raises `RunNotFound`, `WrongKey`, `JournalDamaged`.
        """
        slot = self._slots.setdefault(run_id, _Slot())
        self._slots.move_to_end(run_id)
        slot.users += 1
        try:
            async with slot.lock:
                kept, slot.run = slot.run, None  # what cannot be read on is forgotten
                slot.run = await self._read_on(run_id, kept)
                try:
                    yield slot.run
                except asyncio.CancelledError:
                    slot.run = None  # another thread may still be making a view of it
                    raise
        finally:
            slot.users -= 1
            self._make_room()

    async def _read_on(self, run_id: str, run: OpenRun | None) -> OpenRun:
        if run is not None and not self._follows:
            return run
        log = None if run is None else await self._load_rest(run)
        if run is None or log is None:
            log = await self.store.load(run_id)
            run = OpenRun(log.head)
        await _take(run, log.records, lambda: run.take(log.head, log.records))
        return run

    async def _load_rest(self, run: OpenRun) -> RunLog | None:
        """Return what comes after the records of a run; None if it has to be read anew."""
        try:
            log = await self.store.load(run.head.run_id, after_seq=run.seq)
        except JournalDamaged:
            return None  # another run of this id may have fewer records
        return log if run.continues(log.head) else None

    def _make_room(self) -> None:
        """Forget the runs that were used longest ago, and those that could not be read."""
        weight = self.weight
        last = next(reversed(self._slots), "")
        for run_id, slot in list(self._slots.items()):
            most = self._most_weight * (4 if run_id == last else 1)
            if slot.users or (slot.run is not None and weight <= most):
                continue
            weight -= slot.run.weight if slot.run is not None else 0
            del self._slots[run_id]

    @asynccontextmanager
    async def open_index(self) -> AsyncGenerator[SpanIndex]:
        """Return the rows of figures, for one caller at a time.

        Where the journal may not be written, they are in a temporary file.
        """
        async with self._index_lock:
            if self._index is None:
                self._index = await asyncio.to_thread(self._open_index)
            yield self._index

    def _open_index(self) -> SpanIndex:
        try:
            return SpanIndex.open(self.store)
        except (StoreUnavailable, StoreNotOpened):
            return SpanIndex.open()


async def _take(run: OpenRun, records: Sequence[Record], take: Callable[[], None]) -> None:
    if len(records) > _MANY:
        await asyncio.to_thread(take)
    else:
        take()
